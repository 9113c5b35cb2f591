"""The journal: append-only, each point once, and every damage found or mended."""

import itertools
import os
from pathlib import Path

import pytest

from clipexp.events import EndEvent, EvalEvent, Event, Example, StepEvent
from clipexp.track import journal as journal_module
from clipexp.track.journal import (
    COPY_FILE,
    EVENTS_FILE,
    FROM_START,
    Damage,
    Journal,
    Tail,
    _read_lines,
    active_seconds,
    damage,
    end_reason,
    last_examples,
    last_strips,
    pack,
    points,
    records,
)
from clipexp.track.packed import PARQUET_FILE


def step(samples: int, loss: float) -> StepEvent:
    return StepEvent(samples, samples / 100, {"train/loss": loss})


def write(folder: Path, start: int, losses: dict[int, float], *more: Event) -> None:
    with Journal(folder) as journal:
        journal.begin(start)
        for samples, loss in losses.items():
            journal.append(step(samples, loss))
        for event in more:
            journal.append(event)


def values(folder: Path) -> list[tuple[int, float]]:
    return [(point.samples_seen, point.value) for point in points(folder)["train/loss"]]


def test_points_come_back_in_order_of_samples_seen(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0})
    assert values(tmp_path) == [(10, 3.0), (20, 2.0)]


def test_what_lies_past_the_checkpoint_of_a_resumed_run_is_superseded(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0, 30: 1.5})
    write(tmp_path, 10, {20: 2.1, 40: 1.0})
    assert values(tmp_path) == [(10, 3.0), (20, 2.1), (40, 1.0)]


def test_a_third_attempt_from_an_earlier_place_supersedes_both_before(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0})
    write(tmp_path, 20, {30: 1.0})
    write(tmp_path, 10, {20: 2.5})
    assert values(tmp_path) == [(10, 3.0), (20, 2.5)]


def test_an_attempt_from_the_start_supersedes_everything(tmp_path: Path) -> None:
    write(tmp_path, FROM_START, {0: 4.0, 10: 3.0})
    write(tmp_path, FROM_START, {0: 5.0})
    assert values(tmp_path) == [(0, 5.0)]


def test_each_opening_is_a_further_attempt_but_for_telling_the_last_ones_end(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0})
    with Journal(tmp_path) as journal:
        assert journal.attempt == 2
    with Journal(tmp_path, of_last_attempt=True) as journal:
        journal.append(EndEvent(10, "lost"), time_ms=journal.last_time_ms)
    assert [record["attempt"] for record in records(tmp_path)] == [1, 1, 1]
    assert end_reason(tmp_path) == "lost"
    assert values(tmp_path) == [(10, 3.0)]


def test_a_line_cut_short_by_a_kill_is_no_record_and_costs_no_other(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0})
    with (tmp_path / EVENTS_FILE).open("a") as file:
        file.write('{"n": 3, "attempt": 1, "event": "StepEv')
    write(tmp_path, 10, {20: 2.0})
    assert values(tmp_path) == [(10, 3.0), (20, 2.0)]
    assert damage(tmp_path) == Damage(num_mended=0, num_lost=0)


@pytest.mark.parametrize("name", [EVENTS_FILE, COPY_FILE])
def test_a_flipped_bit_anywhere_in_either_copy_changes_no_record(tmp_path: Path, name: str) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0}, EndEvent(20, "finished"))
    whole = records(tmp_path)
    content = (tmp_path / name).read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / name).write_bytes(damaged)
        assert records(tmp_path) == whole, place


def test_damage_that_was_mended_is_counted(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0})
    content = (tmp_path / EVENTS_FILE).read_bytes()
    (tmp_path / EVENTS_FILE).write_bytes(content.replace(b"3.0", b"8.0"))
    assert damage(tmp_path) == Damage(num_mended=1, num_lost=0)


def test_a_record_that_both_copies_lost_is_told_and_never_made_up(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0})
    for name in (EVENTS_FILE, COPY_FILE):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"3.0", b"8.0"))
    assert values(tmp_path) == [(20, 2.0)]
    assert damage(tmp_path) == Damage(num_mended=0, num_lost=1)


@pytest.mark.parametrize("failing_write", [1, 2])  # the second copy's, the first one's
@pytest.mark.parametrize("taken", [0, 1, 30])
def test_a_write_that_a_full_disk_cut_off_is_made_once_with_the_time_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int, failing_write: int
) -> None:
    real_write = os.write
    calls = itertools.count(1)

    def full(file: int, content: bytes) -> int:
        if next(calls) < failing_write:
            return real_write(file, content)
        if taken and len(content) > 40:
            return real_write(file, content[:taken])
        raise OSError(28, "No space left on device")

    event, other = step(10, 3.0), EndEvent(10, "interrupted")
    with Journal(tmp_path) as journal:
        journal.begin(0)
        with monkeypatch.context() as patch:
            patch.setattr(journal_module.os, "write", full)
            for refused in (event, event, other):
                with pytest.raises(OSError, match="No space"):
                    journal.append(refused)
        journal.append(event)
        journal.append(other)
    first, second = (_read_lines(tmp_path / name)[0] for name in (EVENTS_FILE, COPY_FILE))
    assert first == second
    assert [(record["n"], record["event"]) for record in first.values()] == [
        (1, "Begin"),
        (2, "StepEvent"),
        (3, "EndEvent"),
    ]
    assert damage(tmp_path) == Damage(0, 0)


def test_a_journal_cut_at_a_lines_end_is_read_from_its_longer_copy(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0})
    lines = (tmp_path / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / EVENTS_FILE).write_bytes(b"".join(lines[:-1]))
    assert values(tmp_path) == [(10, 3.0), (20, 2.0)]
    assert damage(tmp_path) == Damage(num_mended=1, num_lost=0)


def test_a_packed_journal_holds_the_same_records(tmp_path: Path) -> None:
    examples = (Example("a cat", 1, (1, 2), (0.5, 0.25)),)
    write(tmp_path, 0, {10: 3.0, 20: float("inf")}, EvalEvent(20, 0.2, {"val/loss": 0.1 + 0.2}, examples))
    write(tmp_path, 10, {30: 1.0}, EndEvent(30, "finished"))
    before, curves = records(tmp_path), points(tmp_path)
    pack(tmp_path)
    assert not (tmp_path / EVENTS_FILE).exists()
    assert records(tmp_path) == before
    assert points(tmp_path) == curves
    assert end_reason(tmp_path) == "finished"


def test_a_packed_journal_that_was_damaged_is_read_from_its_second_copy(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0, 20: 2.0})
    before = records(tmp_path)
    pack(tmp_path)
    content = (tmp_path / PARQUET_FILE).read_bytes()
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (tmp_path / PARQUET_FILE).write_bytes(damaged)
        assert records(tmp_path) == before


def test_a_journal_goes_on_after_it_was_packed(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0})
    pack(tmp_path)
    write(tmp_path, 10, {20: 2.0})
    assert values(tmp_path) == [(10, 3.0), (20, 2.0)]
    pack(tmp_path)
    assert values(tmp_path) == [(10, 3.0), (20, 2.0)]


def test_the_time_at_work_is_not_the_wall_clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days_ns = iter(range(0, 10**18, 86_400 * 10**9))
    monkeypatch.setattr(journal_module.time, "time_ns", lambda: next(days_ns))
    write(tmp_path, 0, {10: 3.0, 20: 2.0})
    assert active_seconds(tmp_path) < 5


def test_a_tail_gives_each_whole_record_once_and_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(0)
        tail = Tail(tmp_path, after=1)
        journal.append(step(10, 3.0))
        assert [record["samples_seen"] for record in tail.new()] == [10]
        assert list(tail.new()) == []
        journal.append(step(20, 2.0))
        content = (tmp_path / EVENTS_FILE).read_bytes()
        (tmp_path / EVENTS_FILE).write_bytes(content[:-5])
        assert list(tail.new()) == []
        (tmp_path / EVENTS_FILE).write_bytes(content)
        assert [record["samples_seen"] for record in tail.new()] == [20]


def test_the_last_validations_examples_are_kept(tmp_path: Path) -> None:
    examples = (Example("a cat", 1, (1, 2), (0.5, 0.25)),)
    write(tmp_path, 0, {}, EvalEvent(10, 0.1, {}, ()), EvalEvent(20, 0.2, {}, examples))
    assert last_examples(tmp_path) == examples


def test_the_last_validations_strips_are_kept_and_outlive_packing(tmp_path: Path) -> None:
    strips = {"val/loss": (1.5, 2.5)}
    write(tmp_path, 0, {}, EvalEvent(10, 0.1, {}, (), {"val/loss": (9.0,)}), EvalEvent(20, 0.2, {}, (), strips))
    assert last_strips(tmp_path) == (20, strips)
    pack(tmp_path)
    assert last_strips(tmp_path) == (20, strips)


def test_a_journal_from_before_strips_has_none(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0})
    assert last_strips(tmp_path) == (0, {})
