"""What a study's plan checks beyond its spec: data, batch sizes, the metric, room on the disk."""

from pathlib import Path

import pytest

from clipexp.errors import SpecError, StoreError, StudyError
from clipexp.study import plan as plan_module
from clipexp.study.pool import make_seats
from tests.study.play import plan_of, write_study


def test_batch_sizes_beyond_the_prepared_set_are_told_at_their_line(fresh: Path, small_store: Path) -> None:
    search = {"train.batch_size": {"kind": "power_of_two", "low": 16, "high": 512}}
    path = write_study(fresh, small_store, search=search, base={"train": {**TRAIN, "budget": {"samples": 10_240}}})
    with pytest.raises(
        SpecError, match=r"small\.yaml:\d+: batch sizes reach 512, but the prepared set has \d+ training"
    ):
        plan_of(path)


TRAIN = {"batch_size": 32, "device": "cpu", "eval_every_samples": 160}


def test_a_metric_whose_blocks_the_set_cant_fill_is_told_with_the_one_that_can(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, objective={"metric": "val/loss_block_39"})
    with pytest.raises(
        SpecError, match=r"small\.yaml:\d+: objective\.metric val/loss_block_39 .* write val/loss_block_40"
    ):
        plan_of(path)


def test_a_set_that_is_not_prepared_is_told_with_the_command(fresh: Path) -> None:
    path = write_study(fresh, fresh / "nowhere")
    with pytest.raises(StoreError, match="clipexp data prepare"):
        plan_of(path)


def test_a_study_that_does_not_fit_on_the_disk_is_refused(
    fresh: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(fresh, small_store)
    monkeypatch.setattr(plan_module, "free_bytes", lambda: 1 << 20)
    with pytest.raises(StudyError, match=r"will write up to .* lacks .* make room .* or lower keep_checkpoints"):
        plan_of(path)


def test_the_disk_forecast_grows_with_what_is_kept(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store)
    few, many = (plan_of(path, f"keep_checkpoints={count}").disk_bytes() for count in (1, 11))
    assert many - few > 0
    assert plan_of(path, "budget.trials=100").disk_bytes() > few


def test_one_worker_sits_at_each_gpu_and_more_share_them_in_turn() -> None:
    assert [seat.gpu for seat in make_seats(None, ["0", "1"])] == ["0", "1"]
    assert [seat.gpu for seat in make_seats(3, ["0", "1"])] == ["0", "1", "0"]
    assert [seat.gpu for seat in make_seats(None, [])] == [None]
    threads = [seat.num_threads for seat in make_seats(64, [])]
    assert threads == [1] * 64
