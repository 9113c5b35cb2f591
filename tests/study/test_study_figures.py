"""A study's figures: the same bytes for the same evidence, and drawn for few, many and odd trials."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from clipexp.study.drawing import Scale, show, window
from clipexp.study.evidence import StudyEvidence
from clipexp.study.figures import FIGURES, history_figure, importances_figure
from tests.study.toy import BATCH, DECAY, LR, WARMUP, evidence_of, row, toy_evidence, toy_spec

ALWAYS = set(FIGURES) - {"importances"}


def drawn(evidence: StudyEvidence) -> set[str]:
    """The figures that there are, each of them well-formed."""
    svgs = {name: figure.draw(evidence) for name, figure in FIGURES.items()}
    for svg in svgs.values():
        if svg is not None:
            ET.fromstring(svg)
    return {name for name, svg in svgs.items() if svg is not None}


@pytest.mark.parametrize(
    ("num_trials", "has_choice", "names"),
    [(3, False, ALWAYS), (16, True, set(FIGURES)), (60, False, set(FIGURES))],
)
def test_each_figure_is_drawn_where_there_are_trials_enough(num_trials: int, has_choice: bool, names: set[str]) -> None:
    assert drawn(toy_evidence(num_trials, has_choice=has_choice)) == names


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_evidence_gives_the_same_bytes(name: str) -> None:
    evidence = toy_evidence(16)
    assert FIGURES[name].draw(evidence) == FIGURES[name].draw(evidence)


def test_another_value_gives_another_figure() -> None:
    assert history_figure(toy_evidence(16)) != history_figure(toy_evidence(3))


def test_without_a_finished_trial_only_curves_are_drawn() -> None:
    stopped = row(0, None, {LR: 1e-3, WARMUP: 0.1, BATCH: 64}, curve=((100, 3.0), (200, 2.5)))
    assert drawn(evidence_of([stopped])) == {"curves"}
    assert drawn(evidence_of([])) == set()


@pytest.mark.parametrize(
    "rows",
    [
        [row(0, 1.0, {LR: 1e-3, WARMUP: 0.1, BATCH: 64})],
        [row(n, 1.0, {LR: 1e-3, WARMUP: 0.1, BATCH: 64}) for n in range(20)],
        [row(n, 1.0 + n, {LR: 1e-4 * (n + 1), WARMUP: 0.1, BATCH: 64}) for n in range(20)],
        [row(0, 1.0, {LR: 1e-2, WARMUP: 0.5, BATCH: 4096}, baseline="far"), row(1, 2.0, {LR: 1e-3})],
        [row(0, 1.0, {LR: 1e-3, WARMUP: 0.1, BATCH: 64}, curve=((1, 2.0), (2, float("nan")), (3, 1.0)))],
    ],
    ids=["one", "all the same", "on one line", "beyond the ranges and incomplete", "a point that is no number"],
)
def test_odd_trials_are_drawn(rows: list[Any]) -> None:
    assert {"history", "slices", "curves"} - drawn(evidence_of(rows)) <= {"curves"}


def test_the_history_names_the_best_and_marks_what_was_stopped() -> None:
    svg = history_figure(toy_evidence(16))
    assert svg is not None
    for words in ("best, trial 10", "baseline", "pruned", "infeasible", "val/loss (nats)"):
        assert f"<!-- {words} -->" in svg or f"<!-- {words}, off the axis -->" in svg, words


def test_importances_say_what_they_rest_on() -> None:
    svg = importances_figure(toy_evidence(60))
    assert svg is not None
    assert "importance (fANOVA, 44 finished trials)" in svg


def test_a_trial_far_worse_than_the_rest_does_not_stretch_the_axis_but_a_baseline_does() -> None:
    rows = [row(n, 1 + 0.1 * n, {LR: 1e-3}) for n in range(10)]
    far = row(10, 50.0, {LR: 1e-3})
    base = row(11, 20.0, {LR: 1e-3}, baseline="base")
    for extra, top in (([], 1.9), ([far], 5.2), ([far, base], 20.0)):
        evidence = evidence_of([*rows, *extra])
        shown = window(evidence, [trial.value for trial in evidence.trials])
        assert shown is not None
        assert (shown.low, shown.high) == pytest.approx((1.0, top), rel=0.2)


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        (LR, ["1e-4", "2e-4", "5e-4", "1e-3", "2e-3"]),
        (WARMUP, ["0", "0.04", "0.08", "0.12", "0.16", "0.2"]),
        (BATCH, ["64", "128", "256", "512", "1,024"]),
    ],
)
def test_ticks_are_round_numbers_in_the_settings_own_scale(path: str, labels: list[str]) -> None:
    assert [label for _, label in Scale(toy_spec().search[path], path, ()).ticks()] == labels


def test_long_names_of_choices_are_cut() -> None:
    search = {DECAY: {"kind": "choice", "values": ["cosine", "a name that is far too long"]}}
    scale = Scale(toy_spec(search).search[DECAY], DECAY, ())
    assert scale.ticks() == [(0.0, "cosine"), (1.0, "a name that i…")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "1e-3"), (0.0, "0"), (4096, "4,096"), (0.0512, "0.0512"), (True, "true"), (None, "null"), ("x", "x")],
)
def test_values_are_written_as_people_do(value: Any, text: str) -> None:
    assert show(value) == text
