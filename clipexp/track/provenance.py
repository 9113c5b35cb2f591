"""Where a result came from: the code's commit and what was changed in it, and the versions of what it ran on."""

import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("clipexp", "torch", "numpy", "mlflow", "mlflow-skinny", "tokenizers", "pyarrow", "safetensors")


@dataclass(frozen=True)
class Git:
    """The working tree's commit, and its difference from it; empty outside a checkout."""

    commit: str
    diff: str


def git_state() -> Git:
    """The state of the checkout that the working directory lies in.

    Files that git does not know are named in the diff, but for reports, which decide no result.
    """
    untracked = [line[3:] for line in _git("status", "--porcelain").splitlines() if line.startswith("??")]
    names = "".join(f"# not in git: {name}\n" for name in untracked if not name.startswith("reports/"))
    return Git(_git("rev-parse", "HEAD").strip(), _git("diff", "HEAD") + names)


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    """The version of each installed package that matters for a result."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
