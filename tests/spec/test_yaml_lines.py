"""YAML with lines, and numbers as people write them."""

from typing import Any

import pytest
import yaml

from clipexp.errors import Problem, SpecError
from clipexp.spec.yaml_lines import parse_text, scalar


def problems_of(text: str) -> list[str]:
    found: list[Problem] = []
    try:
        parse_text(text, "run.yaml", found)
    except SpecError as error:
        found += error.problems
    return [str(problem) for problem in found]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-3", 0.001),
        ("1E-3", 0.001),
        ("1.5e-3", 0.0015),
        ("-1e+2", -100.0),
        ("2e5", 200_000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("0.25", 0.25),
        ("1_000.5", 1000.5),
    ],
)
def test_a_decimal_is_a_float(text: str, number: float) -> None:
    value = parse_text(f"lr: {text}", "run.yaml", []).value["lr"].value
    assert (type(value), value) == (float, number)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-3", -3), ("128", 128), ("1_000", 1000), ("96_000", 96_000)])
def test_a_whole_number_stays_an_int(text: str, number: int) -> None:
    value = parse_text(f"n: {text}", "run.yaml", []).value["n"].value
    assert (type(value), value) == (int, number)


@pytest.mark.parametrize("text", ["1.2.3", "v1", "1e", "e5", "1e5x", "scenes-v1", "2026-01-31", ".", "_", "1-3"])
def test_a_version_a_date_or_a_word_stays_a_string(text: str) -> None:
    assert parse_text(f"x: {text}", "run.yaml", []).value["x"].value == text


@pytest.mark.parametrize("text", ["~", "null", "", "Null"])
def test_nothing_is_none(text: str) -> None:
    assert parse_text(f"x: {text}", "run.yaml", []).value["x"].value is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("64", 64),
        ("true", True),
        ("null", None),
        ("", None),
        ("adamw", "adamw"),
        ("'64'", "64"),
        ("[1, 2]", [1, 2]),
        ("{samples: 5}", {"samples": 5}),
        ("[unclosed", "[unclosed"),
    ],
)
def test_a_value_on_the_command_line_reads_as_in_a_file(text: str, value: Any) -> None:
    found = scalar(text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader, yaml.FullLoader])
def test_other_users_of_pyyaml_read_as_before(loader: Any) -> None:
    text = "[1e-3, .5, 2026-01-31]"
    before_day = yaml.load("2026-01-31", yaml.SafeLoader)
    assert yaml.load(text, loader) == ["1e-3", 0.5, before_day]
    assert not isinstance(before_day, str)


def test_every_value_and_key_has_its_line() -> None:
    top = parse_text("# a comment\nname: x\noptim:\n  kind: adamw\n  max_lr:\n    1e-3\n", "run.yaml", [])
    optim = top.value["optim"]
    assert str(top.value["name"].origin) == "run.yaml:2"
    assert (str(optim.key_origin), str(optim.origin)) == ("run.yaml:3", "run.yaml:4")
    assert (str(optim.value["max_lr"].key_origin), str(optim.value["max_lr"].origin)) == ("run.yaml:5", "run.yaml:6")


def test_a_key_is_its_own_text_even_where_yaml_sees_a_truth_value_or_a_number() -> None:
    assert set(parse_text("on: a\n1: b\n~: c\n", "run.yaml", []).value) == {"on", "1", "~"}


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert parse_text("# nothing yet\n", "run.yaml", []).value == {}


def test_a_key_said_twice_is_reported_with_both_lines_at_any_depth() -> None:
    text = "name: a\nname: b\noptim:\n  max_lr: 1\n  eps: 1\n  max_lr: 2\n"
    assert problems_of(text) == [
        "run.yaml:2: name stands here again, after run.yaml:1",
        "run.yaml:6: max_lr stands here again, after run.yaml:4",
    ]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("name: x\nhypothesis: lr: faster\n", "run.yaml:2", "in quotes"),
        ("name: x\nsizes: [1\nseed: 4\n", "run.yaml:3", "from line 2 on"),
        ("name: 'x\n", "run.yaml:2", "from line 1 on"),
        ("name: x\n\tseed: 4\n", "run.yaml:2", "tab"),
        ("name: @x\n", "run.yaml:1", "in quotes"),
        ("name: !python x\n", "run.yaml:1", "tag"),
        ("name: *gone\n", "run.yaml:1", "alias"),
        ("name: x\n---\nname: y\n", "run.yaml:2", "document"),
    ],
)
def test_broken_yaml_is_told_with_its_line_and_a_remedy(text: str, where: str, words: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(f"{where}: is no valid YAML: ")
    assert words in problem


def test_a_control_character_is_told_with_its_line() -> None:
    assert problems_of("name: x\nhypothesis: y\x07\n") == [r"run.yaml:2: holds a control character, '\x07'; remove it"]


def test_a_merge_key_is_refused_with_what_to_use_instead() -> None:
    (problem,) = problems_of("a: &a\n  b: 1\nc:\n  <<: *a\n")
    assert problem == "run.yaml:4: << is not known here; put what is shared in a file, and extend it"


def test_an_alias_inside_its_own_anchor_is_an_error_and_no_endless_loop() -> None:
    (problem,) = problems_of("a: &a\n  b: *a\n")
    assert problem.startswith("run.yaml: is nested without end")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "5\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    assert problems_of(text) == ["run.yaml:1: a spec is a mapping of keys to values, such as `name: first`"]
