"""Commands that need no torch start without its seconds. The ceiling is a few times what they take."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CEILING_S = 1.0
TRIES = 5


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["--help"], 0),
        (["check", "experiments/run1.yaml"], 0),
        (["check", "experiments/run1.yaml", "--set", "optim.max_lrr=1"], 2),
    ],
    ids=["--help", "check", "check of a bad spec"],
)
def test_a_light_command_answers_within_a_second(arguments: list[str], exit_code: int) -> None:
    program = "from clipexp.cli import entry; entry()"
    best_s = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        child = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        best_s = min(best_s, time.perf_counter() - start)
        assert child.returncode == exit_code, child.stderr
        if best_s < CEILING_S:
            return
    pytest.fail(f"{best_s:.2f} s at best of {TRIES}, ceiling {CEILING_S} s")
