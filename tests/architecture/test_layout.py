"""How the code lies in its files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
MAX_FUNCTION_LINES = 60
NAMES_THAT_SAY_NOTHING = {"utils.py", "helpers.py", "common.py"}
FILES = sorted(path for folder in ("clipexp", "tests") for path in (ROOT / folder).rglob("*.py"))
MODULES = [path for path in FILES if path.is_relative_to(ROOT / "clipexp")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_search_finds_the_package_and_its_tests() -> None:
    assert {"clipexp/cli.py", "clipexp/spec/load.py", "tests/architecture/test_layout.py"} <= {*map(name_of, FILES)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_has_400_lines_at_most(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_no_file_is_named_for_nothing() -> None:
    assert [name_of(path) for path in FILES if path.name in NAMES_THAT_SAY_NOTHING] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_fits_a_screen(path: Path) -> None:
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    too_long = [f.name for f in functions if f.end_lineno and f.end_lineno - f.lineno + 1 > MAX_FUNCTION_LINES]
    assert too_long == []


def test_files_of_tests_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
