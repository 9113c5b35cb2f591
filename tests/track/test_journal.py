"""The journal: append-only, and each point once."""

from pathlib import Path

from clipexp.events import StepEvent
from clipexp.track.journal import EVENTS_FILE, Journal, num_unreadable_lines, points, read_json, write_json


def step(samples: int, loss: float) -> StepEvent:
    return StepEvent(samples, samples / 100, {"train/loss": loss})


def write(folder: Path, start: int, losses: dict[int, float]) -> None:
    with Journal(folder) as journal:
        journal.begin(start)
        for samples, loss in losses.items():
            journal.append(step(samples, loss))


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


def test_a_line_cut_short_by_a_kill_is_counted_and_costs_no_other(tmp_path: Path) -> None:
    write(tmp_path, 0, {10: 3.0})
    with (tmp_path / EVENTS_FILE).open("a") as file:
        file.write('{"attempt": 1, "event": "StepEv')
    write(tmp_path, 10, {20: 2.0})
    assert values(tmp_path) == [(10, 3.0), (20, 2.0)]
    assert num_unreadable_lines(tmp_path) == 1


def test_each_opening_is_a_further_attempt(tmp_path: Path) -> None:
    write(tmp_path, 0, {})
    with Journal(tmp_path) as journal:
        assert journal.attempt == 2


def test_a_damaged_summary_reads_as_empty(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"device": "x"})
    assert read_json(tmp_path / "summary.json") == {"device": "x"}
    (tmp_path / "summary.json").write_text('{"devi')
    assert read_json(tmp_path / "summary.json") == {}
