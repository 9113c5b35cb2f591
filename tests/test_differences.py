"""In what two runs differ, checked on curves and settings that a reader can check by hand."""

import math
from collections.abc import Mapping

import pytest

from clipexp.differences import (
    Along,
    Side,
    curve_differences,
    differences,
    finding_differences,
    is_incidental,
    results,
    setting_differences,
)
from clipexp.findings.finding import Finding, FindingEvidence
from clipexp.track.curves import Curves, Point, Series
from clipexp.track.records import RunRecord

PARAMS = {"seed": "0", "optim.max_lr": "0.001", "train.batch_size": "64", "train.device": "cpu"}


def series(value_by_place: Mapping[int, float]) -> Series:
    return Series.of(Point(place, place / 100, value, 0) for place, value in value_by_place.items())


def record(
    name: str = "a",
    params: Mapping[str, str] = PARAMS,
    tags: Mapping[str, str] | None = None,
    curves: Curves | None = None,
    status: str = "FINISHED",
) -> RunRecord:
    curves = curves or {}
    final = {metric: each.values[-1].item() for metric, each in curves.items()}
    return RunRecord(f"{name}1", name, "hash", status, 0, {}, params, tags or {}, curves, final, 0, 1.0)


def finding(rule: str, claim: str = "what it says") -> Finding:
    return Finding(rule, "note", claim, FindingEvidence("train/loss", (0, 1), 1.0, 0.5))


def test_two_runs_alike_differ_in_nothing() -> None:
    curves = {"val/loss": series({0: 6.9, 100: 3.0})}
    found = differences(Side(record("a", curves=curves)), Side(record("b", curves=curves)))
    assert (found.settings, found.environment, found.data, found.findings, found.missing) == ((), (), (), (), ())
    assert [result.difference for result in found.results] == [0.0]
    assert [each.difference for each in found.curves[0].along] == [0.0] * len(found.curves[0].along)
    assert found.curves[0].crossings == ()


def test_only_settings_that_differ_are_told_those_that_decide_first() -> None:
    other = {**PARAMS, "optim.max_lr": "1e-3", "train.batch_size": "128", "train.device": "cuda", "model.new": "7"}
    found = setting_differences(PARAMS, other)
    assert [(each.path, each.first, each.second, each.is_incidental) for each in found] == [
        ("model.new", None, "7", False),
        ("train.batch_size", "64", "128", False),
        ("train.device", "cpu", "cuda", True),
    ]


def test_a_setting_that_is_not_set_is_as_one_that_is_not_there() -> None:
    assert setting_differences({"data.path": "None"}, {}) == ()
    (found,) = setting_differences({"train.budget.epochs": "None"}, {"train.budget.epochs": "2"})
    assert (found.first, found.second) == (None, "2")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("name", True),
        ("train.log_every_samples", True),
        ("data.store", True),
        ("optim.max_lr", False),
        ("seed", False),
        ("no.such.setting", False),
    ],
)
def test_incidental_settings_are_those_that_stay_out_of_the_hash(path: str, expected: bool) -> None:
    assert is_incidental(path) is expected


def test_results_are_side_by_side_with_the_second_minus_the_first() -> None:
    first = {
        "val/loss": 3.0,
        "val/text_to_image_recall_at_10": 0.5,
        "val/text_to_image_recall_at_5": 0.25,
        "train/lr": 1.0,
    }
    found = results(first, {"val/loss": 2.5, "train/loss": 1.0})
    assert [(each.metric, each.first, each.second, each.difference) for each in found] == [
        ("val/loss", 3.0, 2.5, -0.5),
        ("train/loss", None, 1.0, None),
        ("val/text_to_image_recall_at_5", 0.25, None, None),
        ("val/text_to_image_recall_at_10", 0.5, None, None),
    ]


def test_curves_are_compared_at_shares_of_the_shorter_one() -> None:
    first = {"val/loss": series(dict.fromkeys(range(0, 401, 100), 6.0))}
    second = {"val/loss": series({place: 6.0 - place / 100 for place in range(0, 801, 100)})}
    (found,) = curve_differences(first, second)
    assert found.along == tuple(Along(n / 4, 100 * n, 6.0, 6.0 - n, -float(n)) for n in (1, 2, 3, 4))
    assert not found.is_interpolated


def test_curves_at_other_places_are_read_between_their_points() -> None:
    first, second = series({0: 0.0, 100: 10.0}), series({1: 0.0, 51: 5.0, 99: 9.0})
    (found,) = curve_differences({"val/loss": first}, {"val/loss": second})
    assert found.is_interpolated
    assert found.along[-1].samples_seen == 99
    assert found.along[-1].first == pytest.approx(9.9)


def test_a_crossing_is_told_where_the_curves_cross() -> None:
    first = {"val/loss": series({0: 4.0, 100: 4.0, 200: 4.0})}
    second = {"val/loss": series({0: 6.0, 100: 2.0, 200: 2.0})}
    (found,) = curve_differences(first, second)
    assert found.crossings == (50,)


def test_curves_that_touch_without_crossing_do_not_cross() -> None:
    first = {"val/loss": series({0: 4.0, 100: 4.0, 200: 4.0})}
    second = {"val/loss": series({0: 5.0, 100: 4.0, 200: 5.0})}
    assert curve_differences(first, second)[0].crossings == ()


def test_values_that_are_no_numbers_are_passed_over() -> None:
    first = {"val/loss": series({0: 4.0, 100: math.nan, 200: 2.0})}
    second = {"val/loss": series({0: 4.0, 100: 3.0, 200: math.inf})}
    (found,) = curve_differences(first, second)
    assert all(math.isfinite(each.difference) for each in found.along)
    assert curve_differences({"val/loss": series({0: math.nan})}, second) == ()


def test_curves_without_a_common_stretch_are_not_compared() -> None:
    first, second = {"val/loss": series({0: 4.0, 100: 3.0})}, {"val/loss": series({200: 2.0, 300: 1.0})}
    assert curve_differences(first, second) == ()


def test_findings_of_one_side_come_before_those_of_both() -> None:
    found = finding_differences([finding("shared"), finding("gone")], [finding("shared"), finding("new", "now so")])
    assert [(each.rule, each.first is not None, each.second is not None) for each in found] == [
        ("gone", True, False),
        ("new", False, True),
        ("shared", True, True),
    ]
    assert found[1].second == "now so"


def test_environment_data_and_code_are_told_apart() -> None:
    first = {
        "clipexp.device": "CPU, 1 thread",
        "clipexp.version.torch": "2.11",
        "clipexp.store_checksum": "aa",
        "clipexp.git_commit": "c1",
        "clipexp.git_dirty": "true",
    }
    second = {
        **first,
        "clipexp.device": "CPU, 2 threads",
        "clipexp.version.torch": "2.12",
        "clipexp.store_checksum": "bb",
    }
    sides = Side(record(tags=first), uncommitted="x"), Side(record(tags=second), uncommitted="y")
    found = differences(*sides)
    assert [(each.path, each.second) for each in found.environment] == [("device", "CPU, 2 threads"), ("torch", "2.12")]
    assert [(each.path, each.first, each.second) for each in found.data] == [("prepared set", "aa", "bb")]
    assert (found.code.first, found.code.first_is_dirty, found.code.same_changes) == ("c1", True, False)


def test_losses_over_blocks_of_other_sizes_are_not_subtracted() -> None:
    first = record("a", curves={"val/loss": series({0: 6.9})})
    second = record("b", curves={"val/loss_block_40": series({0: 3.6})})
    found = differences(Side(first), Side(second))
    assert all(result.difference is None for result in found.results)
    assert any("blocks of different sizes: val/loss and val/loss_block_40" in line for line in found.missing)


def test_what_is_missing_is_told() -> None:
    found = differences(Side(record("a")), Side(record("b", curves={"val/loss": series({0: 3.0})}, status="FAILED")))
    assert "a was never validated" in found.missing
    assert any(line.startswith("b is FAILED") for line in found.missing)


def test_json_has_null_for_what_is_no_number() -> None:
    curves = {"val/loss": series({0: 6.9, 100: math.nan})}
    found = differences(Side(record("a", curves=curves)), Side(record("b", curves=curves))).to_json()
    assert found["results"][0]["first"] is None
