"""Sources: a proof's line is read back as it was written; numbers are found where a reader sees them."""

import pytest

from clipexp.reporting.analysis import Analysis
from clipexp.reporting.evaluation import UnknownSourceError, evaluate
from clipexp.reporting.sources import Found, Proof, Source, numbers_in, show
from tests.reporting.made import TOTAL, made_evidence, made_run, series


def test_a_proof_is_a_line_that_people_can_read() -> None:
    proof = Proof.of(Source("last", ("val/loss", "run 1a2b3c4d")), Found(0.9741, "24,576"), ".3f")
    assert proof.line() == "0.974 = last(val/loss, run 1a2b3c4d) at 24,576 [.3f]"
    assert Proof.parse(proof.line()) == proof


@pytest.mark.parametrize(
    "arg", ["a, b", 'say "x"', "f(x) [y]", "--> end", "x = y", "", "a\nb", "ä–ö", "trailing ", "\\", "run 1a2b"]
)
def test_any_argument_and_text_is_read_back(arg: str) -> None:
    proof = Proof.of(Source("tag", (arg, "run 1a2b3c4d")), Found(arg), "text")
    line = proof.line()
    assert Proof.parse(line) == proof
    assert "-->" not in line
    assert "\n" not in line


@pytest.mark.parametrize("line", ["", "0.5", "0.5 = last", "0.5 = last(a", 'x = tag("a) [text]', "x = Tag(a) [text]"])
def test_what_is_no_proof_is_not_taken_for_one(line: str) -> None:
    assert Proof.parse(line) is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("loss 0.974 of 1,024 (98.2%)", ["0.974", "1,024", "98.2%"]),
        ("recall@10 in fp32 over val/loss_block_40", []),
        ("from -1.5e-3 to +2", ["-1.5e-3", "+2"]),
        ("`run a1 --set x=3` and `no digit`", ["`run a1 --set x=3`"]),
        ("![8 captions](figures/12.png) and [a](b7)", ["8"]),
        ("<sub>CC 4.0</sub> &#124; x", ["4.0"]),
        ("on 2026-01-02", ["2026", "01", "02"]),
        ("1. first\n2. second 5", ["5"]),
    ],
)
def test_numbers_are_found_where_a_reader_sees_them(text: str, numbers: list[str]) -> None:
    assert [token for _, token in numbers_in(text)] == numbers


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (0.0003, "sci", "3e-4"),
        (0.05, "percent", "5%"),
        (12_345.6, "short", "12,346"),
        (0.00123, "short", "1.23e-3"),
        (0.123456, "short", "0.123"),
        (float("nan"), ".3f", "NaN"),
        (float("inf"), ",d", "infinite"),
        (None, ".3f", "–"),
        ("a`b", "code", "`a'b`"),
        ("<b>", "text", "&#60;b&#62;"),
        (1023.6, ",d", "1,024"),
    ],
)
def test_a_value_is_shown_in_its_form(value: float | str | None, form: str, shown: str) -> None:
    assert show(value, form) == shown


@pytest.mark.parametrize("form", ["__class__", ".3f!r", "1000000d", "{}", ">9999999999d"])
def test_a_form_that_is_none_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match="no form"):
        show(1.5, form)


def analysis() -> Analysis:
    curves = {"val/loss": series([0, 100, 200, TOTAL], [3.0, float("nan"), 1.0, 2.0])}
    return Analysis(made_evidence([made_run("a", curves=curves)]))


@pytest.mark.parametrize(
    ("way", "value", "place"),
    [
        (("last", "val/loss"), 2.0, "32,000"),
        (("first", "val/loss"), 3.0, "0"),
        (("lowest", "val/loss"), 1.0, "200"),
        (("highest", "val/loss"), 3.0, "0"),
        (("median", "val/loss"), 2.0, "0 to 32,000"),
        (("samples", "lowest", "val/loss"), 200, "200"),
        (("epoch", "lowest", "val/loss"), 0.05, "200"),
        (("last", "val/other"), None, ""),
        (("param", "train.batch_size"), 64.0, ""),
        (("field", "seed"), 0, ""),
    ],
)
def test_each_way_is_computed_from_the_data(way: tuple[str, ...], value: float | None, place: str) -> None:
    found = analysis()
    key = found.evidence.runs[0].key
    assert evaluate(found, Source(way[0], (*way[1:], f"run {key}"))) == Found(value, place)


@pytest.mark.parametrize(
    "source",
    [
        Source("last", ("val/loss", "run ffffffff")),
        Source("eval", ("1 + 1",)),
        Source("field", ("__class__", "run KEY")),
        Source("note", ("0", "text", "run KEY")),
        Source("finding", ("no_rule", "claim", "run KEY")),
        Source("runs", ("gone",)),
        Source("difference", ("val/loss", "0", "mean")),
        Source("examples", ("count", "run KEY")),
    ],
)
def test_a_source_that_names_nothing_is_refused(source: Source) -> None:
    found = analysis()
    key = found.evidence.runs[0].key
    args = tuple(arg.replace("KEY", key) for arg in source.args)
    with pytest.raises(UnknownSourceError, match="names nothing in the data"):
        evaluate(found, Source(source.way, args))
