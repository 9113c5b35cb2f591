"""Trials that find no memory, for real: the machine itself holds each worker to `constraints.memory_gb`."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from clipexp.study.sweep import Sweep
from clipexp.track.home import home
from clipexp.track.journal import end_reason
from tests.small import small_content
from tests.study.play import carry_out, plan_of, write_study

FITS_IN_PARTS, TOO_LARGE = 128, 256  # batch sizes
SEARCH = {"optim.max_lr": {"kind": "range", "low": 1e-4, "high": 1e-2, "log": True}}


def study(folder: Path, store: Path, batch_size: int, micro_batch: int | None, **changes: Any) -> Path:
    """A study of one trial, whose activations are most of what it holds: some 6 MB a pair."""
    found = small_content(store, precision="fp32", batch_size=batch_size, budget={"samples": 256})
    found["train"] |= {f"{what}_every_samples": 256 for what in ("log", "eval", "checkpoint")}
    found["train"]["micro_batch"] = micro_batch
    found["model"] |= {"patch_size_px": 3, "vision": {"width": 128, "layers": 8, "heads": 2}}
    # what it takes is measured with another seed: else the result would be there already
    base = {"model": found["model"], "train": found["train"], "seed": 0 if micro_batch is None else 1}
    return write_study(folder, store, base=base, search=SEARCH, budget={"trials": 1}, **changes)


class Peak:
    """The most data that a study's worker had while it trained, as the limit counts it.

    What is loaded to close a run reserves a gigabyte that it does not need.
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self._pids: set[int] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def __call__(self, sweep: Sweep, _: str) -> None:
        assert sweep.driver is not None
        jobs = sweep.driver.job_by_seat
        self._pids = {
            sweep.driver.pool._worker_by_seat[seat].process.pid
            for seat, job in jobs.items()
            if job.run_id and job.samples_seen < job.total_samples
        }

    def _look(self) -> None:
        while not self._closing.is_set():
            for pid in self._pids:
                try:
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                except OSError:
                    continue
                kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmData:")), 0)
                self.num_bytes = max(self.num_bytes, kilobytes * 1024)
            time.sleep(0.002)

    def __enter__(self) -> "Peak":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()


def peak_in_parts(folder: Path, store: Path, batch_size: int) -> int:
    """What a trial takes in all that holds a quarter of its batch at once."""
    with Peak() as peak:
        played = carry_out(plan_of(study(folder, store, batch_size, batch_size // 4, name=f"free-{batch_size}")), peak)
    assert played.states == ["COMPLETE"]
    return peak.num_bytes


@pytest.mark.slow
def test_out_of_memory_is_tried_once_in_parts_and_then_infeasible(fresh: Path, small_store: Path) -> None:
    smaller, larger = (peak_in_parts(fresh, small_store, size) for size in (FITS_IN_PARTS, TOO_LARGE))
    assert larger - smaller > 64 << 20, "there must be room for a limit in between"
    constraints = {"memory_gb": (smaller + larger) / 2 / 1e9}

    plan = plan_of(study(fresh, small_store, FITS_IN_PARTS, None, name="fits", constraints=constraints))
    assert not plan.infeasible(plan.corner_specs[0]), "arithmetic alone does not forbid it"
    played = carry_out(plan)
    assert any("it is tried once more with micro-batches of 32" in line for line in played.lines), played.lines
    (row,) = played.rows
    assert (row.number, row.state, row.samples_seen) == (0, "finished", 256)
    assert dict(row.curve)[256] == row.value
    assert end_reason(home().journals / row.run_id) == "finished"

    played = carry_out(plan_of(study(fresh, small_store, TOO_LARGE, None, name="too-large", constraints=constraints)))
    assert any("with micro-batches of 64" in line for line in played.lines), played.lines
    assert played.sweep.driver is not None
    assert played.sweep.driver.pool.num_started >= 1, "it was tried"
    (row,) = played.rows
    assert (row.number, row.state, row.value) == (0, "infeasible", None)
    assert "out of memory" in row.reason
    assert "also with micro-batches of 64" in row.reason


def test_a_trial_that_is_too_large_by_arithmetic_is_infeasible_without_a_run(fresh: Path, small_store: Path) -> None:
    path = study(fresh, small_store, TOO_LARGE, None, constraints={"memory_gb": 0.05})
    played = carry_out(plan_of(path))
    (row,) = played.rows
    assert (row.number, row.state, row.value, row.run_id) == (0, "infeasible", None, "")
    assert re.fullmatch(
        r"it would take about [\d.]+ MB of memory, and constraints\.memory_gb allows 50\.0 MB", row.reason
    )
    assert played.sweep.driver is not None
    assert played.sweep.driver.pool.num_started == 0
