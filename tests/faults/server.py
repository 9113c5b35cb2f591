"""Faults of an MLflow server: it refuses, hangs, or is cut off in the middle of an answer.

away(case, {"way": "hang", "n": 9, "for_s": 1.5})

The server is real and started once; each fault reaches it through a proxy of its own, which does the mischief.
"""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Literal

from tests.faults.case import KILLED, USER_ERROR, Case
from tests.faults.kills import draw_mid
from tests.faults.scene import BATCH_SIZE

Params = dict[str, Any]
Way = Literal["pass", "refuse", "hang", "cut"]
HOST = "127.0.0.1"
START_TIMEOUT_S = 90
_lock = threading.Lock()
_servers: dict[Path, tuple["subprocess.Popen[bytes]", int]] = {}


def server_of(root: Path) -> int:
    """The port of the one server that works in a folder; started where there is none."""
    with _lock:
        if root not in _servers:
            _servers[root] = _start(root)
        return _servers[root][1]


def _start(root: Path) -> tuple["subprocess.Popen[bytes]", int]:
    root.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    words = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    words += [
        "--backend-store-uri",
        f"sqlite:///{root / 'mlflow.db'}",
        "--artifacts-destination",
        str(root / "artifacts"),
    ]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (root / "said.txt").open("wb") as log:
        process = subprocess.Popen(words, cwd=root, env=env, stdout=log, stderr=log, start_new_session=True)
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2).close()
            return process, port
        time.sleep(0.2)
    raise OSError(f"MLflow's server does not start; see {root / 'said.txt'}")


def stop_server(root: Path) -> None:
    """End the server of a folder with its workers, if there is one."""
    if root in _servers:
        process, _ = _servers.pop(root)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)


class Proxy:
    """Passes connections on to the server, or does not."""

    def __init__(self, to_port: int) -> None:
        self._to = to_port
        self._way: Way = "pass"
        self._num_left = -1  # bytes of answers until the next cut
        self._num_cuts = 0
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, self.port))
        listener.listen(32)
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def set_way(self, way: Way) -> None:
        """What to do with connections from now on; those that are open are cut."""
        self._way = way
        for connection in list(self._open):
            self._cut(connection)
        if way == "refuse" and self._listener is not None:
            self._stop_listening()
        elif way != "refuse" and self._listener is None:
            self._listen()

    def cut_answers(self, after_bytes: int, times: int) -> None:
        """Cut a connection when so many bytes were answered, some times."""
        self._num_left, self._num_cuts = after_bytes, times

    def close(self) -> None:
        """No connections any more."""
        self.set_way("refuse")

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._open.add(connection)
                if self._way == "pass":
                    self._join(connection)

    def _join(self, connection: socket.socket) -> None:
        try:
            server = socket.create_connection((HOST, self._to), timeout=10)
        except OSError:
            self._cut(connection)
            return
        server.settimeout(None)
        self._open.add(server)
        threading.Thread(target=self._pump, args=(connection, server, False), daemon=True).start()
        threading.Thread(target=self._pump, args=(server, connection, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                if is_answer and self._num_cuts:
                    chunk, is_cut = self._counted(chunk)
                    target.sendall(chunk)
                    if is_cut:
                        break
                else:
                    target.sendall(chunk)
        self._cut(source)
        self._cut(target)

    def _counted(self, chunk: bytes) -> tuple[bytes, bool]:
        if len(chunk) < self._num_left:
            self._num_left -= len(chunk)
            return chunk, False
        self._num_cuts -= 1
        kept, self._num_left = chunk[: self._num_left], 0
        return kept, True

    def _cut(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _behind_proxy(case: Case) -> Proxy:
    case.server = case.scene.folder / "server"
    proxy = Proxy(server_of(case.server))
    case.undo.append(proxy.close)
    case.uri = f"http://{HOST}:{proxy.port}"
    case.may_owe = True
    return proxy


def draw_away(rng: random.Random) -> Params:
    """How, from which step on, and for how long; None: until the run has ended."""
    return {
        "way": rng.choice(("refuse", "hang")),
        "n": rng.randint(1, 28),
        "for_s": rng.choice((None, round(rng.uniform(0.2, 4.0), 2))),
    }


def away(case: Case, params: Params) -> None:
    """The server is gone in mid-run for a while, or until the run has ended: it goes on, and what is owed is told."""
    proxy = _behind_proxy(case)
    child = case.start()
    case.wait_until(child, params["n"] * BATCH_SIZE)
    proxy.set_way(params["way"])
    if params["for_s"] is not None:
        time.sleep(params["for_s"])
        proxy.set_way("pass")
    case.wait(child)
    case.expect(child, (0,), ("OWED to MLflow",) if params["for_s"] is None else ())
    proxy.set_way("pass")


def draw_away_at_start(rng: random.Random) -> Params:
    """How, and behind which kill, if any."""
    found: Params = {"way": rng.choice(("refuse", "hang")), "comes_back": rng.random() < 0.5}
    return found | ({"kill": draw_mid(rng)} if rng.random() < 0.7 else {})


def away_at_start(case: Case, params: Params) -> None:
    """The server is gone at a start: a run that is here goes on; else it is a clear error, and no run is made."""
    proxy = _behind_proxy(case)
    if "kill" in params:
        case.expect(case.run([params["kill"]["strike"]]), (KILLED,))
    proxy.set_way(params["way"])
    child = case.start()
    if "kill" not in params:
        case.wait(child)
        case.expect(child, (USER_ERROR,), ("tracking",))
        if list(case.mlruns.glob("journals/*")):
            case.problems.append("a run was made without its server")
    else:
        if params["comes_back"]:
            case.has_happened = child.wait_for(("resumes from", "small: run"), 60)
            proxy.set_way("pass")
        case.wait(child)
        case.expect(child, (0,), () if params["comes_back"] else ("OWED to MLflow",))
    proxy.set_way("pass")


def draw_cut(rng: random.Random) -> Params:
    """How many bytes of answers come through before connections are cut, and how often."""
    return {"after_bytes": rng.randint(0, 14_000), "times": rng.randint(1, 4)}


def cut(case: Case, params: Params) -> None:
    """Answers are cut in the middle, so that nobody knows what the server has done."""
    proxy = _behind_proxy(case)
    proxy.cut_answers(params["after_bytes"], params["times"])
    child = case.run()
    case.expect(child, (0, USER_ERROR))
    case.words.append(f"ended with {child.code}")
    proxy.cut_answers(-1, 0)
