"""A report's folder: each file written beside its place and renamed, and what an earlier version left removed.

write_files(Path("reports/run1"), {"report.md": b"...", "figures/1a2b3c4d.svg": b"..."}, owned=("figures", "data"))
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from clipexp.errors import ReportError


def write_files(folder: Path, files: Mapping[str, bytes], owned: Collection[str] = ()) -> None:
    """Write files by their path in the folder, then remove others from what is `owned`: subfolders, or single files.

    A file whose bytes are there already is left as it is.

    Raises:
        ReportError: the folder can't be written.
    """
    try:
        for path, content in files.items():
            target = folder / path
            if target.is_file() and target.read_bytes() == content:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            tmp = target.with_name(f"{target.name}.tmp")
            tmp.write_bytes(content)
            tmp.replace(target)
        for stale in list(found_files(folder, owned)):
            if stale not in files:
                (folder / stale).unlink()
        _remove_empty(folder, owned)
    except OSError as error:
        raise ReportError(f"can't write the report {folder} ({error.strerror}); see --out") from error


def found_files(folder: Path, owned: Collection[str]) -> Iterator[str]:
    """The paths, in the folder, of all files below these subfolders, and of those that are single files."""
    for name in owned:
        place = folder / name
        inside = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        yield from (path.relative_to(folder).as_posix() for path in inside if path.is_file())


def _remove_empty(folder: Path, owned: Collection[str]) -> None:
    for name in owned:
        below = [path for path in (folder / name).rglob("*") if path.is_dir()]
        for path in sorted(below, reverse=True):
            if not any(path.iterdir()):
                path.rmdir()
