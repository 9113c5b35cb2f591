"""What a person sees while something runs: progress on a terminal, a few plain lines elsewhere.

with RunConsole(spec, total_samples, log_file) as console:
    for event in events:
        console.show(event)
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from clipexp.events import CheckpointEvent, EndEvent, EvalEvent, Event, FaultEvent, PauseEvent, StepEvent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


MANY_BYTES = 1_000_000_000  # take a second or more
LINE_EVERY_S = 30


def make_console() -> "Console":
    """The console of this process. Off a terminal, lines are not wrapped."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=10_000, no_color=True)


class RunConsole:
    """Shows a run's events, and keeps what it said in the run's console log."""

    def __init__(self, console: "Console", total_samples: int, resumed_at: int, log_file: Path) -> None:
        self._console = console
        self._total = total_samples
        self._resumed_at = resumed_at
        self._log_file = log_file
        self._num_dropped = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        try:
            self._log = os.open(self._log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError:
            self._log, self._num_dropped = os.open(os.devnull, os.O_WRONLY), 1
        if self._console.is_terminal:
            self._progress = _training_progress(self._console)
            self._task = self._progress.add_task("training", total=self._total, completed=self._resumed_at, numbers="")
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()
        if error is not None:
            self._note(f"{type(error).__name__}: {error}")
        os.close(self._log)
        if self._num_dropped:
            self._console.print(f"{self._num_dropped} line(s) are missing in {self._log_file}: no room on the disk")

    def _note(self, line: str) -> None:
        """A line for the log alone. A full disk must not end a run for the sake of its log: what is dropped is told."""
        try:
            os.write(self._log, f"{_now()} {line}\n".encode())
        except OSError:
            self._num_dropped += 1

    def say(self, line: str) -> None:
        """A line for the person and the log."""
        self._note(line)
        self._console.print(line, markup=False, soft_wrap=True)

    def show(self, event: Event) -> None:
        """What one event means to a person."""
        match event:
            case StepEvent():
                self._show_step(event)
            case EvalEvent():
                self.say(eval_line(event))
            case CheckpointEvent():
                self._note(f"checkpoint {event.path}{' (best)' if event.is_best else ''}")
            case FaultEvent() | PauseEvent():
                self.say(event.message)
            case EndEvent():
                self._note(f"ended: {event.reason} at {event.samples_seen:,} samples")

    def _show_step(self, event: StepEvent) -> None:
        metrics = event.metrics
        rate = metrics.get("system/samples_per_s")
        numbers = f"loss {metrics['train/loss']:.3f}  lr {metrics['train/lr']:.1e}" + (
            f"  {rate:,.0f} samples/s" if rate else ""
        )
        self._note(f"{event.samples_seen:,} samples  {numbers}")
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=event.samples_seen, numbers=numbers)


def eval_line(event: EvalEvent) -> str:
    """A validation in one line."""
    metrics = event.metrics
    loss_name = next(name for name in sorted(metrics) if name.startswith("val/loss"))
    return (
        f"{event.samples_seen:>9,} samples  epoch {event.epoch:6.3f}  {loss_name} {metrics[loss_name]:.3f}"
        f"  recall@1 text to image {metrics['val/text_to_image_recall_at_1']:6.1%},"
        f" image to text {metrics['val/image_to_text_recall_at_1']:6.1%}"
    )


def end_lines(
    title: str, rows: Sequence[tuple[str, str]], next_commands: Sequence[str], findings: Sequence[str] = ()
) -> list[str]:
    """The end of a run as lines: what came out, what was found, and what to do next."""
    width = max(len(name) for name, _ in rows)
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows)]
    lines += ["  found:", *(f"    {finding}" for finding in findings)] if findings else []
    return [*lines, "  next:", *(f"    {command}" for command in next_commands)]


def show_panel(console: "Console", lines: Sequence[str]) -> None:
    """Lines in a frame on a terminal, as they are elsewhere."""
    if not console.is_terminal:
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)
        return
    from rich.panel import Panel
    from rich.text import Text

    console.print(Panel(Text("\n".join(lines[1:])), title=Text(lines[0]), title_align="left", expand=False))


@contextlib.contextmanager
def preparing_progress(console: "Console") -> Iterator[Callable[[str, int, int | None], None]]:
    """A function to call with what is being done, how much is done, and of how much, None where that is unknown.

    Bars with rate and time left; off a terminal a line every half minute.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        pace_by_work: dict[str, Pace] = {}
        task_by_work: dict[str, TaskID] = {}

        def report(work: str, done: int, total: int | None) -> None:
            now_s = time.monotonic()
            pace = pace_by_work.setdefault(work, Pace(done, now_s))
            if work not in task_by_work:
                task_by_work[work] = progress.add_task(work, total=total, rate="")
            progress.update(task_by_work[work], completed=done, total=total, rate=pace.rate(done, now_s))
            if not console.is_terminal and pace.is_due(now_s):
                console.print(f"{work}: {pace.line(done, total, now_s)}", markup=False)

        yield report


@dataclass
class Pace:
    """How fast a piece of work goes: where it was when it began, and when a line was last due."""

    began_at: int
    began_s: float
    line_s: float = 0

    def __post_init__(self) -> None:
        self.line_s = self.began_s

    def rate(self, done: int, now_s: float) -> str:
        """Such as `1,020/s`; empty while nothing is done."""
        num = done - self.began_at
        return f"{num / (now_s - self.began_s):,.0f}/s" if num and now_s > self.began_s else ""

    def line(self, done: int, total: int | None, now_s: float) -> str:
        """Such as `120,000 of 2,300,000, 1,020/s, 36 min left`."""
        words = [f"{done:,}" if total is None else f"{done:,} of {total:,}"]
        if rate := self.rate(done, now_s):
            words.append(rate)
            if total is not None:
                left_s = (total - done) * (now_s - self.began_s) / (done - self.began_at)
                words.append(f"{left_s / 60:,.0f} min left" if left_s >= 60 else f"{left_s:.0f} s left")
        return ", ".join(words)

    def is_due(self, now_s: float) -> bool:
        """Whether half a minute went by since it last was."""
        if now_s - self.line_s < LINE_EVERY_S:
            return False
        self.line_s = now_s
        return True


@contextlib.contextmanager
def checking_progress(console: "Console", store: str) -> Iterator[Callable[[int, int], None]]:
    """A function to call with the bytes of a prepared set that are checked and those to be; shows nothing till then."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"checking every byte of {store}, once", visible=False)

        def report(num_done: int, num_total: int) -> None:
            if not num_done and num_total >= MANY_BYTES and not console.is_terminal:
                console.print(f"checking every byte of {store}, {num_total / 1e9:,.1f} GB, once", markup=False)
            progress.update(task, completed=num_done, total=num_total, visible=True)

        yield report


def _training_progress(console: "Console") -> "Progress":
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
