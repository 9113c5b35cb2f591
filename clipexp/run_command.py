"""`clipexp run` on the console."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.console import RunConsole, checking_progress, end_lines, make_console, show_panel
from clipexp.data.manifest import data_checksum
from clipexp.errors import ClipexpError, RunError
from clipexp.events import EndEvent, StopReason
from clipexp.launch import LaunchOptions, first_finished
from clipexp.repeats import compare_bits, group_of, spread, with_seed
from clipexp.runner import Execution, start
from clipexp.space import mb, room_bytes
from clipexp.spec.load import ResolvedRun
from clipexp.spec.run import spec_hash
from clipexp.track.checkpoint_names import newest, samples_seen_at
from clipexp.track.delivery import FINDINGS_FILE
from clipexp.track.home import home
from clipexp.track.journal import CONSOLE_FILE, active_seconds, points
from clipexp.track.kept import read_kept
from clipexp.track.lease import HeldError, Holder, holder, is_held

if TYPE_CHECKING:
    from rich.console import Console

EXIT_STOPPED, EXIT_DIFFERS, EXIT_INTERRUPTED = 3, 4, 130
LOOK_EVERY_S = 0.5
STARTING_S = 5.0
LINES_SHOWN = 20  # of what was said before one attached


@dataclass(frozen=True)
class RunOptions:
    """What `clipexp run` is asked for beside the spec; see its help."""

    tracking: str | None = None
    num_replicates: int = 0
    again: bool = False
    from_start: bool = False
    wait: bool = False
    attach: bool = False
    budget_s: float | None = None


def run_on_console(resolved: ResolvedRun, options: RunOptions) -> int:
    """Carry out a run, and what further runs are asked for, before a person's eyes; returns the exit code."""
    console = make_console()
    if options.attach:
        return _attach(console, resolved)
    if options.again and options.num_replicates:
        raise RunError("--again repeats one seed and --replicate runs others; give one of the two")
    until_s = None if options.budget_s is None else time.monotonic() + options.budget_s
    execution, code = _run_one(console, resolved, options)
    for seed in range(resolved.spec.seed + 1, resolved.spec.seed + 1 + options.num_replicates):
        if code:
            return code
        console.print()
        left_s = None if until_s is None else max(0.0, until_s - time.monotonic())  # one time for all of them
        _, code = _run_one(console, with_seed(resolved, seed), replace(options, budget_s=left_s))
    if code:
        return code
    if options.num_replicates:
        _show_group(console, execution)
    if options.again:
        repeated = first_finished(execution.header.spec_hash, execution.header.store)
        comparison = compare_bits(execution.header, repeated)
        show_panel(console, [f"held against run {repeated.run_id[:8]}", *(f"  {line}" for line in comparison.lines())])
        return 0 if comparison.is_same else EXIT_DIFFERS
    return 0


def _run_one(console: "Console", resolved: ResolvedRun, options: RunOptions) -> tuple[Execution, int]:
    """One run to its end; its exit code is 0 if it is finished."""
    execution = _start(console, resolved, options)
    header = execution.header
    run_id = header.run_id
    if execution.is_finished:
        if options.from_start:
            raise RunError(
                f"run {run_id[:8]} is finished; --from-start is for unfinished ones, --again repeats this one"
            )
        for note in execution.launch.notes:
            console.print(note, markup=False, soft_wrap=True)
        title = f"this spec is finished already, as {header.name} (run {run_id[:8]}, spec {header.spec_hash})"
        hint = "    # --replicate N runs N further seeds, --again this one once more to compare the bits"
        lines = end_lines(title, result_rows(execution), next_commands(run_id), finding_lines(header.folder))
        show_panel(console, [*lines, hint])
        if line := execution.deliver_owed():
            console.print(line, markup=False, soft_wrap=True)
        return execution, 0
    reason = _carry_out(console, execution)
    title = f"{header.name}: {reason} (run {run_id[:8]})"
    if reason == "finished":
        found = finding_lines(header.folder)
        show_panel(console, end_lines(title, result_rows(execution), next_commands(run_id), found))
        return execution, 0
    found = [f"  {line}" for line in finding_lines(header.folder)]
    show_panel(console, [title, *found, f"  the same command {_outlook(run_id)}"])
    return execution, EXIT_INTERRUPTED if reason == "interrupted" else EXIT_STOPPED


def _outlook(run_id: str) -> str:
    """What becomes of a run that is started again."""
    last = newest(home().checkpoints / run_id)
    return f"goes on from its checkpoint at {samples_seen_at(last):,} samples" if last else "begins it anew"


def _start(console: "Console", resolved: ResolvedRun, options: RunOptions) -> Execution:
    """Start it, waiting for another process that carries it out where that is asked for."""
    while True:
        try:
            with checking_progress(console, resolved.spec.data.store) as report:
                launch_options = LaunchOptions(options.again, options.from_start, report=report)
                return start(resolved, options.tracking, launch_options, budget_s=options.budget_s)
        except HeldError as error:
            if not options.wait:
                raise
            console.print(f"waits for {error.holder or 'another process'}", markup=False, soft_wrap=True)
            while is_held(error.spec_hash):
                time.sleep(LOOK_EVERY_S)


def _carry_out(console: "Console", execution: Execution) -> StopReason:
    launch, header = execution.launch, execution.header
    reason: StopReason = "interrupted"
    with RunConsole(console, launch.total_samples, launch.resumed_at, header.folder / CONSOLE_FILE) as shown:
        for line in _first_lines(execution):
            shown.say(line)
        trouble = ""
        try:
            for event in execution.events():
                shown.show(event)
                if bool(execution.trouble) != bool(trouble):
                    shown.say(_trouble_line(execution.trouble))
                trouble = execution.trouble
                if isinstance(event, EndEvent):
                    reason = event.reason
        except ClipexpError:
            for line in finding_lines(header.folder):
                shown.say(line)
            raise
        finally:
            for problem in execution.problems:
                shown.say(problem)
    return reason


def _first_lines(execution: Execution) -> list[str]:
    launch, header = execution.launch, execution.header
    spec = launch.spec
    lines = [
        *launch.notes,
        f"{header.name}: run {header.run_id[:8]}, spec {header.spec_hash}, on {launch.device}",
        f"{launch.inputs.manifest.num_train:,} training pairs, {launch.total_samples:,} samples"
        f" in batches of {spec.train.batch_size:,}; will take up to {mb(room_bytes(spec))} of disk",
    ]
    if launch.parent:
        lines.append(f"goes on from run {launch.parent[:8]} at {launch.resumed_at:,} samples")
    elif launch.state is not None:
        lines.append(f"resumes from its checkpoint at {launch.resumed_at:,} samples")
    return lines


def _trouble_line(trouble: str) -> str:
    if trouble:
        return f"MLFLOW DOES NOT TAKE what it is sent ({trouble}); the journal keeps it all, training goes on"
    return "MLflow answers again, and gets what it is owed"


def _attach(console: "Console", resolved: ResolvedRun) -> int:
    """Show the output of the process that carries out this spec, until it ends; Ctrl-C leaves it running."""
    spec = resolved.spec
    identity = spec_hash(spec, data_checksum(spec.data, spec.model.context_length))
    until_s = time.monotonic() + STARTING_S
    while (held := holder(identity)) is None and is_held(identity) and time.monotonic() < until_s:
        time.sleep(LOOK_EVERY_S / 10)  # it is only just starting: it holds the spec, and is about to say who it is
    if held is None or not is_held(identity):
        raise RunError(f"nobody is running spec {identity} here; leave --attach out to run it")
    console.print(f"attached to {held}; Ctrl-C leaves it running", markup=False, soft_wrap=True)
    try:
        _follow(console, held)
    except KeyboardInterrupt:
        console.print("left; it goes on")
    return 0


def _follow(console: "Console", held: Holder) -> None:
    log: Path | None = None
    position = 0
    is_over = False
    while not is_over:
        is_over = not is_held(held.spec_hash)  # before the last look, so that nothing of it is missed
        found = holder(held.spec_hash)
        if log is None and found is not None and found.run_id:
            log = home().journals / found.run_id / CONSOLE_FILE
            position = _last_lines_from(log)
        if log is not None and log.exists():
            with log.open("rb") as file:
                file.seek(position)
                text = file.read()
            position += len(text)
            if text:
                console.print(text.decode(errors="replace").rstrip("\n"), markup=False, soft_wrap=True)
        if not is_over:
            time.sleep(LOOK_EVERY_S)


def _last_lines_from(log: Path) -> int:
    """Where the last lines of a log begin, in bytes."""
    content = log.read_bytes() if log.exists() else b""
    return len(content) - sum(map(len, content.splitlines(keepends=True)[-LINES_SHOWN:]))


def _show_group(console: "Console", execution: Execution) -> None:
    """The runs that differ in their seed alone: each one's result, then mean and standard deviation."""
    group = group_of(execution.header)
    if not group:
        return  # no summary could be written; what is wrong was told
    finals = [{name: series[-1].value for name, series in points(h.folder).items()} for h in group]
    shown = [name for name in sorted(finals[0]) if name.startswith("val/loss") or name.endswith("recall_at_1")]
    shown = [name for name in shown if "chance" not in name and all(name in final for final in finals)]
    rows = [
        (f"seed {header.params['seed']} ({header.run_id[:8]})", "  ".join(f"{n} {final[n]:.4f}" for n in shown))
        for header, final in zip(group, finals, strict=True)
    ]
    for metric in shown:
        mean, deviation = spread(finals, metric)
        spread_words = f" ± {deviation:.4f} (standard deviation, {len(finals)} seeds)" if deviation is not None else ""
        rows.append((metric, f"{mean:.4f}{spread_words}"))
    ids = " ".join(header.run_id[:8] for header in group)
    title = f"group {execution.header.tags['clipexp.group']}: {len(group)} seeds of one spec"
    show_panel(console, end_lines(title, rows, [f"clipexp report {ids} --name {execution.launch.spec.name}-seeds"]))


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
    rows.append(("took", f"{active_seconds(execution.header.folder):.0f} s"))
    return rows


def finding_lines(folder: Path) -> list[str]:
    """What was found in a run's curves when it ended, the most severe first, with what to try."""
    lines = []
    for found in read_kept(folder / FINDINGS_FILE).get("findings", []):
        lines.append(f"{found['severity']}: {found['claim']}")
        settings = " ".join(f"--set {setting}" for setting in found["settings"])
        lines += [f"  {found['remedy']}" + (f" ({settings})" if settings else "")] if found["remedy"] else []
    return lines


def next_commands(run_id: str) -> Sequence[str]:
    """What a person may want to do with a finished run."""
    short = run_id[:8]
    meaning_by_command = {
        f"clipexp report {short}": "reports/NAME/report.md, with the loss plot",
        "clipexp ui": "the run in MLflow",
        f'clipexp note {short} "what I saw"': "kept with the run, shown in its report",
    }
    width = max(map(len, meaning_by_command))
    return [f"{command:<{width}}  # {meaning}" for command, meaning in meaning_by_command.items()]
