"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port of this machine.

with Server.started() as server:
    uri = server.fresh_database()
"""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

MISSING = "PostgreSQL is not installed, so nothing here was tested with it: apt-get install postgresql"
USER, PASSWORD = "clipexp", "{s%cret}"
# what is committed outlives the server's death, not the machine's
SETTINGS = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=50")


def binaries() -> Path | None:
    """The folder with `initdb` and `pg_ctl`, the newest where there are several; None where there is none."""
    found = shutil.which("pg_ctl")
    if found and (Path(found).parent / "initdb").exists():
        return Path(found).parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


@dataclass
class Server:
    """A cluster. folder: with its data and its socket."""

    folder: Path
    port: int

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator["Server"]:
        """Make a cluster, run it, and remove it at the end."""
        # not in pytest's folder, which is closed to the user that runs the server
        with tempfile.TemporaryDirectory(prefix="clipexp-postgres-") as name:
            server = cls(Path(name), _free_port())
            secret = server.folder / "password"
            secret.write_text(PASSWORD)
            if os.geteuid() == 0:  # which PostgreSQL refuses to run as
                for path in (server.folder, secret):
                    shutil.chown(path, "nobody", "nogroup")
            server._run("initdb", "-D", "data", "-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256", "-N")
            server.start()
            try:
                yield server
            finally:
                server.stop()

    def start(self) -> None:
        settings = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}"]
        options = " ".join(f"-c {setting}" for setting in (*settings, *SETTINGS))
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "30", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def fresh_database(self) -> str:
        """The address of an empty database."""
        name = f"study_{uuid.uuid4().hex}"
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}:%7Bs%25cret%7D@127.0.0.1:{self.port}/{name}"

    def conninfo(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database
        )

    def _run(self, program: str, *arguments: str) -> None:
        folder = binaries()
        if folder is None:
            raise RuntimeError(MISSING)
        who = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*who, str(folder / program), *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,  # the server keeps pg_ctl's open
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed: {done.stdout!r}\n{log.read_text() if log.exists() else ''}")


def _free_port() -> int:
    """One that the kernel gives to no client: else a client may sit on it while the server is restarted."""
    for port in random.Random(os.getpid()).sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free between 20,000 and 32,000")
