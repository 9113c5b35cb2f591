"""Processes that begin with everything imported: a parent that has imported it all forks one for each command.

    with Nursery(folder) as nursery:
        child = nursery.start(cwd, {"KEY": "value"}, [plan, "run", "run.yaml"])
        child.wait(60), child.output()

Importing torch and MLflow takes seconds a process. The parent refuses to fork once it has a second thread, so that a
child is what a fresh process would be after its imports. `Fresh` starts plain processes instead.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.child import ENVIRONMENT
from tests.faults.child import main as run_child

REPOSITORY = Path(__file__).parents[2]
START_TIMEOUT_S = 120
MODULES = (
    *("cli", "run_command", "launch", "runner", "closing", "settle", "sync", "runs_command", "train.loop", "repeats"),
    *("plots.static", "plots.interactive", "plots.examples", "track.packed", "track.database", "train.pause"),
)
OTHERS = (
    *("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils", "mlflow.artifacts", "alembic"),
    *("mlflow.store.artifact.local_artifact_repo", "mlflow.store.tracking.rest_store", "matplotlib.pyplot"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "plotly.graph_objects", "plotly.io"),
    *("pyarrow.parquet", "rich.console", "rich.progress", "psutil", "safetensors.torch", "torch.optim", "filelock"),
)


class Child:
    """A command that runs, or has run."""

    def __init__(self, output: int) -> None:
        self.pid = 0
        self.code: int | None = None
        self.started_s = time.monotonic()
        self.ended_s = 0.0
        self._bytes = bytearray()
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()

    def _read(self, file: int) -> None:
        while chunk := os.read(file, 1 << 16):
            self._bytes += chunk
        os.close(file)

    def output(self) -> str:
        """What it has said so far."""
        return bytes(self._bytes).decode(errors="replace")

    def wait(self, timeout_s: float) -> int:
        """Its exit code; minus the signal's number where one ended it. Raises TimeoutError, after killing it."""
        try:
            self.code = self._wait(timeout_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            self.code = self._wait(10)
            raise TimeoutError(f"it did not end in {timeout_s:.0f} s; it said:\n{self.output()[-2000:]}") from None
        self.ended_s = time.monotonic()
        self._reader.join(5)
        return self.code

    def is_over(self) -> bool:
        """Whether it has ended."""
        raise NotImplementedError

    def _wait(self, timeout_s: float) -> int:
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """Send it a signal, unless it is gone."""
        if not self.is_over():
            os.kill(self.pid, number)

    def wait_for(self, texts: Sequence[str], timeout_s: float) -> bool:
        """Whether it says one of some texts within a time."""
        give_up_s = time.monotonic() + timeout_s
        while time.monotonic() < give_up_s:
            is_over = self.is_over()
            if any(text in self.output() for text in texts):
                return True
            if is_over:
                return False
            time.sleep(0.02)
        return False


class _Forked(Child):
    def __init__(self, output: int, connection: socket.socket) -> None:
        super().__init__(output)
        self._connection = connection
        self._status = b""
        self.pid = int(self._line())

    def _line(self) -> bytes:
        while b"\n" not in self._status:
            chunk = self._connection.recv(64)
            if not chunk:
                raise OSError("the parent of all children is gone")
            self._status += chunk
        line, _, self._status = self._status.partition(b"\n")
        return line

    def is_over(self) -> bool:
        ready = selectors.DefaultSelector()
        with ready:
            ready.register(self._connection, selectors.EVENT_READ)
            return self.code is not None or b"\n" in self._status or bool(ready.select(0))

    def _wait(self, timeout_s: float) -> int:
        if self.code is None:
            self._connection.settimeout(timeout_s)
            self.code = int(self._line())
            self._connection.close()
        return self.code


class _Plain(Child):
    def __init__(self, output: int, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        super().__init__(output)
        self.pid = process.pid

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def _wait(self, timeout_s: float) -> int:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None


class Fresh:
    """Starts each command in a new interpreter."""

    def start(self, cwd: Path, environment: Mapping[str, str], words: Sequence[str]) -> Child:
        """Start `tests.faults.child` with these words."""
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "tests.faults.child", *words]
        env = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(REPOSITORY), **environment}
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
        os.close(writer)
        return _Plain(reader, process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass


class Nursery:
    """The parent of all children, a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._address = folder / "nursery.sock"
        env = {**os.environ, **ENVIRONMENT}
        command = [sys.executable, "-m", "tests.faults.forked", str(self._address)]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, env=env, start_new_session=True)
        give_up_s = time.monotonic() + START_TIMEOUT_S
        while not self._address.exists():
            if self._process.poll() is not None or time.monotonic() > give_up_s:
                raise OSError("the parent of all children does not start")
            time.sleep(0.05)

    def start(self, cwd: Path, environment: Mapping[str, str], words: Sequence[str]) -> Child:
        """Start `tests.faults.child` with these words."""
        reader, writer = os.pipe()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(self._address))
        request = json.dumps({"cwd": str(cwd), "environment": dict(environment), "words": list(words)})
        socket.send_fds(connection, [request.encode()], [writer])
        os.close(writer)
        return _Forked(reader, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)


def serve(address: Path) -> None:
    """Import everything, then fork a child for each connection and tell it the exit code, until SIGTERM."""
    for name in (*OTHERS, *(f"clipexp.{module}" for module in MODULES)):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address.with_suffix(".new")))
    listener.listen(16)
    address.with_suffix(".new").rename(address)
    waiting: dict[int, tuple[int, socket.socket]] = {}  # by the file that tells of a child's end
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is not listener:
                ready.unregister(key.fileobj)
                _tell_end(key.fd, *waiting.pop(key.fd))
                continue
            connection, _ = listener.accept()
            content, files, _, _ = socket.recv_fds(connection, 1 << 20, 1)
            if not (pid := _fork()):
                ready.close()
                listener.close()
                connection.close()
                return _become(json.loads(content), files[0])
            os.close(files[0])
            connection.sendall(f"{pid}\n".encode())
            file = os.pidfd_open(pid)
            waiting[file] = (pid, connection)
            ready.register(file, selectors.EVENT_READ)


def _fork() -> int:
    if (num_threads := len(os.listdir("/proc/self/task"))) != 1:
        raise OSError(f"won't fork with {num_threads} threads: a child would not be like a fresh process")
    return os.fork()


def _tell_end(file: int, pid: int, connection: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(file)
    with contextlib.suppress(OSError):  # who asked is gone
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    connection.close()


def _become(request: Mapping[str, Any], output: int) -> None:
    """Carry out a command in place of the server: it ends as an interpreter does."""
    os.setsid()
    for target in (1, 2):
        os.dup2(output, target)
    os.close(output)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    run_child(request["words"])


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
