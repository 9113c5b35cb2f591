"""Runs that are disturbed end as if nobody had disturbed them."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Play, draw_play
from tests.faults.cold_starts import cold_start, prepare
from tests.faults.forked import Nursery
from tests.faults.kills import draw_point
from tests.faults.points import POINTS, names
from tests.faults.rot import draw_journal, harm
from tests.faults.table import KINDS
from tests.faults.verdict import Place, judge

COUNTED = tuple(sorted({POINTS[name].counted for name in names("run")}))
CHEAP = ("within a journal line",)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    with Campaign(tmp_path_factory.mktemp("faults"), counted=COUNTED) as campaign:
        yield campaign


def hold(campaign: Campaign, play: Play) -> None:
    result = campaign.play(play)
    if any(word.startswith("SKIPPED") for word in result.words.split("; ")):
        pytest.skip(result.words)
    assert result.is_good, result.line()


def test_an_undisturbed_run_reaches_every_named_point(campaign: Campaign) -> None:
    counts = campaign.scene.reference.counts
    too_far = {name: max(POINTS[name].calls) for name in names("run")}
    assert {name: n for name, n in too_far.items() if n > counts.get(POINTS[name].counted, 0)} == {}


DOCTORED = {
    "nothing": None,
    "lost": "delete from metrics where key = 'train/loss' and step = 96",
    "doubled": "insert into metrics select key, value, timestamp + 1, run_uuid, step, is_nan from metrics",
    "wrong value": "update metrics set value = value + 1e-9 where key = 'train/loss' and step = 96",
    "wrong state": "update runs set status = 'RUNNING'",
    "wrong reason": "update tags set value = 'lost' where key = 'clipexp.stop_reason'",
}


@pytest.mark.parametrize("what", DOCTORED)
def test_a_doctored_history_is_found_out(campaign: Campaign, tmp_path: Path, what: str) -> None:
    place = copy_of_undisturbed(campaign, tmp_path)
    with closing(sqlite3.connect(place.database)) as database, database:
        if words := DOCTORED[what]:
            database.execute(words)
    verdict = judge(campaign.scene, place)
    assert verdict.is_good == (what == "nothing"), verdict
    assert (verdict.num_lost > 0) == (what in ("lost", "wrong state"))
    assert (verdict.num_doubled > 0) == (what == "doubled")
    assert (verdict.num_wrong_states > 0) == (what in ("wrong state", "wrong reason"))


def copy_of_undisturbed(campaign: Campaign, folder: Path) -> Place:
    mlruns = folder / "mlruns"
    shutil.copytree(campaign.scene.reference.folder / "mlruns", mlruns)
    return Place(mlruns, mlruns / "mlflow.db", mlruns / "artifacts", "undisturbed")


def test_another_model_and_a_left_lease_are_found_out(campaign: Campaign, tmp_path: Path) -> None:
    place = copy_of_undisturbed(campaign, tmp_path)
    model = max((place.mlruns / "checkpoints").glob("*/samples-*")) / "model.safetensors"
    harm(model, {"flip": 0.9, "bit": 0})
    (place.mlruns / "leases" / "abc.json").touch()
    verdict = judge(campaign.scene, place)
    assert not verdict.bits_equal
    assert verdict.problems == ["left behind: ['leases/abc.json']"]


@pytest.mark.parametrize("name", CHEAP)
def test_a_run_killed_at_a_point_ends_with_the_same_bits(campaign: Campaign, name: str) -> None:
    strike = POINTS[name].strike(random.Random(name))
    hold(campaign, Play(0, "kill at a point", {"point": name, "strike": strike}))


def test_a_journal_damaged_behind_a_kill_loses_nothing(campaign: Campaign) -> None:
    params = draw_journal(random.Random(0)) | {"file": "events.jsonl"}
    hold(campaign, Play(0, "journal damaged", params))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_of_each_kind_leaves_no_trace(campaign: Campaign, kind: str) -> None:
    hold(campaign, draw_play(1, kind))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in names("run") if name not in CHEAP])
def test_a_run_killed_at_any_named_point_ends_with_the_same_bits(campaign: Campaign, name: str) -> None:
    strike = POINTS[name].strike(random.Random(name))
    result = campaign.play(Play(0, "kill at a point", {"point": name, "strike": strike}))
    assert result.has_happened
    assert result.is_good, result.line()


def test_the_same_seed_draws_the_same_fault() -> None:
    assert draw_play(7) == draw_play(7)
    assert draw_point(random.Random(3)) == draw_point(random.Random(3))


@pytest.mark.slow
def test_eight_runs_that_start_at_once_in_an_empty_folder_all_finish(tmp_path: Path) -> None:
    with Nursery(tmp_path) as starter:
        prepare(tmp_path / "prepared", tmp_path / "store", starter)
        assert cold_start(tmp_path / "cold", tmp_path / "store", starter) == []
