"""Where a result came from: the commit, and everything that is not in it."""

import subprocess
from pathlib import Path

import pytest

from clipexp.track.provenance import git_state


@pytest.fixture
def checkout(workplace: Path) -> Path:
    (workplace / "code.py").write_bytes(b"x = 1\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], check=True)
    return workplace


def test_a_clean_checkout_has_a_commit_and_no_difference(checkout: Path) -> None:
    state = git_state()
    assert (len(state.commit), state.diff) == (40, "")


def test_a_change_is_in_the_diff_whatever_its_bytes(checkout: Path) -> None:
    (checkout / "code.py").write_bytes(b"x = '\xe9'\n")
    assert "+x = " in git_state().diff


def test_a_file_that_git_does_not_know_is_named_but_a_report_is_not(checkout: Path) -> None:
    (checkout / "new.py").write_text("")
    (checkout / "reports").mkdir()
    (checkout / "reports" / "report.md").write_text("")
    assert git_state().diff == "# not in git: new.py\n"


def test_outside_a_checkout_there_is_nothing_to_say(workplace: Path) -> None:
    assert (git_state().commit, git_state().diff) == ("", "")
