"""Runs go into a file and come out elsewhere as they were, or not at all."""

import dataclasses
import json
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import clipexp
from clipexp.bundle import export_runs
from clipexp.errors import RunError, TrackingError
from clipexp.events import StepEvent
from clipexp.reporting.write import report
from clipexp.runner import start
from clipexp.spec.load import resolve
from clipexp.taking_in import STATE_TAG, take_in
from clipexp.track import delivery
from clipexp.track.header import RunHeader, headers, read_header
from clipexp.track.home import home
from clipexp.track.journal import end_reason, points
from clipexp.track.lease import take
from clipexp.track.mlflow_store import connect
from clipexp.track.records import IMPORTED_FROM_TAG, Note, add_note, find_header, read_run
from tests.small import small_content

CUT_OFF_AT = 320


@dataclasses.dataclass(frozen=True)
class Origin:
    """A working directory with a finished run and one that was stopped halfway, and a bundle of both."""

    folder: Path
    finished: RunHeader
    stopped: RunHeader
    in_mlflow: Run
    bundle: Path


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory, small_store: Path, empty_mlruns: Path) -> Origin:
    folder = tmp_path_factory.mktemp("origin")
    shutil.copytree(empty_mlruns, folder / "mlruns")
    content = {**small_content(small_store), "hypothesis": "it learns"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_id = clipexp.run(resolve(content)).run_id
        execution = start(resolve({**content, "name": "stopped", "seed": 1}))
        for event in execution.events():
            if isinstance(event, StepEvent) and event.samples_seen >= CUT_OFF_AT:
                execution.ask_to_stop("budget")
        client = connect(home().tracking_uri)
        add_note(client, run_id, Note("2026-01-01T00:00:00+00:00", "it does"))
        client.log_text(run_id, "mine", "mine.txt")
        runs = (find_header(run_id), find_header("stopped"))
        assert export_runs(runs, folder / "runs.tar", "all") == []
        return Origin(folder, *runs, client.get_run(run_id), folder / "runs.tar")


@pytest.fixture
def elsewhere(workplace: Path, empty_mlruns: Path) -> Path:
    """Another working directory, with an empty database."""
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    return workplace


def client_here() -> MlflowClient:
    return connect(home().tracking_uri)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def artifacts(run: Run) -> dict[str, bytes]:
    return files_below(Path(run.info.artifact_uri.removeprefix("file://")))


def rewritten(bundle: Path, target: Path, change: dict[str, bytes] | None = None, **extra: tarfile.TarInfo) -> Path:
    """A bundle with some members' bytes changed, and with members added."""
    with tarfile.open(bundle) as old, tarfile.open(target, "w") as new:
        for info in old:
            file = old.extractfile(info)
            content = (change or {}).get(info.name, file.read() if file else b"")
            info.size = len(content)
            new.addfile(info, BytesIO(content))
        for info in extra.values():
            new.addfile(info, BytesIO(bytes(info.size)))
    return target


def nothing_was_made(before: set[str]) -> bool:
    return {h.run_id for h in headers()} == before and not (home().root / "importing").exists()


def test_an_imported_run_is_the_run_it_was(origin: Origin, elsewhere: Path) -> None:
    lines = list(take_in(origin.bundle))
    assert len(lines) == 2
    header = find_header(origin.finished.run_id[:8])
    assert header.run_id != origin.finished.run_id
    here, there = client_here().get_run(header.run_id), origin.in_mlflow
    assert points(header.folder) == points(origin.folder / origin.finished.folder)
    record = read_run(client_here(), header.run_id)
    assert [note.text for note in record.notes] == ["it does"]
    assert here.data.params == there.data.params
    assert here.data.metrics == there.data.metrics
    added = {IMPORTED_FROM_TAG: origin.finished.run_id}
    own = {"clipexp.launch"}
    assert {k: v for k, v in here.data.tags.items() if k not in own} == {
        k: v for k, v in there.data.tags.items() if k not in own
    } | added
    assert (here.info.run_name, here.info.status) == (there.info.run_name, "FINISHED")
    assert (here.info.start_time, here.info.end_time) == (there.info.start_time, there.info.end_time)
    assert here.inputs.dataset_inputs[0].dataset.digest == there.inputs.dataset_inputs[0].dataset.digest
    assert artifacts(here) == artifacts(there)
    assert artifacts(here)["mine.txt"] == b"mine"
    assert header.created_ms == origin.finished.created_ms


def test_curves_in_mlflow_are_the_same_point_for_point(origin: Origin, elsewhere: Path) -> None:
    list(take_in(origin.bundle))
    here = client_here()
    run_id = find_header(origin.finished.run_id).run_id
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(origin.folder)
        client = client_here()
        metrics = origin.in_mlflow.data.metrics
        there = {m: client.get_metric_history(origin.finished.run_id, m) for m in metrics}
    assert metrics
    for metric, history in there.items():
        found = here.get_metric_history(run_id, metric)
        assert [(p.step, p.timestamp, p.value) for p in found] == [(p.step, p.timestamp, p.value) for p in history]


def test_a_report_can_be_written_where_a_run_was_imported(origin: Origin, elsewhere: Path) -> None:
    list(take_in(origin.bundle))
    assert report([find_header("small").run_id], name="there").read_text()


def test_a_second_import_changes_nothing(origin: Origin, elsewhere: Path) -> None:
    list(take_in(origin.bundle))
    before = files_below(home().journals)
    lines = list(take_in(origin.bundle))
    assert all("is here already as run" in line for line in lines)
    assert files_below(home().journals) == before
    assert len(client_here().search_runs([client_here().get_experiment_by_name("clipexp").experiment_id])) == 2


def test_a_run_is_not_imported_where_it_is_from(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(origin.folder)
    assert all(line.endswith("is here already; it stays as it is") for line in take_in(origin.bundle))


def test_an_imported_run_that_was_cut_off_goes_on_to_the_same_bits(
    origin: Origin, elsewhere: Path, small_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    list(take_in(origin.bundle))
    header = find_header("stopped")
    assert end_reason(header.folder) == "budget"
    resolved = resolve({**small_content(small_store), "hypothesis": "it learns", "name": "stopped", "seed": 1})
    execution = start(resolved)
    assert execution.run_id == header.run_id
    assert execution.launch.resumed_at >= CUT_OFF_AT
    list(execution.events())
    moved = execution.final()
    with pytest.MonkeyPatch.context() as patch:
        there = tmp_path_factory.mktemp("there")
        shutil.copytree(origin.folder / "mlruns", there / "mlruns")
        patch.chdir(there)
        stayed = start(resolved)
        list(stayed.events())
        unmoved = stayed.final()
    assert {m: v for m, v in moved.items() if not m.startswith("system/")} == {
        m: v for m, v in unmoved.items() if not m.startswith("system/")
    }


def test_an_import_that_mlflow_cut_off_is_finished_by_the_next(
    origin: Origin, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_sent = 0

    def dies(self: delivery.Delivery) -> None:
        nonlocal num_sent
        num_sent += 1
        if num_sent > 1:
            raise ConnectionError("the store is away")
        whole(self)

    whole = delivery.Delivery._send_values
    monkeypatch.setattr(delivery.Delivery, "_send_values", dies)
    with pytest.raises(TrackingError, match=r"the store is away.*import it again"):
        list(take_in(origin.bundle))
    (half,) = headers()
    assert STATE_TAG in client_here().get_run(half.run_id).data.tags
    monkeypatch.undo()
    monkeypatch.chdir(elsewhere)
    list(take_in(origin.bundle))
    run = client_here().get_run(half.run_id)
    assert find_header(origin.finished.run_id).run_id == half.run_id
    assert STATE_TAG not in run.data.tags
    assert run.info.status == "FINISHED"
    assert run.data.metrics == origin.in_mlflow.data.metrics
    history = client_here().get_metric_history(half.run_id, "train/loss")
    assert len(history) == len(points(half.folder)["train/loss"])


def test_an_import_killed_before_its_files_were_placed_leaves_one_run(
    origin: Origin, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("clipexp.taking_in._place", dies)
        with pytest.raises(RunError, match="killed"):
            list(take_in(origin.bundle))
    assert nothing_was_made(set())
    list(take_in(origin.bundle))
    experiment = client_here().get_experiment_by_name("clipexp")
    assert len(client_here().search_runs([experiment.experiment_id])) == 2
    assert files_below(home().checkpoints)


@pytest.mark.parametrize("what", ["events", "artifacts", "checkpoints", "index"])
def test_a_changed_byte_is_refused(origin: Origin, elsewhere: Path, what: str) -> None:
    with tarfile.open(origin.bundle) as tar:
        name = next(n for n in tar.getnames() if what in n or (what == "index" and n == "bundle.json"))
        content = tar.extractfile(name).read()  # type: ignore[union-attr]
    place = content.index(b"sha256") + 12 if what == "index" else len(content) // 2
    changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    bad = rewritten(origin.bundle, elsewhere / "bad.tar", {name: changed})
    with pytest.raises(RunError, match=r"bad\.tar is damaged"):
        list(take_in(bad))
    assert nothing_was_made(set())


@pytest.mark.parametrize("num_bytes", [100, 5_000, 300_000])
def test_a_bundle_cut_short_is_refused(origin: Origin, elsewhere: Path, num_bytes: int) -> None:
    (elsewhere / "cut.tar").write_bytes(origin.bundle.read_bytes()[:num_bytes])
    with pytest.raises(RunError, match=r"cut short|no bundle"):
        list(take_in(elsewhere / "cut.tar"))
    assert nothing_was_made(set())


@pytest.mark.parametrize("name", ["/etc/passwd", "../out", "{run}/../out", "{run}/other", "{run}/artifacts/../../x"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_a_member_without_a_place_is_refused(origin: Origin, elsewhere: Path, name: str, kind: bytes) -> None:
    info = tarfile.TarInfo(name.format(run=origin.finished.run_id))
    info.type, info.linkname = kind, "bundle.json"
    with pytest.raises(RunError, match="has no place in a bundle"):
        list(take_in(rewritten(origin.bundle, elsewhere / "bad.tar", extra=info)))
    assert nothing_was_made(set())


def test_another_version_is_told(origin: Origin, elsewhere: Path) -> None:
    with tarfile.open(origin.bundle) as tar:
        about = json.loads(tar.extractfile("bundle.json").read())  # type: ignore[union-attr]
    later = json.dumps({**about, "version": 2, "made_by": "clipexp 9"}).encode()
    with pytest.raises(RunError, match=r"made by clipexp 9, as version 2; this clipexp reads version 1"):
        list(take_in(rewritten(origin.bundle, elsewhere / "later.tar", {"bundle.json": later})))


def test_a_lost_database_is_made_again_from_journals(origin: Origin, elsewhere: Path) -> None:
    for name in ("journals", "checkpoints"):
        shutil.copytree(origin.folder / "mlruns" / name, elsewhere / "mlruns" / name, dirs_exist_ok=True)
    lines = list(take_in(home().journals / origin.finished.run_id))
    assert lines[1].startswith("MISSING: small (run ")
    header = next(h for h in headers() if h.tags.get(IMPORTED_FROM_TAG) == origin.finished.run_id)
    run = client_here().get_run(header.run_id)
    assert run.data.metrics == origin.in_mlflow.data.metrics
    assert run.data.params == origin.in_mlflow.data.params
    assert files_below(home().checkpoints / header.run_id) == files_below(home().checkpoints / origin.finished.run_id)
    assert "is here already" in next(iter(take_in(home().journals / origin.finished.run_id)))


@pytest.fixture
def copied(origin: Origin, workplace: Path) -> Path:
    """The origin, to be changed."""
    shutil.copytree(origin.folder / "mlruns", workplace / "mlruns")
    return workplace


def test_an_export_without_mlflow_says_what_it_lacks(origin: Origin, copied: Path) -> None:
    home().database.unlink()
    (missing,) = export_runs([find_header("small")], copied / "runs.tar")
    assert "tags and notes as MLflow has them" in missing
    assert not home().database.exists()
    shutil.rmtree(home().artifacts)
    (missing,) = export_runs([find_header("small")], copied / "bare.tar")
    assert "artifacts, and tags and notes" in missing


def test_a_run_at_work_is_not_exported(copied: Path) -> None:
    header = find_header("stopped")
    with take(header.spec_hash, header.name, header.store) as lease:
        lease.name_run(header.run_id)
        with pytest.raises(RunError, match="stop it or wait"):
            export_runs([header], copied / "runs.tar")
    assert not (copied / "runs.tar").exists()


def test_a_full_disk_leaves_nothing_of_an_export(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(RunError, match="No space left"):
        export_runs([find_header("small")], copied / "out" / "runs.tar")
    assert list((copied / "out").iterdir()) == []


def test_a_damaged_checkpoint_is_not_carried_and_told(copied: Path) -> None:
    header = find_header("stopped")
    newest = max((home().checkpoints / header.run_id).glob("samples-*"))
    model = newest / "model.safetensors"
    model.unlink()  # `best` may be a link to it
    model.write_bytes(b"short")
    missing = export_runs([header], copied / "runs.tar", "all")
    assert any("is cut short or damaged" in line for line in missing)
    with tarfile.open(copied / "runs.tar") as tar:
        assert not [name for name in tar.getnames() if newest.name in name]


def test_a_header_of_another_version_is_told(origin: Origin, elsewhere: Path) -> None:
    content = dataclasses.asdict(read_header(origin.folder / origin.finished.folder))  # type: ignore[arg-type]
    del content["cost_key"]
    from clipexp.bundle import _header

    (elsewhere / origin.finished.run_id).mkdir()
    (elsewhere / origin.finished.run_id / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"is not of this clipexp \(.*cost_key"):
        _header(elsewhere / origin.finished.run_id, Path("runs.tar"))
