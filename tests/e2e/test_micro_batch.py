"""A run that finds too little memory goes on in micro-batches, as the error says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import clipexp
from clipexp import runner
from clipexp.errors import MemoryExhaustedError
from clipexp.spec.cost import memory_bytes
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.track.header import headers
from tests.e2e.conftest import client, stop_at_first_step
from tests.small import small_content

ROUNDING = "goes on on .*, micro-batches of 8: the result is the same within rounding, not to the bit"


def test_going_on_in_micro_batches_is_noted_as_the_same_within_rounding(fresh: Path, small_store: Path) -> None:
    stop_at_first_step(runner.start(spec_with(small_store, None)), "interrupted")
    execution = runner.start(spec_with(small_store, 8))
    assert execution.launch.resumed_at > 0
    [note] = execution.launch.notes
    assert re.search(ROUNDING, note)
    stop_at_first_step(execution, "interrupted")
    assert runner_notes(spec_with(small_store, 8)) == ()  # begun with it, so there is nothing to note


def runner_notes(spec: ResolvedRun) -> tuple[str, ...]:
    execution = runner.start(spec)
    assert execution.launch.lease is not None
    execution.launch.lease.release()
    return execution.launch.notes


def spec_with(store: Path, micro_batch: int | None) -> ResolvedRun:
    return resolve(small_content(store, micro_batch=micro_batch))


def test_the_final_result_is_that_of_whole_batches(fresh: Path, small_store: Path) -> None:
    content = small_content(small_store, budget={"samples": 160})
    whole = clipexp.run(resolve(content))
    content["seed"] = 0
    content["name"] = "parts"
    execution = runner.start(
        resolve({**content, "train": {**content["train"], "micro_batch": 4}}),
        options=runner.LaunchOptions(again=True),
    )
    list(execution.events())
    assert execution.record().final["val/loss_block_40"] == pytest.approx(whole.final["val/loss_block_40"], rel=1e-4)


def large_content(store: Path, **train: Any) -> dict[str, Any]:
    """Little to hold but for the activations: two steps of some 400 MB."""
    content = small_content(store, batch_size=128, budget={"samples": 256}, **train)
    tower = {"width": 192, "layers": 4, "heads": 4}
    content["model"] |= {"patch_size_px": 4, "vision": tower}
    return content


# Trains with no more than some MB of memory beside what is taken before; what is drawn afterwards may take more.
WITH_LITTLE_MEMORY = """
import faulthandler, resource, sys
from pathlib import Path
from clipexp import runner
from clipexp.errors import MemoryExhaustedError
from clipexp.events import EndEvent
from clipexp.spec.load import load_spec
faulthandler.enable()
execution = runner.start(load_spec(sys.argv[1]))
execution.record()  # has MLflow's client loaded, whose libraries die of too little memory
taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
limit = int(taken.split()[1]) * 1024 + int(sys.argv[2]) * 1_000_000
resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
try:
    for event in execution.events():
        if isinstance(event, EndEvent):
            resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
except MemoryExhaustedError as error:
    print(error.batch_size, error.micro_batch)
    print(error)
    sys.exit(5)
"""
LIMIT_MB = 200


def carry_out(content: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    Path("spec.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-c", WITH_LITTLE_MEMORY, "spec.yaml", str(LIMIT_MB)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_out_of_memory_fails_with_the_remedy_which_then_helps_within_the_same_memory(
    fresh: Path, small_store: Path
) -> None:
    whole, parts = (large_content(small_store, micro_batch=size) for size in (None, 8))
    assert memory_bytes(resolve(parts).spec) < LIMIT_MB * 1e6 < memory_bytes(resolve(whole).spec)
    first = carry_out(whole)
    assert first.returncode == 5, first.stderr
    assert first.stdout.splitlines()[0] == "128 None"
    assert "128 pairs held at once; hold fewer with --set train.micro_batch=64" in first.stdout
    [header] = headers()
    run = client().get_run(header.run_id)
    assert run.info.status == "FAILED"
    traceback = Path(client().download_artifacts(header.run_id, "error/traceback.txt")).read_text()
    assert MemoryExhaustedError.__name__ in traceback
    assert "allocate memory" in traceback  # torch's own words are kept
    second = carry_out(parts)
    assert second.returncode == 0, second.stdout + second.stderr
    assert client().get_run(header.run_id).info.status == "FINISHED"
    assert len(list(headers())) == 1
