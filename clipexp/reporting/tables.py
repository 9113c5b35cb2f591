"""Markdown tables over runs: what differs between them, and what came out.

runs_table(ledger, evidence.rows)   # a block's text, every number of it in the ledger
"""

from collections.abc import Sequence

from clipexp.reporting.analysis import loss_metric
from clipexp.reporting.evidence import RunEvidence
from clipexp.reporting.proof import RunsLedger
from clipexp.reporting.sources import escape
from clipexp.track.records import RunRecord

__all__ = ["RECALLS", "escape", "markdown_table", "runs_table", "setting", "shown_settings"]
# The settings that the lab's first tables showed; they stand in every table, whether they differ or not.
CORE_SETTINGS = ("train.batch_size", "optim.max_lr", "schedule.warmup_frac")
# Settings that say where things lie or how often to look, not what is trained.
UNSHOWN = ("data.store", "data.path", "train.budget.", "train.device", "train.keep", "evals.num_examples")
UNSHOWN_ENDS = ("_every_samples",)
MAX_SETTINGS = 12  # columns; a spec has some 70
RECALLS = (
    ("text_to_image", "text to image"),
    ("image_to_text", "image to text"),
)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], num_left: int = 1) -> str:
    """A table; the first `num_left` columns are aligned left, the rest right."""
    rule = ["---"] * num_left + ["---:"] * (len(header) - num_left)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def runs_table(ledger: RunsLedger, runs: Sequence[RunEvidence], settings: Sequence[str]) -> str:
    """One row a run: the settings, how far it came, and the results."""
    header = ["run", "epochs", *(_column(key, settings) for key in settings), "val_loss"]
    header += [f"recall@1 {words}" for _, words in RECALLS]
    rows = []
    for run in runs:
        metric = loss_metric(run.record) or "train/loss"
        row = [ledger.of_run(run, "field", "label"), ledger.of_run(run, "epoch", "last", metric, form=".3g")]
        row += [setting(ledger, run, key) for key in settings]
        rows.append([*row, loss_cell(ledger, run), *(recall_cell(ledger, run, way) for way, _ in RECALLS)])
    return markdown_table(header, rows)


def _column(key: str, settings: Sequence[str]) -> str:
    """A setting's name without its section, where that is enough to tell it."""
    short = key.split(".", 1)[-1]
    return escape(short if [other.split(".", 1)[-1] for other in settings].count(short) == 1 else key)


def shown_settings(records: Sequence[RunRecord]) -> list[str]:
    """Params to show: the core ones, and all others in which the runs differ.

    Where runs are of different kinds (of source, say), the keys that only some kinds have are left out.
    """
    keys = sorted(set.intersection(*(set(record.params) for record in records)))
    differing = [
        key
        for key in keys
        if len({record.params.get(key) for record in records}) > 1
        and not key.startswith(UNSHOWN)
        and not key.endswith(UNSHOWN_ENDS)
    ]
    return [*CORE_SETTINGS, *(key for key in differing if key not in CORE_SETTINGS)]


def setting(ledger: RunsLedger, run: RunEvidence, key: str) -> str:
    """A param as people write it: shares in percent, small numbers in scientific notation."""
    return ledger.of_run(run, "param", key, form="percent" if key.endswith("_frac") else "sci")


def loss_cell(ledger: RunsLedger, run: RunEvidence) -> str:
    """The last validation loss, with its block's size where that is not 1,024, and the status of a run not finished."""
    metric, is_finished = loss_metric(run.record), run.record.status == "FINISHED"
    status = "" if is_finished else f" ({ledger.of_run(run, 'field', 'status')})"
    if metric is None:
        return f"none{status}"
    value = ledger.of_run(run, "last", metric, form=".3f")
    is_usual = metric == "val/loss"
    block = "" if is_usual else f" (blocks of {ledger.of_run(run, 'last', 'val/block_size', form=',d')})"
    return f"{value}{block}{status}"


def recall_cell(ledger: RunsLedger, run: RunEvidence, way: str) -> str:
    """Recall@1 in percent, and how many pairs it was among."""
    metric = f"val/{way}_recall_at_1"
    if metric not in run.record.final or "val/num_pairs" not in run.record.final:
        return "–"
    value = ledger.of_run(run, "last", metric, form=".1%")
    return f"{value} of {ledger.of_run(run, 'last', 'val/num_pairs', form=',d')}"
