"""Leases: one holder at a time, told by name, and found out when it died."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clipexp.errors import RunError
from clipexp.track import lease
from clipexp.track.home import home
from clipexp.track.lease import HeldError, forget, held_runs, holder, is_held, stale, take

SPEC = "0123456789ab"
HOLD = """
import sys, time
from clipexp.track.lease import take
lease = take("0123456789ab", "other", "mlruns")
lease.name_run("f" * 32)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _place(workplace: Path) -> None:
    home().make()


def hold_elsewhere() -> "subprocess.Popen[str]":
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_process_is_told_who_holds_the_spec_since_when() -> None:
    with hold_elsewhere() as child:
        with pytest.raises(
            HeldError, match=rf"as other \(run ffffffff\), by process {child.pid} on {lease.machine()} since 20"
        ):
            take(SPEC, "mine", "mlruns")
        assert is_held(SPEC)
        assert held_runs() == {"f" * 32}
        child.kill()


def test_the_lease_of_a_killed_process_is_stale_and_that_of_a_living_one_is_not() -> None:
    with hold_elsewhere() as child:
        assert list(stale()) == []
        child.kill()
        child.wait()
        assert not is_held(SPEC)
        for found in stale():
            assert (found.pid, found.run_id) == (child.pid, "f" * 32)
            forget(found)
    assert holder(SPEC) is None
    assert list(stale()) == []


def test_what_was_not_settled_stays_for_the_next_command_and_can_not_be_overwritten() -> None:
    take(SPEC, "mine", "mlruns").leave_behind()
    assert len(list(stale())) == 1  # looked at, but not forgotten
    with pytest.raises(RunError, match="could not be settled"):
        take(SPEC, "again", "mlruns")
    assert holder(SPEC) is not None


def test_a_released_spec_can_be_taken_again() -> None:
    with take(SPEC, "mine", "mlruns") as first:
        assert is_held(SPEC)
    with take(SPEC, "mine", "mlruns") as second:
        assert first.holder.launch != second.holder.launch


def test_another_machines_lease_holds_while_it_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lease, "machine", lambda: "elsewhere")
        take(SPEC, "theirs", "mlruns").leave_behind()  # no lock of theirs reaches us
    assert is_held(SPEC)
    with pytest.raises(HeldError, match="on elsewhere"):
        take(SPEC, "mine", "mlruns")
    old_s = time.time() - lease.STALE_AFTER_S - 1
    os.utime(home().leases / f"{SPEC}.json", (old_s, old_s))
    assert [found.machine for found in stale()] == ["elsewhere"]


def test_a_lease_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.01)
    with take(SPEC, "mine", "mlruns"):
        path = home().leases / f"{SPEC}.json"
        os.utime(path, (0, 0))
        give_up_s = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < give_up_s:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_a_kill_while_a_lease_is_removed_leaves_one_that_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    held = take(SPEC, "mine", "mlruns")
    removed: list[str] = []
    real = Path.unlink

    def die_after_one(path: Path, missing_ok: bool = False) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(path.name)
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die_after_one)
        with pytest.raises(KeyboardInterrupt):
            held.release()
    held.leave_behind()
    assert [found.name for found in stale()] == ["mine"]
