"""The pool with a stand-in for workers: a program that does what a job says, without training anything."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clipexp.study import pool as pool_module
from clipexp.study.limits import MEMORY_LIMIT_VARIABLE
from clipexp.study.pool import Pool, Seat, make_seats

REPOSITORY = Path(__file__).parents[2]
STAND_IN = f"""#!{sys.executable}
import os, signal, socket, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from clipexp.study.messages import Channel
channel = Channel(socket.socket(fileno=int(sys.argv[3])))
print("a stand-in began", flush=True)
channel.send({{"say": "ready", "pid": os.getpid(), "environment": dict(os.environ)}})
while channel.is_open:
    for message in channel.receive():
        channel.send({{"say": "heard", "message": message}})
        if message["do"] == "quit":
            sys.exit(0)
        match message.get("act"):
            case "exit":
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "half":
                channel.connection.sendall(b'{{"say": "ev')
                os._exit(0)
            case "hang up":
                channel.connection.close()
                time.sleep(600)
            case "sleep":
                time.sleep(600)
"""
SEATS = (Seat(0, None, 1), Seat(1, None, 1))
Heard = tuple[Seat, Any]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    program = tmp_path / "stand-in"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(pool_module, "QUIT_WITHIN_S", 2.0)
    with Pool(SEATS, tmp_path, memory_bytes=123) as made:
        yield made


def wait_for(pool: Pool, is_it: Callable[[Heard], bool], within_s: float = 20.0) -> Heard:
    """The first message of a kind; whatever else is said by then is dropped."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        found = [heard for heard in pool.poll(0.05) if is_it(heard)]
        if found:
            return found[0]
    raise TimeoutError("nobody said it")


def says(word: str, seat: Seat = SEATS[0]) -> Callable[[Heard], bool]:
    return lambda heard: heard[0] == seat and heard[1]["say"] == word


def does(word: str) -> Callable[[Heard], bool]:
    return lambda heard: heard[1]["say"] == "heard" and heard[1]["message"]["do"] == word


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_seat_gets_one_worker_for_all_its_jobs(pool: Pool) -> None:
    pool.assign(SEATS[0], {"job": "first"})
    wait_for(pool, says("heard"))
    pool.assign(SEATS[0], {"job": "second"})
    assert wait_for(pool, does("run"))[1]["message"] == {"job": "second", "do": "run"}
    assert pool.num_started == 1


def test_events_are_answered_by_number_and_a_stop_has_its_reason(pool: Pool) -> None:
    pool.assign(SEATS[0], {})
    pool.answer(SEATS[0], 7)
    assert wait_for(pool, does("go"))[1]["message"] == {"do": "go", "n": 7}
    pool.answer(SEATS[0], 8, "pruned")
    assert wait_for(pool, does("stop"))[1]["message"] == {"do": "stop", "reason": "pruned", "n": 8}
    pool.stop(SEATS[0], "interrupted")
    assert wait_for(pool, does("stop"))[1]["message"] == {"do": "stop", "reason": "interrupted"}


@pytest.mark.parametrize(
    ("act", "how"),
    [
        ("exit", "ended with code 3"),
        ("kill", "killed by SIGKILL"),
        ("half", "ended with code 0"),  # amid a word, which is dropped
        ("hang up", "killed by SIGKILL"),  # by the pool, as it does not end
    ],
)
def test_a_worker_that_dies_is_told_as_gone_and_its_seat_takes_another(pool: Pool, act: str, how: str) -> None:
    pool.assign(SEATS[0], {"act": act})
    _, gone = wait_for(pool, says("gone"))
    assert gone["how"] == how
    assert (gone["was_ready"], gone["last_line"]) == (True, "a stand-in began")
    assert Path(gone["log"]) == pool.log(SEATS[0])
    pool.answer(SEATS[0], 1)  # nobody is there to hear it
    pool.kill(SEATS[0])
    pool.assign(SEATS[0], {"job": "next"})
    assert wait_for(pool, says("ready"))[1]["say"] == "ready"
    assert pool.num_started == 2


def test_one_that_is_killed_does_not_disturb_the_other(pool: Pool) -> None:
    pids = []
    for seat in SEATS:
        pool.assign(seat, {})
        pids.append(wait_for(pool, says("ready", seat))[1]["pid"])
    pool.kill(SEATS[0])
    wait_for(pool, says("gone"))
    pool.answer(SEATS[1], 1)
    assert wait_for(pool, does("go"))[0] == SEATS[1]
    assert [is_alive(pid) for pid in pids] == [False, True]


def test_one_that_is_dismissed_is_not_told_as_gone_and_the_next_job_gets_another(pool: Pool) -> None:
    pool.assign(SEATS[0], {})
    heard = []
    for seat, message in pool.poll(20):
        heard.append(message["say"])
        pool.dismiss(seat)  # amid its words, as the driver does
    assert heard[0] == "ready"
    assert "gone" not in heard
    pool.assign(SEATS[0], {})
    found = wait_for(pool, lambda heard: heard[1]["say"] in ("ready", "gone"))
    assert found[1]["say"] == "ready"
    assert pool.num_started == 2


def test_a_silent_worker_is_killed_and_told_as_gone(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.assign(SEATS[0], {"act": "sleep"})
    _, ready = wait_for(pool, says("ready"))
    monkeypatch.setattr(pool_module, "SILENT_AFTER_S", 0.3)
    _, gone = wait_for(pool, says("gone"))
    assert gone["how"] == "killed, as it was silent for 0.3 s"
    assert not is_alive(ready["pid"])


def test_all_workers_are_ended_with_the_pool_also_one_that_does_not_listen(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = []
    with Pool(SEATS, tmp_path) as other:
        for seat, act in zip(SEATS, ("", "sleep"), strict=True):
            other.assign(seat, {"act": act})
            pids.append(wait_for(other, says("ready", seat))[1]["pid"])
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


def test_what_a_worker_prints_is_kept_and_what_it_may_take_is_told(pool: Pool) -> None:
    pool.assign(SEATS[1], {})
    _, ready = wait_for(pool, says("ready", SEATS[1]))
    found = ready["environment"]
    assert {name: found[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", MEMORY_LIMIT_VARIABLE)} == {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        MEMORY_LIMIT_VARIABLE: "123",
    }
    assert pool.log(SEATS[1]).name == "worker-1.log"
    assert pool.log(SEATS[1]).read_text() == "a stand-in began\n"


def test_nobody_to_hear_takes_the_time_it_was_given(pool: Pool) -> None:
    began_s = time.monotonic()
    assert list(pool.poll(0.2)) == []
    assert time.monotonic() - began_s >= 0.2


@pytest.mark.parametrize(
    ("num_workers", "gpus", "wanted"),
    [
        (None, [], [(None, 8)]),
        (3, [], [(None, 2)] * 3),
        (16, [], [(None, 1)] * 16),
        (None, ["0", "2"], [("0", 4), ("2", 4)]),
        (3, ["0", "1"], [("0", 2), ("1", 2), ("0", 2)]),
    ],
)
def test_workers_share_gpus_in_turn_and_the_cores(
    monkeypatch: pytest.MonkeyPatch, num_workers: int | None, gpus: list[str], wanted: list[tuple[str | None, int]]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    seats = make_seats(num_workers, gpus)
    assert [(seat.gpu, seat.num_threads) for seat in seats] == wanted
    assert [seat.number for seat in seats] == list(range(len(wanted)))


def test_a_gpu_is_named_as_cuda_sees_it() -> None:
    environment = Seat(0, "GPU-5e1f", 4).environment(None)
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-5e1f"
    assert MEMORY_LIMIT_VARIABLE not in environment
    assert "CUDA_VISIBLE_DEVICES" not in Seat(0, None, 4).environment(None)
