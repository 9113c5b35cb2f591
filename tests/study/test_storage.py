"""Storages: opened, mended, refused, held."""

import multiprocessing
import os
import socket
import time
from pathlib import Path

import psycopg
import pytest
from optuna.study import StudyDirection

from clipexp.errors import StudyError
from clipexp.study.storage import JOURNAL_FILE, open_storage
from tests.study.postgres import Server

MINIMIZE = [StudyDirection.MINIMIZE]


def names(uri: str | None, folder: Path) -> list[str]:
    with open_storage(uri, folder) as storage:
        return sorted(study.study_name for study in storage.storage.get_all_studies())


def make_two(uri: str | None, folder: Path) -> None:
    with open_storage(uri, folder) as storage:
        for name in ("one", "two"):
            storage.storage.create_new_study(MINIMIZE, name)


def test_what_is_written_is_there_when_it_is_opened_again(storage_uri: str | None, tmp_path: Path) -> None:
    make_two(storage_uri, tmp_path)
    assert names(storage_uri, tmp_path) == ["one", "two"]


def test_an_address_is_shown_without_its_password(postgres_uri: str, tmp_path: Path) -> None:
    with open_storage(postgres_uri.replace("postgresql:", "postgresql+psycopg:"), tmp_path) as storage:
        assert storage.uri.startswith("postgresql://clipexp:***@127.0.0.1")


@pytest.mark.parametrize("torn", [b'{"op_code":0,"worker', b"\0\0\0\0", b'{"op_code":0,"worker\n'])
def test_a_torn_last_record_is_cut_off_and_told(torn: bytes, tmp_path: Path) -> None:
    make_two(None, tmp_path)
    path = tmp_path / JOURNAL_FILE
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with open_storage(None, tmp_path) as storage:
        assert path.read_bytes() == whole
        (note,) = storage.notes
        assert f"its {len(torn)} bytes are cut off" in note
        storage.storage.create_new_study(MINIMIZE, "three")
    assert names(None, tmp_path) == ["one", "three", "two"]


def test_a_whole_journal_is_left_as_it_is(tmp_path: Path) -> None:
    make_two(None, tmp_path)
    before = (tmp_path / JOURNAL_FILE).read_bytes()
    with open_storage(None, tmp_path) as storage:
        assert storage.notes == ()
    assert (tmp_path / JOURNAL_FILE).read_bytes() == before


def test_a_damaged_record_amid_others_is_named_by_its_line(tmp_path: Path) -> None:
    make_two(None, tmp_path)
    path = tmp_path / JOURNAL_FILE
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"rubbish\n" + second)
    with pytest.raises(StudyError, match=r"optuna\.journal:2: is no record"):
        open_storage(None, tmp_path)


def test_the_lock_of_a_killed_writer_is_removed_at_once(tmp_path: Path) -> None:
    make_two(None, tmp_path)
    path = tmp_path / JOURNAL_FILE
    lock = path.with_name(path.name + ".lock")
    lock.symlink_to(path)
    began_s = time.monotonic()
    with open_storage(None, tmp_path) as storage:
        storage.storage.create_new_study(MINIMIZE, "three")
        assert "was left by a process that was killed" in storage.notes[0]
    assert time.monotonic() - began_s < 10
    assert not lock.is_symlink()


@pytest.mark.parametrize(
    "uri", ["mysql://me:secret@host/db", "sqlite:///study.db", "study.journal", "postgresql://a:b:secret@c:d:e"]
)
def test_what_is_not_supported_is_refused_with_what_is(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="postgresql://USER:PASSWORD@HOST/DATABASE") as caught:
        open_storage(uri, tmp_path)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_quickly_and_without_the_password(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        began_s = time.monotonic()
        with pytest.raises(StudyError, match=r"does not answer: .*refused") as caught:
            open_storage(f"postgresql://me:secret@127.0.0.1:{closed.getsockname()[1]}/db", tmp_path)
    assert time.monotonic() - began_s < 10
    assert "secret" not in str(caught.value)


def test_a_server_that_never_answers_is_told_within_about_ten_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began_s = time.monotonic()
        with pytest.raises(StudyError, match="does not answer"):
            open_storage(f"postgresql://me:secret@127.0.0.1:{mute.getsockname()[1]}/db", tmp_path)
    assert time.monotonic() - began_s < 12


def test_a_wrong_password_is_told_without_it(postgres_uri: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="password authentication failed") as caught:
        open_storage(postgres_uri.replace("%7Bs", "wrong"), tmp_path)
    assert "wrong" not in str(caught.value)


def _open(uri: str, folder: Path, start: "multiprocessing.synchronize.Barrier") -> None:
    start.wait()
    open_storage(uri, folder).close()


def test_eight_processes_may_open_a_fresh_database_at_once(postgres_uri: str, tmp_path: Path) -> None:
    spawning = multiprocessing.get_context("forkserver")
    start = spawning.Barrier(8)
    processes = [spawning.Process(target=_open, args=(postgres_uri, tmp_path, start)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    make_two(postgres_uri, tmp_path)
    assert names(postgres_uri, tmp_path) == ["one", "two"]


def test_a_study_in_postgresql_is_held_by_one_and_the_second_hears_by_whom(postgres_uri: str, tmp_path: Path) -> None:
    with open_storage(postgres_uri, tmp_path) as first, open_storage(postgres_uri, tmp_path) as second:
        first.hold("quick")
        with pytest.raises(StudyError, match=rf"study quick is carried out by process {os.getpid()} on .* --as"):
            second.hold("quick")
        second.hold("another")
        first.keep_held()
        first.close()
        second.hold("quick")


def test_the_hold_of_a_broken_connection_is_taken_again(
    postgres_uri: str, postgres_server: Server, tmp_path: Path
) -> None:
    with open_storage(postgres_uri, tmp_path) as first, open_storage(postgres_uri, tmp_path) as second:
        first.hold("quick")
        cut_off_all(postgres_server, postgres_uri)
        first.keep_held()
        with pytest.raises(StudyError, match="study quick is carried out by"):
            second.hold("quick")


def test_a_hold_that_another_took_in_the_meantime_is_told(
    postgres_uri: str, postgres_server: Server, tmp_path: Path
) -> None:
    with open_storage(postgres_uri, tmp_path) as first, open_storage(postgres_uri, tmp_path) as second:
        first.hold("quick")
        cut_off_all(postgres_server, postgres_uri)
        second.hold("quick")
        with pytest.raises(StudyError, match="study quick is carried out by"):
            first.keep_held()


def test_a_storage_that_stays_away_ends_in_an_error_with_the_remedy(tmp_path: Path) -> None:
    with open_storage(None, tmp_path, patience_s=0.5) as storage:
        attempts = []

        def write() -> None:
            attempts.append(1)
            raise OSError(28, "No space left on device")

        with pytest.raises(StudyError, match=r"does not answer \(.*No space left.*\), 0.5 s long"):
            storage.patiently(write)
        assert len(attempts) > 1


def test_a_mistake_is_not_tried_again(storage_uri: str | None, tmp_path: Path) -> None:
    with open_storage(storage_uri, tmp_path) as storage:
        attempts = []

        def ask() -> None:
            attempts.append(1)
            storage.storage.get_study_id_from_name("unknown")

        with pytest.raises(KeyError):
            storage.patiently(ask)
        assert len(attempts) == 1


def test_a_record_torn_by_a_full_disk_is_mended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    with open_storage(None, tmp_path) as storage:
        failures = iter([True])

        def write() -> None:
            if next(failures, False):
                with path.open("ab") as file:
                    file.write(b'{"op_code":0,')
                raise OSError(28, "No space left on device")
            storage.storage.create_new_study(MINIMIZE, "one")

        storage.patiently(write)
    assert names(None, tmp_path) == ["one"]


def cut_off_all(server: Server, uri: str) -> None:
    """End every connection to a database, as a network that breaks."""
    database = uri.rpartition("/")[2]
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
        ).fetchall()
    assert ended
