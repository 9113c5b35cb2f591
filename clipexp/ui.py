"""`clipexp ui`: MLflow's UI on loopback, over the working directory's runs, at the page that shows them.

serve(port=None, open_browser=False)
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser

import click

from clipexp.errors import TrackingError
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect, experiment_id, tracking_uri

HOST = "127.0.0.1"
PAGE = "/#/experiments/{}/runs?workflowType=machine_learning"
FIRST_PORT, NUM_PORTS = 5000, 100
START_TIMEOUT_S = 60


def serve(port: int | None, open_browser: bool, tracking: str | None = None) -> None:
    """Serve until Ctrl-C; for a store that is a server already, only say which page to open.

    Raises:
        TrackingError: the port is taken, or the server does not start.
    """
    uri = tracking_uri(tracking)
    experiment = experiment_id(connect(uri), uri)
    if uri.startswith(("http://", "https://")):
        click.echo(f"runs: {uri}{PAGE.format(experiment)}")
        return
    port = free_port() if port is None else port
    if _is_taken(port):
        raise TrackingError(f"port {port} is taken; leave --port out to take a free one")
    page = f"http://{HOST}:{port}{PAGE.format(experiment)}"
    click.echo("starting MLflow's UI (some seconds) ...")
    server = subprocess.Popen(  # noqa: S603 (our own interpreter and words)
        server_command(port, uri),
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    stop = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _wait_until_up(server, port, uri)
        click.echo(f"runs: {page}\nstop it with Ctrl-C")
        if open_browser:
            webbrowser.open(page)
        server.wait()
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        signal.signal(signal.SIGTERM, stop)
        _end(server)


def server_command(port: int, uri: str) -> list[str]:
    """The server's own words, as one could type them."""
    words = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    artifacts = str(home().artifacts.resolve())
    return [*words, "--backend-store-uri", uri, "--artifacts-destination", artifacts]


def free_port() -> int:
    """The first free port on loopback from 5000 on. Raises TrackingError if there is none."""
    for port in range(FIRST_PORT, FIRST_PORT + NUM_PORTS):
        if not _is_taken(port):
            return port
    raise TrackingError(f"ports {FIRST_PORT} to {FIRST_PORT + NUM_PORTS - 1} are all taken; name one with --port")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _wait_until_up(server: "subprocess.Popen[bytes]", port: int, uri: str) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
            continue
        return
    command = " ".join(server_command(port, uri))
    raise TrackingError(f"MLflow's server did not start; see why with: {command}")


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server with all its processes."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
