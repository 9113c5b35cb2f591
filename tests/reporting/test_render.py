"""Render: what a report says of a run, from evidence made up here."""

import dataclasses
import io

import pytest
from PIL import Image

from clipexp.events import Example
from clipexp.plots.artifacts import KeptExamples
from clipexp.reporting.evidence import Evidence, RunEvidence
from clipexp.reporting.render import render
from clipexp.track.curves import Point
from tests.reporting.test_tables import RECORD


def sheet() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8 * 4, 4)).save(out, format="PNG")
    return out.getvalue()


def text_of(run: RunEvidence) -> str:
    return render(Evidence("x", (run,)))["report.md"].decode()


def point(value: float) -> Point:
    return Point(100, 0.5, value, 0)


@pytest.mark.parametrize(
    ("num_first", "words"),
    [
        (0, "0 of 3 find their own picture first; a green frame marks it."),
        (1, "1 of 3 finds its own picture first; a green frame marks it."),
        (3, "3 of 3 find their own picture first; a green frame marks it."),
    ],
)
def test_the_report_counts_the_captions_that_find_their_own_picture(num_first: int, words: str) -> None:
    examples = tuple(Example("a", 0, (0, 1) if n < num_first else (1, 0), (1.0, 0.5)) for n in range(3))
    kept = KeptExamples(examples, (0, 1), "Drawn by A", sheet())
    text = text_of(RunEvidence(RECORD, "", kept))
    assert words in text
    assert "<sub>Drawn by A</sub>" in text


def test_a_replicate_takes_the_next_seed() -> None:
    record = dataclasses.replace(RECORD, seed=4)
    assert "`clipexp run reports/x/data/01234567/spec.yaml --set seed=5`" in text_of(RunEvidence(record, "", None))


def test_the_result_line_has_the_median_training_rate() -> None:
    curves = {"val/loss": (point(1.0),), "system/samples_per_s": (point(900), point(960), point(5000))}
    record = dataclasses.replace(RECORD, curves=curves, duration_s=100.0)
    assert "It took 100 s, at 960 samples/s." in text_of(RunEvidence(record, "", None))


def test_a_run_that_lacks_some_recall_metrics_is_reported() -> None:
    final = {"val/num_pairs": 40.0, "val/text_to_image_recall_at_1": 0.5}
    text = text_of(RunEvidence(dataclasses.replace(RECORD, final=final), "", None))
    assert "| text to image | 50.0% | – | – | – |" in text
    bare = text_of(RunEvidence(dataclasses.replace(RECORD, final={"val/num_pairs": 40.0}), "", None))
    assert "median rank" not in bare
