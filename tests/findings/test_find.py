"""All rules together: what they are given may be short, broken, doubled or missing; their words and settings hold."""

import dataclasses
import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from clipexp.findings import RULES, facts_of, find
from clipexp.findings.finding import SEVERITIES, RunFacts
from clipexp.spec.load import load_spec
from clipexp.track.curves import Point, Series
from clipexp.track.records import RunRecord
from tests.findings.plain_runs import AT, NUM_POINTS, fallen, line, noise, plain_run, told, with_values

IDS = {
    "vanished_gradients",
    "exploding_gradients",
    "room_for_higher_lr",
    "lr_too_high",
    "lr_too_low",
    "warmup_too_short",
    "warmup_too_long",
    "loss_periodicity",
    "still_converging",
    "saturated_early",
    "overfitting",
    "noisy_end",
    "loss_spikes",
    "non_finite",
    "logit_scale_clamped",
    "logit_scale_falling",
    "embedding_collapse",
    "stuck_at_chance",
    "data_starvation",
    "throughput_falling",
    "memory_near_limit",
    "small_evaluation",
}

RECORD = RunRecord("0" * 32, "a", "", "FINISHED", 0, {}, {}, {}, {}, {}, started_ms=0, duration_s=None)


def test_there_are_22_rules_each_with_a_threshold_and_its_reason() -> None:
    assert set(RULES) == IDS
    for rule in RULES.values():
        assert rule.severity in SEVERITIES
        assert rule.thresholds
        assert all(len(text) > 10 for each in rule.thresholds for text in (each.what, each.reason))
        assert len(rule.remedy) > 20


def test_problems_come_first() -> None:
    curves, facts = plain_run(warmup_frac=0.9)
    curves["train/loss"] = with_values(curves["train/loss"], [50], np.nan)
    curves["system/memory_frac"] = line(np.full(NUM_POINTS, 0.99))
    severities = [finding.severity for finding in find(curves, facts)]
    assert severities == ["problem", "caution", "note"]


def test_a_run_without_curves_has_no_findings() -> None:
    assert find({}, RunFacts()) == ()
    assert find({"train/loss": line([])}, RunFacts()) == ()


@pytest.mark.parametrize("num", [1, 2, 3])
def test_few_points_raise_nothing_and_say_nothing(num: int) -> None:
    curves, facts = plain_run()
    short = {name: series[:num] for name, series in curves.items()}
    assert find(short, facts) == ()


@pytest.mark.parametrize("missing", sorted(plain_run()[0]))
def test_a_missing_metric_adds_no_finding(missing: str) -> None:
    curves, facts = plain_run()
    del curves[missing]
    assert find(curves, facts) == ()


@pytest.mark.parametrize("fact", [field.name for field in dataclasses.fields(RunFacts)])
def test_a_fact_that_is_not_known_adds_no_finding(fact: str) -> None:
    curves, facts = plain_run()
    nothing = {field.name: field.default for field in dataclasses.fields(RunFacts)}[fact]
    assert find(curves, dataclasses.replace(facts, **{fact: nothing})) == ()


def test_a_resumed_run_that_logged_a_stretch_twice_is_read_once() -> None:
    curves, facts = plain_run()
    loss = curves["train/loss"]
    twice = Series(*(np.concatenate([column[:60], column[40:]]) for column in _columns(loss)))
    assert find(curves | {"train/loss": twice}, facts) == ()
    points = [*loss[:60], *loss[40:]]
    assert Series.of(points) == loss
    assert told(curves | {"train/loss": twice}, facts) == told(curves, facts)


def _columns(series: Series) -> tuple[np.ndarray, ...]:
    return series.samples_seen, series.epoch, series.values, series.time_ms


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_no_numbers_are_left_out_but_told(bad: float) -> None:
    curves, facts = plain_run()
    broken = {
        name: with_values(series, range(0, len(series), 7), bad)
        for name, series in curves.items()
        if "chance" not in name
    }
    found = told(curves | broken, facts)
    assert set(found) <= {"non_finite", "memory_near_limit"}
    assert "non_finite" in found


def test_nothing_but_numbers_that_are_none_raises_nothing() -> None:
    curves, facts = plain_run()
    nothing = {name: with_values(series, range(len(series)), np.nan) for name, series in curves.items()}
    assert set(told(nothing, facts)) == {"non_finite"}


def test_the_same_run_has_the_same_findings() -> None:
    curves, facts = plain_run(shuffle=None, warmup_frac=0.9)
    curves["train/loss"] = line(3 * fallen(AT) + 0.3 * noise(NUM_POINTS, 9))
    assert find(curves, facts) == find(curves, facts)


def test_every_setting_is_one_that_a_spec_takes() -> None:
    """Of runs with all kinds of trouble; `load_spec` refuses keys and values that it does not know."""
    settings: set[str] = set()
    for change in _troubles():
        curves, facts = plain_run(warmup_frac=0.0, shuffle="none")
        settings |= {each for finding in find(curves | change, facts) for each in finding.settings}
    assert len(settings) >= 5
    for each in sorted(settings):
        load_spec("experiments/quickstart.yaml", [each])


def _troubles() -> list[dict[str, Series]]:
    norm = np.full(NUM_POINTS, 10.0)
    norm[2:] = 1e-4
    return [
        {"train/grad_norm": line(norm), "train/loss": line(np.full(NUM_POINTS, 4.1))},
        {"val/loss": line(6.9 * (1 - 0.6 * AT))},
        {"val/loss": line(3 + 4 * np.square(AT - 0.5)), "train/loss": line(4 - 3 * AT)},
        {"system/memory_frac": line(np.full(NUM_POINTS, 0.99)), "train/lr": line(1e-6 * AT + 1e-9)},
        {"val/num_pairs": line(np.full(3, 64.0)), "val/loss": line(3 + 0.5 * noise(30))},
    ]


def test_findings_go_into_json_and_back() -> None:
    curves, facts = plain_run()
    found = find(curves | _troubles()[0], facts)
    assert found
    assert (
        TypeAdapter(tuple[type(found[0]), ...]).validate_python(
            json.loads(json.dumps([dataclasses.asdict(each) for each in found], allow_nan=False))
        )
        == found
    )


def test_facts_come_from_params_and_tags() -> None:
    params = {
        "train.batch_size": "128",
        "optim.max_lr": "0.001",
        "schedule.warmup_frac": "0.0",
        "schedule.decay": "cosine",
        "optim.grad_clip_norm": "None",
        "continue_from.samples_seen": "1024",
    }
    tags = {"clipexp.num_train_pairs": "4000", "clipexp.shard_pairs": "many", "clipexp.total_samples": "96000"}
    facts = facts_of(dataclasses.replace(RECORD, params=params, tags=tags), ["it broke"], {"val/loss": [1.0, 2.0]})
    assert facts == RunFacts(
        batch_size=128,
        max_lr=0.001,
        warmup_frac=0.0,
        decay="cosine",
        num_train_pairs=4000,
        total_samples=96_000,
        start_samples=1024,
        faults=("it broke",),
        strips={"val/loss": (1.0, 2.0)},
    )


@pytest.mark.parametrize("text", ["", "None", "nan", "inf", "-3", "a few", "1e999", "0x10"])
def test_a_foreign_value_is_not_known(text: str) -> None:
    params = dict.fromkeys(("train.batch_size", "optim.max_lr", "continue_from.samples_seen"), text)
    tags = dict.fromkeys(("clipexp.num_train_pairs", "clipexp.total_samples"), text)
    assert facts_of(dataclasses.replace(RECORD, params=params, tags=tags)) == RunFacts()


def test_points_may_be_one_place_only() -> None:
    curves, facts = plain_run()
    point = Point(100, 0.0, 0.2, 0)
    assert find({name: Series.of([point, point]) for name in curves}, facts) == ()
