"""Versions of what draws and writes a report: with others, bytes may differ, while numbers must not.

drawing_versions()  # {"matplotlib": "3.11.0", ...}
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("clipexp", "numpy", "pillow", "pyarrow")


def drawing_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Of the installed packages whose version may show in a report's bytes."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
