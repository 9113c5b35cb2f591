"""Several launches of one spec: replicates, repeats, and a second one that waits or follows."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import clipexp
from clipexp import run_command, runner
from clipexp.data.manifest import data_checksum
from clipexp.errors import RunError
from clipexp.launch import LaunchOptions, first_finished
from clipexp.repeats import compare_bits, group_of, with_seed
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.spec.run import spec_hash
from clipexp.track.header import headers
from clipexp.track.lease import is_held
from tests.small import small_content


def test_a_repeat_has_the_same_bits_and_stands_beside_the_run(fresh: Path, short: ResolvedRun) -> None:
    with pytest.raises(RunError, match="--again repeats a finished run"):
        runner.start(short, options=LaunchOptions(again=True))
    first = clipexp.run(short)
    repeat = runner.start(short, options=LaunchOptions(again=True))
    list(repeat.events())
    assert repeat.run_id != first.run_id
    assert repeat.record().tags["clipexp.repeat_of"] == first.run_id
    comparison = compare_bits(repeat.header, first_finished(first.spec_hash, "mlruns"))
    assert comparison.is_same
    assert comparison.same_weights
    assert comparison.num_points > 10
    assert runner.start(short).run_id == first.run_id  # the plain command still means the first


def test_a_comparison_tells_what_differs(fresh: Path, short: ResolvedRun, small_store: Path) -> None:
    clipexp.run(short)
    clipexp.run(with_seed(short, 1))
    other, first = headers()
    comparison = compare_bits(other, first)
    assert not comparison.is_same
    assert comparison.same_weights is False
    assert ("val/num_pairs", 0) not in {place[:2] for place in comparison.differing}
    assert any("DIFFERENT bits" in line for line in comparison.lines())


def test_replicates_are_one_group_under_names_of_their_own(fresh: Path, short: ResolvedRun) -> None:
    for resolved in (short, with_seed(short, 1)):
        clipexp.run(resolved)
    newest, first = headers()
    assert newest.name == "small-seed-1"
    assert [header.run_id for header in group_of(first)] == [first.run_id, newest.run_id]
    assert newest.spec_hash != first.spec_hash


def test_replicate_runs_further_seeds_and_shows_their_spread(
    fresh: Path, small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = small_content(small_store, budget={"samples": 64})
    assert run_command.run_on_console(resolve(content), run_command.RunOptions(num_replicates=2)) == 0
    output = capsys.readouterr().out
    assert "3 seeds of one spec" in output
    assert "± " in output
    assert sorted(clipexp.runs()["name"]) == ["small", "small-seed-1", "small-seed-2"]
    capsys.readouterr()
    assert run_command.run_on_console(resolve(content), run_command.RunOptions(num_replicates=2)) == 0
    assert capsys.readouterr().out.count("is finished already") == 3


def test_from_the_command_line_again_compares_the_bits(
    fresh: Path, small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = resolve(small_content(small_store, budget={"samples": 64}))
    run_command.run_on_console(resolved, run_command.RunOptions())
    assert run_command.run_on_console(resolved, run_command.RunOptions(again=True)) == 0
    output = capsys.readouterr().out
    assert "weights   the same bits" in output
    assert "curves    the same bits in all" in output


def test_a_second_launch_can_wait_for_the_first(
    fresh: Path, short: ResolvedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = runner.start(short)
    looks = iter([True, True, False])

    def still_held(_: str) -> bool:
        is_held = next(looks)
        if not is_held:
            list(first.events())
        return is_held

    monkeypatch.setattr(run_command, "is_held", still_held)
    assert run_command.run_on_console(short, run_command.RunOptions(wait=True)) == 0
    output = capsys.readouterr().out
    assert f"waits for small (run {first.run_id[:8]}), by process {os.getpid()}" in output
    assert "this spec is finished already" in output


def test_a_second_launch_can_follow_the_first_ones_output(
    fresh: Path, small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = small_content(small_store, budget={"samples": 1_000_000})
    (fresh / "long.yaml").write_text(yaml.safe_dump(content))
    resolved = resolve(content)
    attach = run_command.RunOptions(attach=True)
    with pytest.raises(RunError, match="nobody is running spec"):
        run_command.run_on_console(resolved, attach)
    words = [sys.executable, "-c", "from clipexp.cli import entry; entry()", "run", "long.yaml", "--stop-after", "3s"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as child:
        identity = spec_hash(resolved.spec, data_checksum(resolved.spec.data, resolved.spec.model.context_length))
        while not is_held(identity):
            time.sleep(0.05)
        assert run_command.run_on_console(resolved, attach) == 0
    assert child.returncode == run_command.EXIT_STOPPED
    output = capsys.readouterr().out
    assert f"by process {child.pid} on" in output
    assert "ended: budget" in output


def test_beginning_a_finished_run_anew_is_refused(fresh: Path, small_store: Path) -> None:
    resolved = resolve(small_content(small_store, budget={"samples": 64}))
    clipexp.run(resolved)
    with pytest.raises(RunError, match="is finished; --from-start is for unfinished ones"):
        run_command.run_on_console(resolved, run_command.RunOptions(from_start=True))
