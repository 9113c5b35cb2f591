"""Small JSON files that could not be made again: each has a checksum of its content, and a second copy beside it.

write_kept(folder / "run.json", {"run_id": "7a8a4205"})
read_kept(folder / "run.json")  # {"run_id": "7a8a4205"}, from the copy where the file was damaged
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKSUM = "sha256"


def write_kept(path: Path, content: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write both copies, each beside its place and renamed; durable: so that a power cut leaves one whole.

    Raises:
        OSError: they can't be written.
    """
    text = json.dumps({**content, CHECKSUM: _checksum(content)}, indent=1, ensure_ascii=False) + "\n"
    for target in (path, _copy(path)):
        tmp = target.with_name(f"{target.name}.tmp")
        with tmp.open("w") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        tmp.replace(target)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_kept(path: Path) -> dict[str, Any]:
    """The content of the first copy that is whole; empty where there is none."""
    return next((content for target in (path, _copy(path)) if (content := _read(target))), {})


def remove_kept(path: Path) -> None:
    """Remove both copies; the first one last, since by it the file is found where a kill comes between."""
    _copy(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _copy(path: Path) -> Path:
    return path.with_name(f"{path.name}.copy")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        checksum = content.pop(CHECKSUM)
    except (OSError, ValueError, KeyError, AttributeError):
        return {}
    return content if isinstance(content, dict) and checksum == _checksum(content) else {}


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
