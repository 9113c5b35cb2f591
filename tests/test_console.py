"""The console: a bar on a terminal, plain lines elsewhere, and a log in both cases."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from clipexp.console import RunConsole, eval_line, show_panel
from clipexp.events import EndEvent, EvalEvent, Event, StepEvent

STEP = StepEvent(50, 0.5, {"train/loss": 2.5, "train/lr": 1e-3, "system/samples_per_s": 1234.0})
EVAL = EvalEvent(
    100,
    1.0,
    {"val/loss": 2.25, "val/text_to_image_recall_at_1": 0.5, "val/image_to_text_recall_at_1": 0.25},
)
EVENTS: tuple[Event, ...] = (STEP, EVAL, EndEvent(100, "finished"))


def shown(folder: Path, *, terminal: bool) -> tuple[str, str]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, highlight=False)
    with RunConsole(console, 100, 0, folder / "console.log") as run_console:
        for event in EVENTS:
            run_console.show(event)
    return out.getvalue(), (folder / "console.log").read_text()


def test_a_terminal_gets_a_bar_with_loss_rate_and_learning_rate(tmp_path: Path) -> None:
    screen, _ = shown(tmp_path, terminal=True)
    assert "loss 2.500  lr 1.0e-03  1,234 samples/s" in screen


def test_elsewhere_there_are_only_plain_lines(tmp_path: Path) -> None:
    screen, _ = shown(tmp_path, terminal=False)
    assert screen == eval_line(EVAL) + "\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_log_has_every_event_with_its_time(tmp_path: Path, terminal: bool) -> None:
    lines = shown(tmp_path, terminal=terminal)[1].splitlines()
    assert ["loss 2.500" in lines[0], "val/loss 2.250" in lines[1], "ended: finished" in lines[2]] == [True] * 3
    assert all(line[:2] == "20" for line in lines)


def test_the_end_is_framed_on_a_terminal_alone() -> None:
    frames = []
    for terminal in (True, False):
        out = io.StringIO()
        show_panel(Console(file=out, force_terminal=terminal, width=60), ["title", "  [x] a value"])
        assert "[x] a value" in out.getvalue()
        frames.append("╭" in out.getvalue())
    assert frames == [True, False]
