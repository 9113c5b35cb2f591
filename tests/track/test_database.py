"""The SQLite file under MLflow's store: made whole, migrated with a backup, moved with its folder."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clipexp.errors import TrackingError
from clipexp.track import database as database_module
from clipexp.track.database import artifacts_location, prepare_database, quiet_mlflow
from clipexp.track.mlflow_store import connect, experiment_id

MLFLOW_2_4 = "7f2a7d5fae7d"  # the schema of MLflow 2.4 (2023)
RUN_ID = "0123456789abcdef0123456789abcdef"


def sql(database: Path, words: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(words, values).fetchall()


def revision(database: Path) -> str:
    return str(sql(database, "select version_num from alembic_version")[0][0])


def beside(folder: Path) -> set[str]:
    """All that lies in a folder, except for the lock."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def make_old(database: Path) -> Path:
    """A database as an older MLflow made it, by MLflow's own migrations, with a run in it."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    with quiet_mlflow():
        engine = utils.create_sqlalchemy_engine(f"sqlite:///{database}")
        Base.metadata.create_all(engine)
        config = utils._get_alembic_config(f"sqlite:///{database}")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, MLFLOW_2_4)
        engine.dispose()
    location = artifacts_location(database)
    sql(database, "insert into experiments values (1, 'clipexp', ?, 'active', 0, 0)", location)
    words = "insert into runs (run_uuid, name, source_type, user_id, status, lifecycle_stage, artifact_uri,"
    words += " start_time, end_time, experiment_id)"
    words += " values (?, 'old run', 'LOCAL', 'somebody', 'FINISHED', 'active', ?, 1000, 2000, 1)"
    sql(database, words, RUN_ID, f"{location}/{RUN_ID}/artifacts")
    sql(database, "insert into params values ('optim.max_lr', '0.001', ?)", RUN_ID)
    for step, loss in ((100, 4.5), (200, 3.25)):
        sql(database, "insert into metrics values ('train/loss', ?, ?, ?, ?, 0)", loss, step, RUN_ID, step)
    sql(database, "insert into latest_metrics values ('train/loss', 3.25, 200, 200, 0, ?)", RUN_ID)
    return database


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_old(tmp_path / "mlflow.db")


def assert_the_old_run_can_be_read(database: Path) -> None:
    client = connect(f"sqlite:///{database}")
    run = client.get_run(RUN_ID)
    assert (run.data.params, run.data.metrics) == ({"optim.max_lr": "0.001"}, {"train/loss": 3.25})
    assert [point.value for point in client.get_metric_history(RUN_ID, "train/loss")] == [4.5, 3.25]


def test_a_new_database_is_one_whole_file_with_the_experiment(empty_mlruns: Path) -> None:
    database = empty_mlruns / "mlflow.db"
    query = "select artifact_location from experiments where name = 'clipexp'"
    assert sql(database, query) == [((empty_mlruns / "artifacts").as_uri(),)]
    assert sql(database, "pragma journal_mode") == [("delete",)]
    assert beside(empty_mlruns) == {"mlflow.db", *(path.name for path in empty_mlruns.iterdir() if path.is_dir())}


@pytest.mark.slow
def test_a_process_killed_while_it_makes_the_database_leaves_none(tmp_path: Path) -> None:
    database, making = tmp_path / "mlflow.db", tmp_path / ".mlflow.db.making"
    code = f"from clipexp.track.mlflow_store import connect; connect('sqlite:///{database}')"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        while not (making.exists() and making.stat().st_size > 100_000):
            assert child.poll() is None
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    assert not database.exists()
    assert making.exists()
    client = connect(f"sqlite:///{database}")
    assert client.create_run(experiment_id(client, f"sqlite:///{database}")).info.status == "RUNNING"
    assert beside(tmp_path) == {"mlflow.db"}


def test_an_old_journal_without_its_database_does_not_spoil_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlruns: Path
) -> None:
    monkeypatch.setattr(
        database_module, "_make_tables", lambda making, _: shutil.copyfile(empty_mlruns / "mlflow.db", making)
    )
    (tmp_path / "mlflow.db").touch()
    (tmp_path / "mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 1000)
    prepare_database(tmp_path / "mlflow.db")
    assert beside(tmp_path) == {"mlflow.db"}
    assert sql(tmp_path / "mlflow.db", "pragma integrity_check") == [("ok",)]


def test_a_full_disk_while_making_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(making: Path, _: str) -> None:
        making.write_bytes(b"half")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(database_module, "_make_tables", fail)
    with pytest.raises(TrackingError, match=r"mlflow\.db can't be made \(database or disk is full\); make room"):
        prepare_database(tmp_path / "mlflow.db")
    assert beside(tmp_path) == set()


def test_an_older_database_is_migrated_and_kept(old: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert_the_old_run_can_be_read(old)
    assert capfd.readouterr() == (
        "",
        f"{old} was of an older MLflow: migrated; what it was is kept as mlflow.db.before-{MLFLOW_2_4}\n",
    )
    backup = old.with_name(f"mlflow.db.before-{MLFLOW_2_4}")
    assert beside(old.parent) == {"mlflow.db", backup.name}
    assert revision(backup) == MLFLOW_2_4
    assert sql(backup, "select name from runs") == [("old run",)]
    prepare_database(old)
    assert capfd.readouterr() == ("", "")


def test_no_backup_is_overwritten(old: Path) -> None:
    earlier = old.with_name(f"mlflow.db.before-{MLFLOW_2_4}")
    earlier.write_bytes(b"precious")
    prepare_database(old)
    assert earlier.read_bytes() == b"precious"
    assert revision(old.with_name(f"{earlier.name}.2")) == MLFLOW_2_4


def test_a_migration_that_fails_leaves_the_database_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.db import utils

    def half(engine: Any) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("drop table metrics")
        raise RuntimeError("no such column: x\nmore on it")

    monkeypatch.setattr(utils, "_upgrade_db", half)
    before = old.read_bytes()
    with pytest.raises(TrackingError, match=r"can't be migrated \(no such column: x\); it is as it was: open it with"):
        prepare_database(old)
    assert old.read_bytes() == before
    assert beside(old.parent) == {"mlflow.db"}
    monkeypatch.undo()
    assert_the_old_run_can_be_read(old)


@pytest.mark.parametrize("moment", ["utils._upgrade_db", "database._free_name"])
def test_a_process_killed_while_it_migrates_loses_nothing(old: Path, moment: str) -> None:
    code = "import os; from pathlib import Path; from clipexp.track import database; utils = database._mlflow_db()\n"
    code += f"{moment} = lambda *_: os.kill(os.getpid(), 9)\ndatabase.prepare_database(Path({str(old)!r}))"
    before = old.read_bytes()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert old.read_bytes() == before
    assert ".mlflow.db.migrating" in beside(old.parent)
    assert_the_old_run_can_be_read(old)
    assert beside(old.parent) == {"mlflow.db", f"mlflow.db.before-{MLFLOW_2_4}"}


def test_another_process_can_not_write_in_the_middle_but_goes_on_afterwards(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.db import utils

    upgrade = utils._upgrade_db
    words = "insert into tags values ('note', 'written by another', ?)"
    with closing(sqlite3.connect(old, timeout=0, isolation_level=None)) as other:
        other.execute("select count(*) from runs").fetchall()

        def upgrade_meanwhile(engine: Any) -> None:
            upgrade(engine)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute(words, (RUN_ID,))

        monkeypatch.setattr(utils, "_upgrade_db", upgrade_meanwhile)
        prepare_database(old)
        other.execute(words, (RUN_ID,))
    assert connect(f"sqlite:///{old}").get_run(RUN_ID).data.tags["note"] == "written by another"


def test_a_database_in_use_for_long_is_one_clear_error(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(old, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(TrackingError, match=r"mlflow\.db can't be used \(database is locked\); another process"):
            prepare_database(old)
    assert revision(old) == MLFLOW_2_4


def test_a_database_of_a_newer_mlflow_is_refused_untouched(old: Path) -> None:
    sql(old, "update alembic_version set version_num = 'ffffffffffff'")
    before = old.read_bytes()
    with pytest.raises(TrackingError, match=r"newer MLflow .* \(its schema is ffffffffffff\); update MLflow"):
        connect(f"sqlite:///{old}")
    assert old.read_bytes() == before
    assert beside(old.parent) == {"mlflow.db"}


def test_another_programs_database_is_kept_before_mlflow_adds_its_tables(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    sql(database, "create table mine (word text)")
    sql(database, "insert into mine values ('kept')")
    prepare_database(database)
    backup = tmp_path / "mlflow.db.before-unversioned"
    assert sql(database, "select * from mine") == sql(backup, "select * from mine") == [("kept",)]


@pytest.fixture
def lab(empty_mlruns: Path, tmp_path: Path) -> Path:
    """A folder `a` with a database, and one run in it that has an artifact."""
    folder = tmp_path / "a" / "mlruns"
    shutil.copytree(empty_mlruns, folder)
    client = connect(f"sqlite:///{folder / 'mlflow.db'}")
    run_id = client.create_run(experiment_id(client, f"sqlite:///{folder / 'mlflow.db'}")).info.run_id
    client.log_text(run_id, "recall@1 0.98", "notes/first.txt")
    assert [path.name for path in (folder / "artifacts").rglob("*.txt")] == ["first.txt"]
    return folder


def move(lab: Path, tmp_path: Path, name: str = "b with space/ü 100%") -> Path:
    new = tmp_path / name
    new.parent.mkdir(exist_ok=True, parents=True)
    return lab.parent.rename(new) / "mlruns"


# In a process of its own, as after a real move: MLflow remembers where a run's artifacts are while a process lives.
USE_ARTIFACTS = """
import sys
from pathlib import Path
from clipexp.track.mlflow_store import connect, experiment_id
uri = sys.argv[1]
client = connect(uri)
(run,) = client.search_runs([experiment_id(client, uri)])
run_id = run.info.run_id
print(run.info.artifact_uri)
print([file.path for file in client.list_artifacts(run_id, "notes")])
print(Path(client.download_artifacts(run_id, "notes/first.txt")).read_text())
client.log_text(run_id, "more", "notes/second.txt")
"""


def test_a_moved_checkout_opens_its_artifacts_and_adds_to_them(lab: Path, tmp_path: Path) -> None:
    moved = move(lab, tmp_path)
    command = [sys.executable, "-c", USE_ARTIFACTS, f"sqlite:///{moved / 'mlflow.db'}"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    (run_id,) = (path.name for path in (moved / "artifacts").iterdir())
    uri = f"{(moved / 'artifacts').as_uri()}/{run_id}/artifacts"
    assert printed == [uri, "['notes/first.txt']", "recall@1 0.98"]
    assert (moved / "artifacts" / run_id / "artifacts" / "notes" / "second.txt").read_text() == "more"
    assert not lab.exists()


def test_a_checkout_moved_twice_and_back_is_told_each_time(
    lab: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sql(lab / "mlflow.db", "select artifact_uri from runs")
    for name in ("b with space/ü", "c#d?e", "a"):
        lab = move(lab, tmp_path, name)
        prepare_database(lab / "mlflow.db")
        assert f"its 1 runs' artifacts are now in {lab / 'artifacts'}" in capfd.readouterr().err
        prepare_database(lab / "mlflow.db")
        assert capfd.readouterr().err == ""
    assert sql(lab / "mlflow.db", "select artifact_uri from runs") == before


def test_a_copied_checkout_has_artifacts_of_its_own(lab: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "mlruns"
    shutil.copytree(lab, copy)
    query = "select artifact_uri from runs"
    before = sql(lab / "mlflow.db", query)
    prepare_database(copy / "mlflow.db")
    assert sql(copy / "mlflow.db", query)[0][0].startswith((copy / "artifacts").as_uri() + "/")
    prepare_database(lab / "mlflow.db")
    assert sql(lab / "mlflow.db", query) == before


def test_a_database_copied_alone_still_opens_the_artifacts_that_stayed(lab: Path, tmp_path: Path) -> None:
    shutil.copy(lab / "mlflow.db", tmp_path / "alone.db")
    prepare_database(tmp_path / "alone.db")
    assert sql(tmp_path / "alone.db", "select artifact_uri from runs") == sql(
        lab / "mlflow.db", "select artifact_uri from runs"
    )


@pytest.mark.parametrize("own", ["s3://bucket/artifacts", "file:///data/clip", "/data/clip", "mlflow-artifacts:/1", ""])
def test_artifacts_that_a_person_put_elsewhere_stay_there(lab: Path, own: str) -> None:
    sql(lab / "mlflow.db", "update experiments set artifact_location = ? where name = 'clipexp'", own)
    before = (lab / "mlflow.db").read_bytes()
    prepare_database(lab / "mlflow.db")
    assert (lab / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("name", ["b with space/ü", "100%"])
def test_of_all_that_holds_paths_only_what_was_below_the_old_folder_moves(lab: Path, tmp_path: Path, name: str) -> None:
    database = lab / "mlflow.db"
    sql(database, "pragma foreign_keys = off")
    sql(database, "insert into registered_models (name, workspace) values ('m', 'default')")
    words = "insert into model_versions (name, workspace, version, source, storage_location)"
    words += " values ('m', 'default', ?, ?, ?)"
    sql(database, words, 1, f"{lab}/artifacts/x y/model", (lab / "artifacts" / "x y").as_uri())
    sql(database, words, 2, "models:/m-1", f"{lab}/artifacts-of-another/x")
    words = "insert into logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
    words += " last_updated_timestamp_ms, status) values ('m-1', 1, 'm', ?, 0, 0, 1)"
    sql(database, words, f"{(lab / 'artifacts').as_uri()}/models/m-1")
    words = "insert into trace_tags (key, value, request_id) values (?, ?, 'tr-1')"
    sql(database, words, "mlflow.artifactLocation", f"{(lab / 'artifacts').as_uri()}/traces/tr-1")
    sql(database, words, "told", f"{lab}/artifacts/as text")
    new = move(lab, tmp_path, name)
    prepare_database(new / "mlflow.db")
    new_uri = (new / "artifacts").as_uri()
    plain = new_uri + "/x%20y/model" if "%" in name else f"{new}/artifacts/x y/model"
    assert sql(new / "mlflow.db", "select source, storage_location from model_versions order by version") == [
        (plain, f"{new_uri}/x%20y"),
        ("models:/m-1", f"{lab}/artifacts-of-another/x"),
    ]
    assert sql(new / "mlflow.db", "select artifact_location from logged_models") == [(f"{new_uri}/models/m-1",)]
    assert sql(new / "mlflow.db", "select value from trace_tags order by key") == [
        (f"{new_uri}/traces/tr-1",),
        (f"{lab}/artifacts/as text",),
    ]


def test_a_folder_under_two_names_is_no_move(lab: Path, tmp_path: Path) -> None:
    new = move(lab, tmp_path)
    os.symlink(new.parent, lab.parent)
    before = (new / "mlflow.db").read_bytes()
    prepare_database(new / "mlflow.db")
    assert (new / "mlflow.db").read_bytes() == before
