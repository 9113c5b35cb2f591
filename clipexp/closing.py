"""What an ended attempt at a run leaves: summary and findings, and figures, examples and logs that MLflow shall have.

    problems = close_out(header)

All of it follows from what lies on the disk, so it can be done again, by another process too, where a kill came
between.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable

import numpy as np

from clipexp.data.store import Store
from clipexp.errors import StoreError
from clipexp.plots.artifacts import EXAMPLES, PLOTS, write_plots, write_run_examples
from clipexp.spec.run import RunSpec
from clipexp.track.checkpoint_names import newest
from clipexp.track.delivery import FINDINGS_FILE, publishing
from clipexp.track.header import RunHeader
from clipexp.track.home import home
from clipexp.track.journal import CONSOLE_FILE, end_reason, faults, last_examples, last_strips, pack, points
from clipexp.track.kept import write_kept
from clipexp.track.mlflow_store import first_line
from clipexp.track.records import STORE_CHECKSUM_TAG
from clipexp.track.summary import RunSummary, read_summary

SCORES, STRIPS_FILE = "scores", "strips.json"


def close_out(header: RunHeader) -> list[str]:
    """Leave summary, findings, figures, examples and console log; returns what can't be made, and why.

    Raises:
        OSError: something could not be written, after all the rest was. Do it again when it can.
    """
    problems = []
    unwritten: OSError | None = None
    steps: tuple[Callable[[RunHeader], None], ...] = (_plots, _examples, _scores, _findings, _console_log, _summary)
    for step in steps:
        try:
            step(header)
        except OSError as error:
            unwritten = error
        except Exception as error:  # noqa: BLE001 (a figure that can't be drawn must not keep a run from its end)
            problems.append(f"{step.__name__.strip('_').replace('_', ' ')} of run {header.run_id}: {first_line(error)}")
    if unwritten is not None:
        raise unwritten
    return problems


def pack_if_finished(header: RunHeader) -> None:
    """Pack the journal of a run that will not go on. Raises OSError where there is no room; it stays as it was then."""
    if end_reason(header.folder) == "finished":
        pack(header.folder)


def _summary(header: RunHeader) -> None:
    last = newest(home().checkpoints / header.run_id)
    before = read_summary(header.folder)
    digest = before.weights_sha256 if before else ""  # stands where the checkpoint is gone by now
    if last is not None:
        from clipexp.train.checkpoint import final_digest

        digest = final_digest(last)
    RunSummary.of(header, digest).write(header.folder)


def _plots(header: RunHeader) -> None:
    if curves := points(header.folder):
        with publishing(header, PLOTS) as folder:
            write_plots(folder, header.name, curves)


def _examples(header: RunHeader) -> None:
    examples = last_examples(header.folder)
    rows = sorted({row for e in examples for row in (e.target_idx, *e.found_idx)})
    if not rows:
        return
    spec = RunSpec.model_validate(dict(header.spec))
    store = Store(home().root.parent / spec.data.store)
    if store.manifest.checksum != header.tags[STORE_CHECKSUM_TAG]:
        raise StoreError(f"{spec.data.store} is another set by now")
    table = store.table("val", spec.data.tokenizer, spec.model.context_length)
    pictures = dict(zip(rows, table.pixels(np.array(rows)), strict=True))
    credit = f"{store.manifest.attribution} Licence: {store.manifest.licence}."
    with publishing(header, EXAMPLES) as folder:
        write_run_examples(folder, examples, pictures, credit.strip())


def _scores(header: RunHeader) -> None:
    samples_seen, strips = last_strips(header.folder)
    if strips:
        with publishing(header, SCORES) as folder:
            (folder / STRIPS_FILE).write_text(json.dumps({"samples_seen": samples_seen, "strips": strips}) + "\n")


def _findings(header: RunHeader) -> None:
    from clipexp.findings import facts_of, find

    facts = facts_of(header, faults(header.folder), last_strips(header.folder)[1])
    found = [dataclasses.asdict(finding) for finding in find(points(header.folder), facts)]
    write_kept(header.folder / FINDINGS_FILE, {"findings": json.loads(json.dumps(found))})  # as it reads back


def _console_log(header: RunHeader) -> None:
    log = header.folder / CONSOLE_FILE
    if log.exists():
        with publishing(header, "console") as folder:
            shutil.copyfile(log, folder / CONSOLE_FILE)
