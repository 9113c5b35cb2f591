"""pyproject.toml, environment.yml, the locked versions and what `doctor` asks for agree."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from clipexp.doctor import MAX_PYTHON, MIN_PYTHON

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA: list[Any] = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
WITH_WHEELS = {"torch", "torchvision"}  # chosen by WHEELS, see requirements/cpu.txt


def specifier_by_package(lines: list[str]) -> dict[str, SpecifierSet]:
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


def pins(file: str) -> dict[str, Version]:
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    pairs = [re.split("==", line, maxsplit=1) for line in lines]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def conda_pip_section() -> list[str]:
    (section,) = [entry["pip"] for entry in CONDA if isinstance(entry, dict)]
    return list(section)


def test_conda_installs_the_packages_of_pyproject_with_the_same_versions() -> None:
    listed = [line for line in conda_pip_section() if not line.startswith("-e")]
    assert specifier_by_package(listed) == specifier_by_package(PROJECT["dependencies"])
    assert len(listed) == len(PROJECT["dependencies"])


def test_conda_installs_clipexp_itself() -> None:
    assert "-e ." in conda_pip_section()


def test_conda_takes_the_python_of_pyproject() -> None:
    (python,) = [entry for entry in CONDA if isinstance(entry, str) and entry.startswith("python ")]
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"])
    assert "pip" in CONDA


def test_the_first_line_of_environment_yml_says_how_to_use_it() -> None:
    first = (ROOT / "environment.yml").read_text().splitlines()[0]
    assert first == "# For conda users: conda env create -f environment.yml && conda activate clipexp"


@pytest.mark.parametrize("extra", ["dependencies", "dev"])
def test_locked_versions_satisfy_pyproject(extra: str) -> None:
    lines = PROJECT[extra] if extra == "dependencies" else PROJECT["optional-dependencies"][extra]
    locked = pins("requirements/locked.txt")
    wanted = {name: s for name, s in specifier_by_package(lines).items() if name not in WITH_WHEELS}
    assert sorted(wanted.keys() - locked.keys()) == []
    assert [name for name, specifier in wanted.items() if locked[name] not in specifier] == []


def test_the_cpu_wheels_satisfy_pyproject() -> None:
    wanted = specifier_by_package(PROJECT["dependencies"])
    wheels = pins("requirements/cpu.txt")
    assert wheels.keys() == WITH_WHEELS
    assert all(version in wanted[name] for name, version in wheels.items())


def test_doctor_asks_for_the_python_of_pyproject() -> None:
    wanted = SpecifierSet(PROJECT["requires-python"])
    minors = [minor for minor in range(30) if f"3.{minor}" in wanted]
    assert ((3, minors[0]), (3, minors[-1])) == (MIN_PYTHON, MAX_PYTHON)


def test_the_package_gives_the_version_of_pyproject() -> None:
    import clipexp

    assert clipexp.__version__ == PROJECT["version"]
