"""`clipexp run` and `clipexp runs` on the console."""

import datetime
from collections.abc import Sequence

from clipexp.console import RunConsole, end_lines, make_console, show_panel
from clipexp.events import EndEvent
from clipexp.runner import Execution, start
from clipexp.spec.load import ResolvedRun
from clipexp.track.journal import CONSOLE_FILE, active_seconds, num_unreadable_lines
from clipexp.track.records import TOTAL_SAMPLES_TAG, RunRecord, headline_metrics

EXIT_INTERRUPTED = 130
BLOCK_SIZE = 1024  # of the frozen validation, where the set has that many pairs


def run_on_console(resolved: ResolvedRun, tracking: str | None) -> int:
    """Carry out a run before a person's eyes; returns the exit code."""
    console = make_console()
    execution = start(resolved, tracking)
    spec, run_id = execution.spec, execution.run_id
    if execution.is_finished:
        title = f"this spec is finished already, as {execution.name} (run {run_id[:8]}, spec {execution.spec_hash})"
        hint = "    # another seed gives a replicate: --set seed=1"
        show_panel(console, [*end_lines(title, result_rows(execution), next_commands(run_id)), hint])
        return 0
    reason = ""
    log_file = execution.journal_folder / CONSOLE_FILE
    with RunConsole(console, execution.total_samples, execution.resumed_at, log_file) as shown:
        shown.say(f"{spec.name}: run {run_id[:8]}, spec {execution.spec_hash}, on {execution.device}")
        shown.say(
            f"{execution.manifest.num_train:,} training pairs, {execution.total_samples:,} samples"
            f" in batches of {spec.train.batch_size:,}"
        )
        if execution.resumed_at:
            shown.say(f"resumes from its checkpoint at {execution.resumed_at:,} samples")
        if unreadable := num_unreadable_lines(execution.journal_folder):
            shown.say(f"{unreadable} line(s) of its journal were cut short by a kill and are left out")
        for event in execution.events():
            shown.show(event)
            if isinstance(event, EndEvent):
                reason = event.reason
    for missing in execution.undelivered:
        console.print(f"NOT DELIVERED to MLflow: {missing}; the journal {execution.journal_folder} has all points")
    title = f"{spec.name}: {reason} (run {run_id[:8]})"
    if reason == "interrupted":
        lines = [title, "  a checkpoint was written; the same command resumes from it"]
        show_panel(console, lines)
        return EXIT_INTERRUPTED
    show_panel(console, end_lines(title, result_rows(execution), next_commands(run_id)))
    return 0


def result_rows(execution: Execution) -> list[tuple[str, str]]:
    """A finished run's result, as names and values, by its journal: MLflow may be gone."""
    final = execution.final()
    if "val/num_pairs" not in final:
        return [("validation", "none was recorded")]
    losses = [name for name in sorted(final) if name.startswith("val/loss")]
    rows = [(name, f"{final[name]:.3f} (chance {final['val/chance_loss']:.2f})") for name in losses]
    chance = final["val/chance_recall_at_1"]
    for way in ("text_to_image", "image_to_text"):
        values = " / ".join(f"{final[f'val/{way}_recall_at_{k}']:.1%}" for k in (1, 5, 10))
        rows.append((f"recall@1/5/10 {way.replace('_', ' ')}", f"{values} (chance at 1: {chance:.2%})"))
    rows.append(("among", f"{final['val/num_pairs']:,.0f} validation pairs"))
    rows.append(("took", f"{active_seconds(execution.journal_folder):.0f} s"))
    return rows


def next_commands(run_id: str) -> list[str]:
    """What a person may want to do with a finished run."""
    short = run_id[:8]
    meaning_by_command = {
        f"clipexp report {short}": "reports/NAME/report.md, with the loss plot",
        "clipexp ui": "the run in MLflow",
        f'clipexp note {short} "what I saw"': "kept with the run, shown in its report",
    }
    width = max(map(len, meaning_by_command))
    return [f"{command:<{width}}  # {meaning}" for command, meaning in meaning_by_command.items()]


def print_runs(records: Sequence[RunRecord], limit: int) -> None:
    """A table of runs."""
    from rich.table import Table

    console = make_console()
    table = Table(box=None, pad_edge=False)
    for column in ("run", "name", "status", "started"):
        table.add_column(column, no_wrap=column != "name")
    for column in ("seed", "samples", "val loss", "recall@1 t2i", "recall@1 i2t", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records[:limit]:
        final = record.final
        loss = next((final[name] for name in headline_metrics([record])), None)
        block = final.get("val/block_size", BLOCK_SIZE)
        samples = record.tags.get(TOTAL_SAMPLES_TAG)
        recalls = [final.get(f"val/{way}_recall_at_1") for way in ("text_to_image", "image_to_text")]
        started = datetime.datetime.fromtimestamp(record.started_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(
            record.run_id[:8],
            record.name,
            record.status,
            started,
            str(record.seed),
            f"{int(samples):,}" if samples else "",
            "" if loss is None else f"{loss:.3f}" + ("" if block == BLOCK_SIZE else f" /{block:.0f}"),
            *("" if value is None else f"{value:.1%}" for value in recalls),
            "" if record.duration_s is None else f"{record.duration_s:.0f}",
        )
    console.print(table)
    if any(record.final.get("val/block_size", BLOCK_SIZE) != BLOCK_SIZE for record in records[:limit]):
        console.print("a loss followed by /N is over blocks of N pairs, others over 1,024: not to be compared")
    if len(records) > limit:
        console.print(f"{len(records) - limit} more; see --limit")
