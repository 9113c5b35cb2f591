"""`clipexp doctor`: what this machine has, what is missing, and how to get it.

for finding in diagnose():
    print(finding.line())
"""

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from clipexp.errors import ClipexpError

MIN_PYTHON, MAX_PYTHON = (3, 11), (3, 13)
MIN_FREE_GB = 5


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `missing` keeps clipexp from working; `note` is worth knowing."""

    what: str
    state: Literal["ok", "note", "missing"]
    detail: str
    remedy: str = ""

    def line(self) -> str:
        """As printed."""
        mark = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}[self.state]
        return f"{mark}  {self.what:<12} {self.detail}" + (f"\n{'':<23}-> {self.remedy}" if self.remedy else "")

    def to_json(self) -> dict[str, Any]:
        """The object of `clipexp doctor --json`."""
        return dataclasses.asdict(self)


def diagnose() -> list[Finding]:
    """Look at everything that clipexp needs."""
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _torch,
        _torchvision,
        _bf16,
        _disk,
        _mlruns,
        _tracking,
    )
    return [finding for look in looks for finding in look()]


def _python() -> Iterator[Finding]:
    found = sys.version_info[:2]
    detail = f"{sys.version.split()[0]} at {sys.executable}"
    if MIN_PYTHON <= found <= MAX_PYTHON:
        yield Finding("python", "ok", detail)
    else:
        yield Finding("python", "missing", detail, "use Python 3.11 to 3.13: make setup PYTHON=python3.12")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    absent = []
    for text in requires("clipexp") or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            try:
                found = version(requirement.name)
            except PackageNotFoundError:
                if not (requirement.name == "mlflow" and _is_installed("mlflow-skinny")):
                    absent.append(f"{requirement.name} (none)")
                continue
            if not requirement.specifier.contains(found, prereleases=True):
                absent.append(f"{requirement.name} ({found}, needs {requirement.specifier})")
    if absent:
        yield Finding("packages", "missing", ", ".join(absent), "run: make setup")
    else:
        yield Finding("packages", "ok", "all that pyproject.toml asks for")


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its libraries is not here
        yield Finding("torch", "missing", str(error), "run: make setup")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    detail = f"{torch.__version__} ({build}), {torch.get_num_threads()} threads"
    has_driver = shutil.which("nvidia-smi") is not None
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        memory = f"{total / 1e9:.0f} GB of memory, {free / 1e9:.0f} GB free"
        yield Finding("torch", "ok", detail)
        yield Finding("gpu", "ok", f"{torch.cuda.get_device_name()}, {memory}")
    elif has_driver and not torch.version.cuda:
        yield Finding("torch", "missing", f"{detail}, but this machine has a GPU", "run: make setup WHEELS=cuda")
    elif has_driver:
        yield Finding("torch", "missing", f"{detail} finds no GPU, though nvidia-smi is here", "see docs/gpu-box.md")
    else:
        yield Finding("torch", "ok", detail)
        yield Finding("gpu", "note", "none: training runs on the processor")


def _torchvision() -> Iterator[Finding]:
    from clipexp.torchvision_import import import_torchvision

    try:
        module = import_torchvision()
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("torchvision", "missing", str(error).splitlines()[0], "run: make setup")
        return
    yield Finding("torchvision", "ok", str(module.__version__))


def _bf16() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError):
        return  # `_torch` has told of it

    from clipexp.train.device import require_precision

    if torch.cuda.is_available():
        return
    before = os.environ.get("ONEDNN_MAX_CPU_ISA")
    try:
        require_precision("bf16", torch.device("cpu"))
    except ClipexpError as error:
        yield Finding("bf16", "note", str(error))
        return
    if os.environ.get("ONEDNN_MAX_CPU_ISA") != before:
        yield Finding("bf16", "note", "works without AMX, which this machine names but stops at; runs see to that")
    else:
        yield Finding("bf16", "ok", "works on this processor")


def _disk() -> Iterator[Finding]:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    if free_gb < MIN_FREE_GB:
        yield Finding("disk", "note", f"{free_gb:.1f} GB free here", "prepared sets and checkpoints need room")
    else:
        yield Finding("disk", "ok", f"{free_gb:.0f} GB free here")


def _mlruns() -> Iterator[Finding]:
    from clipexp.track.home import home

    root = home().root
    folder = root if root.exists() else Path.cwd()
    if os.access(folder, os.W_OK):
        yield Finding("mlruns", "ok", f"{folder.resolve()} can be written")
    else:
        yield Finding("mlruns", "missing", f"{folder.resolve()} can't be written", f"run: chmod u+w {folder}")


def _tracking() -> Iterator[Finding]:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None:
        yield Finding("tracking", "ok", "mlruns/mlflow.db (MLFLOW_TRACKING_URI is not set)")
        return
    from clipexp.track.mlflow_store import connect

    try:
        connect(uri)
    except ClipexpError as error:
        yield Finding("tracking", "missing", str(error))
        return
    yield Finding("tracking", "ok", f"{uri} answers")
