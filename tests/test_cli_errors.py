"""What a person sees who makes a mistake at the command line."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from clipexp.cli import _Commands, main

GOOD = """\
name: good
data:
  source: {kind: scenes-v1}
  store: data/scenes
  image_size_px: 48
  tokenizer: {kind: trained}
model: {preset: tiny}
optim: {max_lr: 1e-3}
train: {batch_size: 128, budget: {samples: 1_000}}
"""
BAD = "extends: good.yaml\noptim:\n  max_lrr: 1e-3\ntrain:\n  batch_size: 1\n"


@pytest.fixture
def specs(workplace: Path) -> Path:
    (workplace / "good.yaml").write_text(GOOD)
    (workplace / "bad.yaml").write_text(BAD)
    return workplace


def clipexp(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("command", [["check"], ["run"], ["data", "prepare"]], ids=" ".join)
def test_a_bad_spec_is_told_whole_on_stderr_and_leaves_nothing_behind(specs: Path, command: list[str]) -> None:
    result = clipexp(*command, "bad.yaml", "--set", "seed=x")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sorted(result.stderr.splitlines()) == [
        "error: --set seed=x: seed must be a valid integer, but is 'x'",
        "error: bad.yaml:3: optim.max_lrr is unknown; did you mean max_lr?",
        "error: bad.yaml:5: train.batch_size must be greater than or equal to 2, but is 1",
    ]
    assert {path.name for path in specs.rglob("*")} == {"good.yaml", "bad.yaml"}


def test_a_bad_spec_stops_a_run_before_torch_is_loaded(specs: Path) -> None:
    program = (
        "import sys\n"
        "from clipexp.cli import main\n"
        "try:\n"
        "    main(['run', 'bad.yaml'])\n"
        "finally:\n"
        "    print({'torch', 'mlflow'} & set(sys.modules))"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.strip()) == (2, "set()")
    assert "Traceback" not in child.stderr


@pytest.mark.parametrize("path", ["gone.yaml", ".", "broken.yaml", "picture.png"])
def test_a_file_that_is_no_spec_is_told_without_a_traceback(specs: Path, path: str) -> None:
    (specs / "broken.yaml").write_text("name: [x\n")
    (specs / "picture.png").write_bytes(b"\x89PNG\xff\x00")
    result = clipexp("check", path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {path}")
    assert isinstance(result.exception, SystemExit)


def test_a_run_without_a_prepared_set_says_how_to_prepare_it(specs: Path) -> None:
    result = clipexp("run", "good.yaml")
    assert result.exit_code == 2
    assert "clipexp data prepare" in result.stderr
    assert {path.name for path in specs.rglob("*")} == {"good.yaml", "bad.yaml"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chekc", "good.yaml"], "chekc"),
        (["check"], "SPEC"),
        (["check", "good.yaml", "--sett", "a=1"], "--set"),
        (["run", "good.yaml", "--device", "tpu"], "cuda"),
        (["report"], "name at least one run"),
        (["report", "--redraw"], "--name NAME"),
        (["note", "abc", " "], "the note is empty"),
    ],
)
def test_a_wrong_use_of_a_command_exits_with_2_and_names_the_way(specs: Path, arguments: list[str], words: str) -> None:
    result = clipexp(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert {path.name for path in specs.rglob("*")} == {"good.yaml", "bad.yaml"}


def test_a_bug_keeps_its_traceback() -> None:
    @click.group(cls=_Commands)
    def group() -> None:
        """Commands like ours, one of them with a bug."""

    @group.command()
    def divide() -> None:
        1 / 0  # noqa: B018

    assert isinstance(CliRunner().invoke(group, ["divide"]).exception, ZeroDivisionError)


def test_a_reader_that_leaves_early_is_no_error(specs: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    program = "from clipexp.cli import entry; entry()"
    child = subprocess.run(
        [sys.executable, "-c", program, "check", "good.yaml"], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert child.stderr == b""


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands_in_the_order_one_needs_them(flag: str) -> None:
    output = clipexp(flag).output
    places = [output.index(f"\n  {command} ") for command in ("check", "data", "run", "runs", "report", "doctor")]
    assert places == sorted(places)
