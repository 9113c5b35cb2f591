"""The driver's workers: processes that are started, spoken to, watched and ended.

    with Pool(seats, log_folder) as pool:
        pool.assign(seat, job)
        for seat, message in pool.poll(0.2): ...

A worker that dies, or is silent for two minutes, is told as `gone`; its seat takes another with the next job.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from clipexp.events import StopReason
from clipexp.study.limits import MEMORY_LIMIT_VARIABLE
from clipexp.study.messages import Channel, Message

SILENT_AFTER_S = 120.0  # a worker speaks every 5 s, whatever its run does
QUIT_WITHIN_S = 20.0


@dataclass(frozen=True)
class Seat:
    """Where a worker sits: its number, the GPU it has (as CUDA names it; None: none), and its share of the cores."""

    number: int
    gpu: str | None
    num_threads: int

    def environment(self, memory_bytes: int | None) -> dict[str, str]:
        """What its process sees of the machine. `memory_bytes`: what one trial may take."""
        threads = str(self.num_threads)
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
        if self.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpu
        if memory_bytes is not None:
            environment[MEMORY_LIMIT_VARIABLE] = str(memory_bytes)
        return environment


def make_seats(num_workers: int | None, gpus: Sequence[str]) -> list[Seat]:
    """One worker a GPU, or one on the CPU, unless a number is given; they share GPUs in turn, and the cores."""
    number = num_workers or max(1, len(gpus))
    num_threads = max(1, len(os.sched_getaffinity(0)) // number)
    return [Seat(i, gpus[i % len(gpus)] if gpus else None, num_threads) for i in range(number)]


class _Worker:
    """A process that sits somewhere."""

    def __init__(self, seat: Seat, log: Path, memory_bytes: int | None) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "clipexp.study.worker", str(theirs.fileno())]
        with log.open("ab") as output, theirs:
            self.process = subprocess.Popen(  # noqa: S603 (our own interpreter and words)
                command,
                env={**os.environ, **seat.environment(memory_bytes)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the driver, which tells its workers
            )
        self.channel = Channel(ours)
        self.is_ready = False
        self.heard_s = time.monotonic()


class Pool:
    """Workers by their seats. `num_started` counts processes."""

    def __init__(self, seats: Sequence[Seat], log_folder: Path, memory_bytes: int | None = None) -> None:
        self.seats = tuple(seats)
        self.num_started = 0
        self._log_folder = log_folder
        self._memory_bytes = memory_bytes
        self._worker_by_seat: dict[Seat, _Worker] = {}
        self._selector = selectors.DefaultSelector()

    def assign(self, seat: Seat, job: Message) -> None:
        """Give a seat a job, starting a worker where none sits."""
        if seat not in self._worker_by_seat:
            worker = _Worker(seat, self.log(seat), self._memory_bytes)
            self._worker_by_seat[seat] = worker
            self._selector.register(worker.channel.connection, selectors.EVENT_READ, seat)
            self.num_started += 1
        self._worker_by_seat[seat].channel.send({**job, "do": "run"})

    def answer(self, seat: Seat, number: int, stop: StopReason | None = None) -> None:
        """Answer an event: go on, or stop."""
        self._send(seat, {"do": "stop", "reason": stop, "n": number} if stop else {"do": "go", "n": number})

    def stop(self, seat: Seat, reason: StopReason) -> None:
        """Have a seat's run end at its next step, with a checkpoint."""
        self._send(seat, {"do": "stop", "reason": reason})

    def kill(self, seat: Seat) -> None:
        """End a seat's worker where it stands; it is told as gone."""
        if seat in self._worker_by_seat:
            self._worker_by_seat[seat].process.kill()

    def dismiss(self, seat: Seat) -> None:
        """End a seat's worker for good, without a word of it; the next job gets another."""
        if seat in self._worker_by_seat:
            self.kill(seat)
            self._bury(seat)

    def log(self, seat: Seat) -> Path:
        """What a seat's workers print."""
        return self._log_folder / f"worker-{seat.number}.log"

    def poll(self, timeout_s: float) -> Iterator[tuple[Seat, Message]]:
        """What workers say, waiting up to a time for the first word."""
        ready = self._selector.select(timeout_s) if self._worker_by_seat else []
        if not self._worker_by_seat:
            time.sleep(timeout_s)
        for key, _ in ready:
            seat: Seat = key.data
            worker = self._worker_by_seat[seat]
            worker.heard_s = time.monotonic()
            for message in worker.channel.receive():
                worker.is_ready = worker.is_ready or message["say"] == "ready"
                yield seat, message
            if not worker.channel.is_open and self._worker_by_seat.get(seat) is worker:
                yield seat, self._bury(seat)
        for seat, worker in list(self._worker_by_seat.items()):
            if time.monotonic() - worker.heard_s > SILENT_AFTER_S:
                worker.process.kill()
                yield seat, self._bury(seat, is_silent=True)

    def _bury(self, seat: Seat, *, is_silent: bool = False) -> Message:
        worker = self._worker_by_seat.pop(seat)
        self._selector.unregister(worker.channel.connection)
        worker.channel.close()
        try:
            code = worker.process.wait(QUIT_WITHIN_S)
        except subprocess.TimeoutExpired:  # it hung up, but does not end
            worker.process.kill()
            code = worker.process.wait()
        log = self.log(seat)
        last = ([line for line in log.read_text(errors="replace").splitlines() if line.strip()] or [""])[-1]
        was_killed = code == -signal.SIGKILL and not is_silent
        how = f"killed, as it was silent for {SILENT_AFTER_S:g} s" if is_silent else _how(code)
        told = {"how": how, "log": str(log), "last_line": last.strip()}
        return {"say": "gone", "was_ready": worker.is_ready, "was_killed": was_killed, **told}

    def _send(self, seat: Seat, message: Mapping[str, object]) -> None:
        if seat in self._worker_by_seat:
            self._worker_by_seat[seat].channel.send(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Have all workers quit; one that still carries out a run stops it with a checkpoint, as its driver is gone."""
        workers = list(self._worker_by_seat)
        for seat in workers:
            self._send(seat, {"do": "quit"})
            self._worker_by_seat[seat].channel.connection.shutdown(socket.SHUT_WR)
        for seat in workers:
            self._bury(seat)
        self._selector.close()


def _how(code: int) -> str:
    """How a process ended, for a person."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
