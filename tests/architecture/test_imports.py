"""What may import what, and what loads when."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "mlflow", "pandas", "optuna", "pyarrow", "numpy", "matplotlib", "plotly", "rich")


def heavy_modules_after(program: str) -> list[str]:
    """Which of HEAVY a fresh interpreter holds once it has run a program."""
    tell = f"import sys; print('LOADED', *(name for name in {HEAVY} if name in sys.modules))"
    child = subprocess.run(
        [sys.executable, "-c", f"{program}\n{tell}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return child.stdout.splitlines()[-1].split()[1:]


def test_the_look_into_a_process_finds_what_it_loads() -> None:
    assert heavy_modules_after("import numpy") == ["numpy"]


@pytest.mark.parametrize(
    "program",
    [
        "import clipexp",
        "import clipexp; clipexp.load_spec('experiments/quickstart.yaml')",
        "from clipexp.cli import main; main(['--help'], standalone_mode=False)",
        "from clipexp.cli import main; main(['run', '--help'], standalone_mode=False)",
        "from clipexp.cli import main; main(['check', 'experiments/run1.yaml'], standalone_mode=False)",
        "from clipexp.cli import main; main(['check', 'experiments/run1.yaml', '--json'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(program: str) -> None:
    assert heavy_modules_after(program) == []


def test_layers_import_downward_only() -> None:
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))"
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout
    assert "0 broken" in child.stdout


def test_every_public_name_can_be_had() -> None:
    import clipexp

    assert all(callable(getattr(clipexp, name)) for name in clipexp.__all__)
    assert set(clipexp.__all__) <= set(dir(clipexp))


def test_an_unknown_public_name_is_told_with_the_known_ones() -> None:
    import clipexp

    with pytest.raises(AttributeError, match=r"no attribute 'rum'; it has load_spec, report, run, runs"):
        clipexp.rum  # noqa: B018
