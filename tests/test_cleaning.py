"""What can go from mlruns/ goes, and nothing else."""

import os
import shutil
import time
from pathlib import Path

import pytest

import clipexp
from clipexp import cleaning
from clipexp.cleaning import LEFTOVER, STAGING, WHY_LEFT, alone, find, remove
from clipexp.errors import RunError
from clipexp.events import StepEvent
from clipexp.runner import start
from clipexp.spec.load import resolve
from clipexp.track import checkpoint_names
from clipexp.track.home import home
from clipexp.track.lease import take
from clipexp.track.mlflow_store import connect
from clipexp.track.records import find_header
from clipexp.train import checkpoint
from tests.small import small_content


def stopped_content(store: Path) -> dict[str, object]:
    return {**small_content(store, keep_last=2), "name": "stopped", "seed": 1}


@pytest.fixture(scope="session")
def _two_runs(tmp_path_factory: pytest.TempPathFactory, small_store: Path, empty_mlruns: Path) -> Path:
    folder = tmp_path_factory.mktemp("cleaning")
    shutil.copytree(empty_mlruns, folder / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        clipexp.run(resolve(small_content(small_store, keep_last=3)))
        execution = start(resolve(stopped_content(small_store)))
        for event in execution.events():
            if isinstance(event, StepEvent) and event.samples_seen >= 500:
                execution.ask_to_stop("budget")
    return folder


@pytest.fixture
def place(_two_runs: Path, workplace: Path) -> Path:
    """A working directory, to be changed, with a finished run `small` and one that was `stopped`."""
    shutil.copytree(_two_runs / "mlruns", workplace / "mlruns")
    connect(home().tracking_uri)  # follows the move, and says so
    return workplace


def checkpoints_of(name: str) -> Path:
    return home().checkpoints / find_header(name).run_id


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def everything() -> set[str]:
    passing = (".lock", "-journal")
    return {str(path) for path in home().root.rglob("*") if not path.name.endswith(passing)}


def leave(path: Path, age_s: float = 3600) -> Path:
    """A folder with a file of 1,000 bytes, of that age."""
    path.mkdir(parents=True)
    (path / "file").write_bytes(bytes(1000))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def clean() -> tuple[str, ...]:
    with alone():
        found = find()
        assert remove(found.items) == []
    return found.notes


def test_every_kind_of_leftover_checkpoint_has_a_reason() -> None:
    suffixes = {checkpoint_names.TMP, checkpoint_names.OLD, checkpoint_names.DAMAGED}
    assert suffixes == set(WHY_LEFT)
    assert all(
        LEFTOVER.fullmatch(name + s) for name in (checkpoint_names.BEST, checkpoint_names.name_at(64)) for s in suffixes
    )


def test_of_a_finished_run_the_best_and_the_newest_checkpoint_stay(place: Path, small_store: Path) -> None:
    before = names(checkpoints_of("small"))
    assert len(before) == 4
    clean()
    assert names(checkpoints_of("small")) == ["best", before[-1]]
    assert find().items == ()
    again = start(resolve(small_content(small_store, keep_last=3)))
    assert again.is_finished
    assert again.final()["val/num_pairs"] == 40


def test_a_dry_run_removes_nothing(place: Path) -> None:
    leave(checkpoints_of("small") / "best.damaged")
    before = everything()
    assert find().items
    assert everything() == before


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    place: Path, small_store: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    untouched = tmp_path_factory.mktemp("untouched")
    shutil.copytree(place / "mlruns", untouched / "mlruns")
    before = names(checkpoints_of("stopped"))
    assert len(before) == 3
    clean()
    assert names(checkpoints_of("stopped")) == before
    digests = []
    for folder in (place, untouched):
        monkeypatch.chdir(folder)
        execution = start(resolve(stopped_content(small_store)))
        assert execution.launch.resumed_at > 0
        list(execution.events())
        newest = checkpoint_names.newest(checkpoints_of("stopped"))
        assert newest is not None
        digests.append(checkpoint.final_digest(newest))
    assert digests[0] == digests[1]


def test_leftovers_of_checkpoints_go(place: Path) -> None:
    root = checkpoints_of("stopped")
    before = names(root)
    left = ["best.damaged-3", "best.old", "samples-000000000064.damaged", "samples-000000000064.damaged-2"]
    for name in (*left, "samples-000000000096.tmp"):
        leave(root / name)
    leave(root / "samples-000000000032.old")  # the only one of its name: a run goes on with it
    leave(root / "mine")
    clean()
    assert names(root) == sorted([*before, "mine", "samples-000000000032.old"])


def test_nothing_of_a_held_run_goes(place: Path) -> None:
    header = find_header("small")
    leave(checkpoints_of("small") / "best.tmp")
    with take(header.spec_hash, header.name, header.store) as lease:
        lease.name_run(header.run_id)
        found = find()
        assert not [item for item in found.items if header.run_id in str(item.path)]
        assert any("its spec is at work" in note for note in found.notes)
    assert find().items


def test_a_run_that_begins_to_work_meanwhile_is_left(place: Path) -> None:
    header = find_header("small")
    before = names(checkpoints_of("small"))
    found = find()
    assert found.items
    with take(header.spec_hash, header.name, header.store):
        problems = remove(found.items)
    assert len(problems) == len(found.items)
    assert "has just begun to work" in problems[0]
    assert names(checkpoints_of("small")) == before


def test_a_run_deleted_in_mlflow_goes_with_checkpoints_and_journal(place: Path) -> None:
    header = find_header("stopped")
    connect(home().tracking_uri).delete_run(header.run_id)
    clean()
    assert not header.folder.exists()
    assert not (home().checkpoints / header.run_id).exists()
    assert find_header("small").folder.exists()


def test_nothing_goes_on_the_word_of_a_store_that_is_away(place: Path) -> None:
    home().database.unlink()
    leave(home().checkpoints / "0123456789abcdef")
    found = find()
    assert not [item for item in found.items if "deleted" in item.kind or "orphaned" in item.kind]
    assert any(note.startswith("STAYS: 3 run(s)") and "does not answer" in note for note in found.notes)
    assert not home().database.exists()


def test_a_lost_database_takes_no_journal_with_it(place: Path) -> None:
    (place / "fresh").mkdir()
    connect(f"sqlite:///{place / 'fresh' / 'mlflow.db'}")  # a database made after the runs
    shutil.copy(place / "fresh" / "mlflow.db", home().database)
    before = names(home().journals)
    assert any("younger than it" in note for note in clean())
    assert names(home().journals) == before


def test_an_old_database_put_back_takes_no_journal_with_it(place: Path, empty_mlruns: Path) -> None:
    shutil.copy(empty_mlruns / "mlflow.db", home().database)
    before = names(home().journals)
    assert any("its artifacts are here" in note for note in clean())
    assert names(home().journals) == before


def test_a_run_that_mlflow_forgot_for_good_goes(place: Path, empty_mlruns: Path) -> None:
    header = find_header("stopped")
    shutil.rmtree(home().artifacts / header.run_id)
    shutil.copy(empty_mlruns / "mlflow.db", home().database)
    clean()
    assert not header.folder.exists()
    assert find_header("small").folder.exists()


def test_checkpoints_that_nobody_knows_go(place: Path) -> None:
    orphan = leave(home().checkpoints / "0123456789abcdef", age_s=0)
    (known := find_header("stopped").folder).rename(place / "away")
    clean()
    assert not orphan.exists()
    assert (home().checkpoints / known.name).exists()


def test_an_empty_journal_goes_once_it_is_old(place: Path) -> None:
    new, old, full = (home().journals / name for name in ("new", "old", "full"))
    new.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))
    leave(full)
    (full / "events.jsonl").write_bytes(b"{}\n")
    os.utime(full, (0, 0))
    notes = clean()
    assert (new.exists(), old.exists(), full.exists()) == (True, False, True)
    assert any("full has events, but no header" in note for note in notes)


def test_backups_of_the_database_are_only_told(place: Path) -> None:
    backup = home().root / "mlflow.db.before-abc"
    backup.write_bytes(bytes(2_000_000))
    assert any(f"{backup} (2.0 MB) is a backup" in note for note in clean())
    assert backup.exists()


def test_a_file_under_two_names_counts_where_its_last_name_goes(place: Path) -> None:
    root = checkpoints_of("stopped")
    leave(root / "best.damaged")
    (root / "best.damaged-3").mkdir()
    os.link(root / "best.damaged" / "file", root / "best.damaged-3" / "file")
    leave(root / "samples-000000000032.tmp")
    os.link(root / "samples-000000000032.tmp" / "file", place / "kept")
    size_by_name = {item.path.name: item.num_bytes for item in find().items}
    assert size_by_name["best.damaged-3"] + size_by_name["best.damaged"] == 1000
    assert size_by_name["samples-000000000032.tmp"] == 0


def test_a_cleaning_that_was_cut_off_leaves_only_what_the_next_removes(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = names(checkpoints_of("small"))[-1]
    with monkeypatch.context() as patch:
        patch.setattr(cleaning.shutil, "rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            remove(find().items)
    assert names(home().checkpoints / ".trash")
    leave(home().root / STAGING)
    clean()
    assert not (home().checkpoints / ".trash").exists()
    assert not (home().root / STAGING).exists()
    assert names(checkpoints_of("small")) == ["best", newest]


def test_what_cannot_be_removed_is_told_and_the_rest_goes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(path: Path, target: Path) -> Path:
        if path.name == "best.tmp":
            raise PermissionError(1, "Operation not permitted")
        return original(path, target)

    original = Path.rename
    root = checkpoints_of("stopped")
    leave(root / "best.tmp")
    leave(root / "best.damaged-3")
    monkeypatch.setattr(Path, "rename", rename)
    assert remove(find().items) == [f"{root / 'best.tmp'}: Operation not permitted"]
    assert "best.damaged-3" not in names(root)


def test_two_do_not_clean_at_once(place: Path) -> None:
    with alone(), pytest.raises(RunError, match="another `clipexp runs gc` cleans"), alone():
        pass


def test_where_no_run_was_nothing_is_made(workplace: Path) -> None:
    clean()
    assert not home().root.exists()
