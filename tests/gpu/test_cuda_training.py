"""A short run on a CUDA device."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clipexp.errors import MemoryExhaustedError
from clipexp.events import EndEvent, Event, StepEvent
from clipexp.model.clip import CLIP
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from clipexp.train.device import choose_device, describe_device
from clipexp.train.loop import Evaluation
from tests.train.conftest import BATCH, HASH, Runs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="NO GPU HERE: torch finds no CUDA device, so NOTHING ABOUT CUDA IS TESTED; run `make test-gpu` on one",
    ),
]
both_precisions = pytest.mark.parametrize("precision", ["fp32", "bf16"])
NUM_STEPS = 200
TOTAL = NUM_STEPS * BATCH


@pytest.fixture
def runs(small_store: Path, tmp_path: Path) -> Runs:
    return Runs(small_store, tmp_path, choose_device("cuda"))


def losses(events: Iterator[Event] | list[Event]) -> list[float]:
    return [event.metrics["train/loss"] for event in events if isinstance(event, StepEvent)]


def long(precision: str) -> dict[str, Any]:
    return {"precision": precision, "budget": {"samples": TOTAL}}


def test_the_gpu_is_chosen_and_named() -> None:
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    assert describe_device(torch.device("cuda")) == torch.cuda.get_device_name(0)


@both_precisions
def test_the_loss_falls_well_below_chance(runs: Runs, precision: str) -> None:
    last = losses(runs.events(runs.spec(train=long(precision))))[-1]
    assert last < 2  # chance is ln(16) = 2.77


@both_precisions
def test_a_stopped_run_goes_on_where_it_was(runs: Runs, precision: str) -> None:
    spec = runs.spec(train=long(precision), data={"augment": "random_resized_crop", "captions": "sample"})
    polls = itertools.count()
    first = list(runs.events(spec, lambda: "interrupted" if next(polls) == 100 else None))
    second = list(runs.events(spec))
    assert first[-1] == EndEvent(100 * BATCH, "interrupted")
    assert second[-1] == EndEvent(TOTAL, "finished")
    assert min(event.samples_seen for event in second) > 100 * BATCH
    assert losses(second)[0] < losses(first)[0]


@both_precisions
def test_the_step_after_a_resume_is_that_of_the_uninterrupted_run(runs: Runs, precision: str) -> None:
    spec = runs.spec(train={"precision": precision, "log_every_samples": BATCH})
    whole = losses(runs.events(spec, folder="whole"))
    polls = itertools.count()
    list(runs.events(spec, lambda: "interrupted" if next(polls) == 10 else None))
    resumed = losses(runs.events(spec))
    assert len(resumed) == 14
    assert resumed[0] == pytest.approx(whole[10], rel=1e-2)


# In a process of its own: cuBLAS reads its setting once. Prints the digests of a whole run and of a stopped one.
DETERMINISTIC_RUNS = """
import itertools
import sys
from pathlib import Path
import torch
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from clipexp.train.device import make_deterministic
from tests.train.conftest import Runs
device = torch.device("cuda")
make_deterministic(device)
runs = Runs(Path(sys.argv[1]), Path(sys.argv[2]), device)
data = {"augment": "random_resized_crop", "captions": "sample"}
spec = runs.spec(train={"precision": sys.argv[3], "deterministic": True}, data=data)
polls = itertools.count()
list(runs.events(spec, folder="whole"))
list(runs.events(spec, lambda: "interrupted" if next(polls) == 10 else None))
list(runs.events(spec))
for folder in ("whole", "run"):
    print(checkpoint.final_digest(checkpoint_names.newest(runs.checkpoints / folder)))
"""


@both_precisions
def test_a_deterministic_run_resumes_to_the_same_bits(small_store: Path, tmp_path: Path, precision: str) -> None:
    command = [sys.executable, "-c", DETERMINISTIC_RUNS, str(small_store), str(tmp_path), precision]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    whole, resumed = child.stdout.split()
    assert resumed == whole


def test_a_checkpoint_from_the_gpu_holds_what_is_on_it(runs: Runs) -> None:
    spec = runs.spec(train={"budget": {"samples": 10 * BATCH}})
    models = []
    hooks = runs.hooks(spec)

    def evaluate(model: CLIP) -> Evaluation | None:
        models.append(model)
        return hooks.evaluate(model)

    list(runs.train(spec, replace(hooks, evaluate=evaluate)))
    found = checkpoint_names.newest(hooks.checkpoints)
    assert found is not None
    kept = checkpoint.load(found, HASH).model
    assert all(torch.equal(weight.cpu(), kept[name]) for name, weight in models[-1].state_dict().items())


def test_cpu_and_cuda_agree_on_the_first_step(small_store: Path, tmp_path: Path) -> None:
    first = []
    for name in ("cpu", "cuda"):
        runs = Runs(small_store, tmp_path, torch.device(name))
        spec = runs.spec(train={"budget": {"samples": BATCH}})
        first += losses(runs.events(spec, folder=name))
    assert first[1] == pytest.approx(first[0], rel=1e-3)


def test_a_run_begun_on_the_gpu_can_end_on_the_cpu(small_store: Path, tmp_path: Path) -> None:
    on_gpu = Runs(small_store, tmp_path, torch.device("cuda"))
    polls = itertools.count()
    list(on_gpu.events(on_gpu.spec(), lambda: "interrupted" if next(polls) == 10 else None))
    on_cpu = Runs(small_store, tmp_path)
    *_, end = on_cpu.events(on_cpu.spec())
    assert end == EndEvent(24 * BATCH, "finished")
    assert checkpoint_names.newest(tmp_path / "run") == tmp_path / "run" / checkpoint_names.name_at(24 * BATCH)


def test_micro_batches_on_the_gpu_take_the_steps_of_the_whole_batch(runs: Runs) -> None:
    data = {"augment": "random_resized_crop", "captions": "sample"}
    found = []
    for micro_batch in (None, 4):
        train = {"micro_batch": micro_batch, "log_every_samples": BATCH}
        spec = runs.spec(train=train, data=data, optim={"eps": 1e-3})
        found.append(losses(runs.events(spec, folder=f"micro-{micro_batch}")))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_out_of_gpu_memory_can_be_tried_again_at_once_in_micro_batches(runs: Runs) -> None:
    """The failed attempt's error is still at hand, but not what it held."""
    tower = {"width": 192, "layers": 4, "heads": 4}
    train = {"batch_size": 256, "budget": {"samples": 512}}
    specs = [
        runs.spec(train={**train, "micro_batch": micro_batch}, model={"patch_size_px": 4, "vision": tower})
        for micro_batch in (None, 8)
    ]
    limit_bytes = torch.cuda.memory_allocated() + 300_000_000
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit_bytes / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(MemoryExhaustedError, match=r"train\.micro_batch=128") as caught:
            list(runs.events(specs[0]))
        assert caught.value.micro_batch is None
        assert list(runs.events(specs[1]))[-1] == EndEvent(512, "finished")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
