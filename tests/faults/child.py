"""A `clipexp` command that a fault strikes from within: some functions are wrapped, then the command goes its way.

    python -m tests.faults.child '{"strikes": [{"at": "clipexp.train.checkpoint:save", "do": "kill"}]}' run run.yaml

The product has no hooks for this. A strike names a function, which of its calls, and what happens there; that it has
happened stands in the plan's `note` file afterwards.
"""

import functools
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A run of seconds stands for one of days: waiting times are cut, and steps take as long as some bookkeeping does.
STEP_S = 0.03
WAITS: tuple[tuple[str, str, float], ...] = (
    ("clipexp.track.recorder", "FLUSH_EVERY_S", 0.2),
    ("clipexp.track.recorder", "LONGEST_WAIT_S", 0.5),
    ("clipexp.track.recorder", "PAUSE_BETWEEN_CALLS_S", 0.01),
    ("clipexp.track.mlflow_store", "CONNECT_TIMEOUT_S", 1.0),
    ("clipexp.patience", "RETRY_EVERY_S", 0.3),
    ("clipexp.runner", "FINAL_TRIES_S", 6.0),
)
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a second thread, which a fork would lose
}


def main(words: Sequence[str]) -> None:
    """Arm the plan in the first word, then carry out the command in the others."""
    plan = json.loads(words[0])
    shorten_waits()
    for target in plan.get("count", ()):
        count_calls(target, Path(plan["counts"]))
    for strike in plan.get("strikes", ()):
        arm(strike, Path(plan["note"]))
    sys.argv = ["clipexp", *words[1:]]
    from clipexp.cli import entry

    entry()


def shorten_waits() -> None:
    """Scale the product's waiting times down."""
    for module, name, value in WAITS:
        owner = importlib.import_module(module)
        getattr(owner, name)  # a constant that was renamed must not go unnoticed
        setattr(owner, name, value)
    wrap("clipexp.train.training:Training.step", lambda call: (time.sleep(STEP_S), call())[1])


def find(target: str) -> tuple[Any, str]:
    """`module:Class.name` as the object that holds the name, and the name."""
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name


def wrap(target: str, around: Callable[[Callable[[], Any]], Any]) -> None:
    """Have `around` called in a function's place, with the call itself as its argument."""
    wrap_with_arguments(target, lambda call, *_: around(call))


def wrap_with_arguments(target: str, around: Callable[..., Any]) -> None:
    """As `wrap`; `around` gets the call's positional arguments too."""
    owner, name = find(target)
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return around(lambda: original(*args, **kwargs), *args)

    setattr(owner, name, wrapper)


def count_calls(target: str, counts: Path) -> None:
    """Note each call of a function, or of one inside another (`target<outer`), as a line of a file."""
    target, _, outer = target.partition("<")
    is_inside = inside(outer)
    label = f"{target}<{outer}" if outer else target

    def around(call: Callable[[], Any]) -> Any:
        if is_inside():
            append(counts, label)
        return call()

    wrap(target, around)


def append(path: Path, line: str) -> None:
    """Add a line in one write, past a file size limit that may be in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, f"{line}\n".encode())
    os.close(file)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def inside(outer: str) -> Callable[[], bool]:
    """Whether this thread is inside a function; always, where none is named."""
    if not outer:
        return lambda: True
    state = threading.local()

    @contextmanager
    def entered() -> Iterator[None]:
        state.depth = getattr(state, "depth", 0) + 1
        try:
            yield
        finally:
            state.depth -= 1

    def around(call: Callable[[], Any]) -> Any:
        with entered():
            return call()

    wrap(outer, around)
    return lambda: getattr(state, "depth", 0) > 0


def arm(strike: Mapping[str, Any], note: Path) -> None:
    """Have a strike happen: `do` it `when` the `n`-th call `at` a function, perhaps inside another, comes."""
    is_inside = inside(strike.get("inside", ""))
    when, wanted = strike.get("when", "before"), strike.get("n", 1)
    lock, seen = threading.Lock(), [0]

    def is_it() -> bool:
        with lock:
            seen[0] += is_inside()
            return is_inside() and seen[0] == wanted

    def happen() -> None:
        append(note, json.dumps(strike))
        do(strike)

    def around(call: Callable[[], Any], *args: Any) -> Any:
        if not is_it():
            return call()
        if when == "half":  # of a line that is written
            os.write(args[0], args[1][: len(args[1]) // 2])
            happen()
        if when == "item":  # of a generator
            return items(call(), strike.get("item", 1), happen)
        if when == "before":
            happen()
        result = call()
        if when == "after":
            happen()
        return result

    wrap_with_arguments(strike["at"], around)


def items(values: Iterator[Any], wanted: int, happen: Callable[[], None]) -> Iterator[Any]:
    """The same values; it happens when the wanted one was used."""
    for number, value in enumerate(values, 1):
        yield value
        if number == wanted:
            happen()


def do(strike: Mapping[str, Any]) -> None:
    """What a strike does to its own process."""
    match strike["do"]:
        case "kill" if delay_s := strike.get("delay_s", 0):
            thread = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL))
            thread.daemon = True
            thread.start()
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        case "jump":
            set_clock(strike["by_s"])
        case "fill":  # no file may grow beyond this, as if the disk were full
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (strike["num_bytes"], hard))
        case other:
            raise ValueError(f"a strike does not know how to {other}")


def set_clock(by_s: float) -> None:
    """Have the wall clock show another time from here on, as if somebody had set it."""
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + by_s
    time.time_ns = lambda: nanoseconds() + int(by_s * 1e9)


if __name__ == "__main__":
    main(sys.argv[1:])
