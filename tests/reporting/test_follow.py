"""Following runs: a report is written when journals grow, what comes of a run is told, and the end is a whole one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clipexp.errors import ReportError, TrackingError
from clipexp.events import EndEvent, StepEvent
from clipexp.reporting.follow import Followed, follow
from clipexp.track.header import RunHeader, write_header
from clipexp.track.home import home
from clipexp.track.journal import FROM_START, Journal
from clipexp.track.lease import Lease, take

EVERY_S = 0.05
PATIENCE_S = 20


class Run:
    """A run that this process carries out, as far as its journal and lease show."""

    def __init__(self, run_id: str) -> None:
        self.lease: Lease = take(f"hash-{run_id}", run_id, "mlruns")
        self.header = header(run_id, self.lease.holder.launch)
        write_header(self.header)
        self.lease.name_run(run_id)
        self.followed = Followed(run_id, run_id, total_samples=400)
        self.journal: Journal | None = None

    def begin(self) -> None:
        self.journal = Journal(self.header.folder)
        self.journal.begin(FROM_START)

    def step(self, samples_seen: int) -> None:
        assert self.journal is not None
        self.journal.append(StepEvent(samples_seen, samples_seen / 100, {"train/loss": 1.0}))

    def end(self, samples_seen: int) -> None:
        assert self.journal is not None
        self.journal.append(EndEvent(samples_seen, "finished"))
        self.journal.close()
        self.lease.release()


def header(run_id: str, launch: str) -> RunHeader:
    return RunHeader(
        run_id=run_id,
        spec_hash=f"hash-{run_id}",
        store="mlruns",
        name=run_id,
        spec={},
        params={},
        tags={},
        dataset={},
        cost_key="",
        device="cpu",
        created_ms=1,
        launch=launch,
    )


class Report:
    """Notes each writing, and whether it was to be the last."""

    def __init__(self) -> None:
        self.writings: list[bool] = []

    def __call__(self, is_last: bool) -> Path:
        self.writings.append(is_last)
        return Path("reports/x/report.md")


@pytest.fixture
def run(workplace: Path) -> Iterator[Run]:
    home().make()
    made = Run("a" * 32)
    yield made
    if made.journal is not None and not made.journal.has_ended:
        made.journal.close()
        made.lease.release()


def following(run: Run, report: Callable[[bool], Path]) -> tuple[threading.Thread, list[str]]:
    said: list[str] = []
    thread = threading.Thread(target=lambda: follow(lambda: [run.followed], report, said.append, EVERY_S))
    thread.start()
    return thread, said


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def test_the_report_is_written_when_the_journal_has_grown_and_once_more_at_the_end(run: Run) -> None:
    run.begin()
    run.step(100)
    report = Report()
    thread, said = following(run, report)
    wait_until(lambda: report.writings == [False])
    time.sleep(5 * EVERY_S)
    assert report.writings == [False]  # nothing new, nothing written
    run.step(200)
    wait_until(lambda: report.writings == [False, False])
    run.step(400)
    run.end(400)
    thread.join(PATIENCE_S)
    assert report.writings[-1] is True
    assert report.writings.count(True) == 1
    assert any(line.endswith("has ended (finished) at 400 of 400 samples") for line in said)
    assert said[-1] == "report: reports/x/report.md (all its runs have ended)"


def test_between_writings_journals_are_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.begin()
    run.step(100)
    report = Report()
    thread, said = following(run, report)
    wait_until(lambda: any("100 of 400 samples" in line for line in said))
    reads: list[str] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (reads.append(path.name), original(path))[1])
    time.sleep(5 * EVERY_S)
    monkeypatch.undo()
    run.end(100)
    thread.join(PATIENCE_S)
    assert not any(name.startswith("events") for name in reads)


def test_runs_that_have_ended_already_are_reported_on_once(run: Run) -> None:
    run.begin()
    run.end(100)
    report = Report()
    assert follow(lambda: [run.followed], report, lambda _: None, EVERY_S) == Path("reports/x/report.md")
    assert report.writings == [True]


def test_a_run_that_has_not_begun_is_told_and_waited_for(run: Run) -> None:
    report = Report()
    thread, said = following(run, report)
    wait_until(lambda: f"{run.followed.name} has not begun yet" in said)
    run.begin()
    run.step(100)
    run.end(100)
    thread.join(PATIENCE_S)
    assert report.writings[-1] is True


def test_a_run_that_is_not_there_yet_is_waited_for(run: Run) -> None:
    run.begin()
    run.end(100)
    tries: list[int] = []

    def choose() -> list[Followed]:
        tries.append(1)
        if len(tries) < 3:
            raise TrackingError("there is no run a")
        return [run.followed]

    report, said = Report(), []
    follow(choose, report, said.append, EVERY_S)
    assert said.count("there is no run a; waiting for it to begin, Ctrl-C ends this") == 1
    assert report.writings == [True]


CARRIED_OUT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.reporting.test_follow import Run
run = Run("a" * 32)
run.begin()
run.step(100)
print("going", flush=True)
time.sleep(60)
"""


def test_a_run_whose_process_is_killed_is_told_to_be_lost(workplace: Path) -> None:
    home().make()
    checkout = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", CARRIED_OUT, checkout], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"going\n"
        report, said = Report(), []
        followed = Followed("a" * 32, "short")
        arguments = (lambda: [followed], report, said.append, EVERY_S)
        thread = threading.Thread(target=follow, args=arguments)
        thread.start()
        wait_until(lambda: report.writings == [False])
        child.send_signal(signal.SIGKILL)
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "short was lost at 100 samples: its process is gone and left no word" in said
    assert report.writings[-1] is True


def test_ctrl_c_ends_with_a_last_whole_writing(run: Run) -> None:
    run.begin()
    run.step(100)
    report, said = Report(), []

    def write(is_last: bool) -> Path:
        path = report(is_last)
        if not is_last:
            os.kill(os.getpid(), signal.SIGINT)  # comes in the midst of a writing
        return path

    assert follow(lambda: [run.followed], write, said.append, EVERY_S) is not None
    assert report.writings == [False, True]
    assert said[-1].endswith("(the runs were not waited for any longer)")


def test_ctrl_c_before_there_is_a_run_writes_nothing(workplace: Path) -> None:
    def choose() -> list[Followed]:
        os.kill(os.getpid(), signal.SIGINT)
        raise TrackingError("there is no run a")

    report = Report()
    assert follow(choose, report, lambda _: None, EVERY_S) is None
    assert report.writings == []


def test_a_writing_that_fails_is_told_and_tried_again_the_last_one_is_an_error(run: Run) -> None:
    run.begin()
    run.step(100)
    said: list[str] = []
    tries: list[bool] = []

    def write(is_last: bool) -> Path:
        tries.append(is_last)
        if len(tries) == 1:
            run.step(200)
        else:
            run.end(200) if not is_last else None
        raise ReportError("no room")

    with pytest.raises(ReportError, match="no room"):
        follow(lambda: [run.followed], write, said.append, EVERY_S)
    assert said.count("no room; trying again") == 2
    assert tries == [False, False, True]
