"""Markdown tables over runs: what differs between them, and what came out.

runs_table(evidence.runs)
"""

import re
from collections.abc import Sequence

from clipexp.plots.artifacts import headline
from clipexp.reporting.evidence import RunEvidence
from clipexp.track.curves import Point
from clipexp.track.records import RunRecord

# The settings that the lab's first tables showed; they stand in every table, whether they differ or not.
CORE_SETTINGS = ("train.batch_size", "optim.max_lr", "schedule.warmup_frac")
# Settings that say where things lie or how often to look, not what is trained.
UNSHOWN = ("data.store", "data.path", "train.budget.", "train.device", "train.keep", "evals.num_examples")
UNSHOWN_ENDS = ("_every_samples",)
# What would be read as markup: an underscore only at a word's edge.
_SPECIAL = re.compile(r"[&<>|*`~\\\[\]]|(?<!\w)_|_(?!\w)")
RECALLS = (
    ("text_to_image", "text to image"),
    ("image_to_text", "image to text"),
)


def escape(text: str) -> str:
    """A text that markdown and HTML show as it is, on one line."""
    return " ".join(_SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text).split())


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], num_left: int = 1) -> str:
    """A table; the first `num_left` columns are aligned left, the rest right."""
    rule = ["---"] * num_left + ["---:"] * (len(header) - num_left)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def runs_table(runs: Sequence[RunEvidence]) -> str:
    """One row a run: the core settings, what else differs, and the results."""
    settings = shown_settings([run.record for run in runs])
    header = ["run", "epochs", *(setting.split(".", 1)[-1] for setting in settings), "val_loss"]
    header += [f"recall@1 {words}" for _, words in RECALLS]
    rows = []
    for run in runs:
        record = run.record
        end = last_point(record)
        values = [setting_value(record, setting) for setting in settings]
        row = [escape(record.name), f"{end.epoch:.3g}" if end else "–", *values, loss_cell(record)]
        rows.append([*row, *(recall_cell(record, way) for way, _ in RECALLS)])
    return markdown_table(header, rows)


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


def setting_value(record: RunRecord, setting: str) -> str:
    """A param as people write it: shares in percent, small numbers in scientific notation."""
    text = record.params.get(setting)
    if text is None or text == "None":
        return "–"
    try:
        number = float(text)
    except ValueError:
        return escape(text)
    if setting.endswith("_frac"):
        return f"{number:.3g}%" if number == 0 else f"{100 * number:.3g}%"
    if number != 0 and abs(number) < 0.01:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{int(number):,}" if number.is_integer() else f"{number:g}"


def last_point(record: RunRecord) -> Point | None:
    """The last validation's loss, with its epoch; None for a run without one."""
    series = record.curves.get(headline(record.curves)[0], ())
    return series[-1] if series else None


def loss_cell(record: RunRecord) -> str:
    """The last validation loss, with its block's size where that is not 1,024, and the status of a run not finished."""
    end = last_point(record)
    if end is None:
        return f"none ({record.status})"
    name = headline(record.curves)[0]
    block = f" (blocks of {name.rsplit('_', 1)[-1]})" if name != "val/loss" else ""
    return f"{end.value:.3f}{block}" + ("" if record.status == "FINISHED" else f" ({record.status})")


def recall_cell(record: RunRecord, way: str) -> str:
    """Recall@1 in percent, and how many pairs it was among."""
    value, pairs = record.final.get(f"val/{way}_recall_at_1"), record.final.get("val/num_pairs")
    return "–" if value is None or pairs is None else f"{value:.1%} of {pairs:,.0f}"
