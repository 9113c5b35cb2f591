"""The commands. Heavy imports stand inside their bodies, so that `clipexp --help` answers at once."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from clipexp.errors import ClipexpError, StoreError

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130

tracking_option = click.option(
    "--tracking-uri", metavar="URI", help="MLflow's store; else MLFLOW_TRACKING_URI, else mlruns/mlflow.db."
)
set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Amend the spec; repeatable.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Commands(click.Group):
    """Shows expected failures without a traceback, and exits with 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClipexpError as error:
            for line in str(error).splitlines():
                click.echo(f"{click.style('error:', fg='red', bold=True)} {line}", err=True)
            ctx.exit(EXIT_USER_ERROR)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order one needs them


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clipexp")
@click.pass_context
def main(ctx: click.Context) -> None:
    """A lab for CLIP: write an experiment as a spec, run it, watch it in MLflow, read what was learned."""
    if ctx.invoked_subcommand == "run":
        return  # which settles what others left when it knows what it is to run
    from clipexp.track.home import home

    if any(home().leases.glob("*.json")):
        from clipexp.settle import settle

        for line in settle():
            click.echo(line, err=True)


@main.command()
@click.argument("spec", type=click.Path(path_type=Path))
@set_option
@json_option
def check(spec: Path, overrides: Sequence[str], as_json: bool) -> None:
    """Show what SPEC comes to: every value and where it is from, and what it costs. Runs nothing."""
    from clipexp.preview import preview
    from clipexp.spec.load import load_spec

    found = preview(load_spec(spec, overrides))
    text = json.dumps(found.to_json(), indent=1) if as_json else found.to_text()
    click.echo(_with_spec_named(text, spec, overrides))


@main.group(cls=_Commands)
def data() -> None:
    """Prepare the pairs that experiments train on."""


@data.command()
@click.argument("spec", type=click.Path(path_type=Path))
@set_option
def prepare(spec: Path, overrides: Sequence[str]) -> None:
    """Prepare SPEC's data once, as a store that runs read. What is there already stays."""
    from clipexp.prepare_command import prepare_on_console
    from clipexp.spec.load import load_spec

    sys.exit(prepare_on_console(load_spec(spec, overrides).spec))


@data.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Hold every byte to its checksum.")
@json_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the figures; by default reports/inspect/NAME.")
@click.option("--num", type=int, metavar="N", help="Pictures on the contact sheet; by default 24.")
@click.option("--side", default="train", show_default=True, help="What to sample: train, val, test-...")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides which pairs.")
def inspect(store: Path, as_json: bool, **options: Any) -> None:
    """Tell what STORE (a folder, or the spec that names it) holds; draw a contact sheet and histograms."""
    from clipexp.inspect_command import inspect_on_console
    from clipexp.inspection import InspectOptions

    inspect_on_console(store, InspectOptions(**options), as_json=as_json)


class _Duration(click.ParamType[float]):
    """`90s`, `8m`, `1.5h`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        unit_s = {"s": 1, "m": 60, "h": 3600}.get(str(value)[-1:])
        try:
            seconds = float(str(value)[:-1]) * (unit_s or 0)
        except ValueError:
            seconds = 0
        if seconds <= 0:
            self.fail(f"{value!r} is no duration; write 90s, 8m or 1.5h", param, ctx)
        return seconds


@main.command()
@click.argument("spec", type=click.Path(path_type=Path))
@set_option
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="As --set train.device=...")
@click.option("--replicate", "num_replicates", type=click.IntRange(0), default=0, metavar="N", help="N further seeds.")
@click.option("--again", is_flag=True, help="Repeat a finished run with the same seed, and compare the bits.")
@click.option("--from-start", is_flag=True, help="Leave an unfinished run as it is, and begin another.")
@click.option(
    "--stop-after",
    "budget_s",
    type=_Duration(),
    metavar="TIME",
    help="Stop with a checkpoint after training for 8m, 2h.",
)
@click.option("--wait", is_flag=True, help="If another process runs this spec, wait for it, then go on.")
@click.option("--attach", is_flag=True, help="Show the output of the process that runs this spec.")
@tracking_option
def run(spec: Path, overrides: Sequence[str], device: str | None, tracking_uri: str | None, **options: Any) -> None:
    """Train SPEC, recording everything in MLflow. A run that was cut off goes on; a finished one says so."""
    from clipexp.spec.load import load_spec

    device_override = [f"train.device={device}"] if device else []
    resolved = load_spec(spec, [*overrides, *device_override])  # its errors come before torch is loaded
    from clipexp.run_command import RunOptions, run_on_console

    try:
        code = run_on_console(resolved, RunOptions(tracking_uri, **options))
    except StoreError as error:
        raise StoreError(_with_spec_named(str(error), spec, overrides)) from error
    except KeyboardInterrupt:
        click.echo("stopped at once; the same command goes on from the last checkpoint", err=True)
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _with_spec_named(text: str, spec: Path, overrides: Sequence[str]) -> str:
    """A message with the command that prepares this spec's data, ready to be pasted."""
    from clipexp.data.manifest import PREPARE

    settings = [word for override in overrides for word in ("--set", override)]
    return text.replace(PREPARE, PREPARE.replace("SPEC", shlex.join([str(spec), *settings])))


@main.group(cls=_Commands, invoke_without_command=True)
@json_option
@tracking_option
@click.option("--limit", default=20, show_default=True, help="How many rows the table shows; --json gives all.")
@click.pass_context
def runs(ctx: click.Context, as_json: bool, tracking_uri: str | None, limit: int) -> None:
    """List runs, newest first; below it: what one can do with what they left."""
    if ctx.invoked_subcommand is not None:
        return
    from clipexp.track import mlflow_store
    from clipexp.track.records import list_runs

    records = list_runs(mlflow_store.connect(mlflow_store.tracking_uri(tracking_uri)))
    if as_json:
        click.echo(json.dumps([record.listing() for record in records], indent=1))
        return
    if not records:
        click.echo("no runs yet; start one with: clipexp run experiments/quickstart.yaml")
        return
    from clipexp.runs_command import print_runs

    print_runs(records, limit)


@runs.command()
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path), help="A .csv or .parquet file; by default CSV to the screen.")
def points(run: str, out: Path | None) -> None:
    """Every point of RUN's curves, by its journal alone: MLflow may be gone."""
    from clipexp.runs_command import write_points

    write_points(run, out)


@runs.command()
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@json_option
def gc(dry_run: bool, as_json: bool) -> None:
    """Show and remove what can go: checkpoints that nothing needs, journals whose run is deleted, leftovers."""
    from clipexp.runs_command import clean

    clean(dry_run=dry_run, as_json=as_json)


@runs.command(name="export")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .tar to write.")
@click.option(
    "--checkpoints",
    type=click.Choice(["none", "best", "all"]),
    default="none",
    show_default=True,
    help="Which to take.",
)
@tracking_option
def export_runs(runs: Sequence[str], out: Path, checkpoints: str, tracking_uri: str | None) -> None:
    """Pack RUNs (journal, spec, artifacts) into one file, for another machine or database."""
    from clipexp.runs_command import export

    export(runs, out, checkpoints, tracking_uri)


@runs.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@tracking_option
def import_runs(files: Sequence[Path], tracking_uri: str | None) -> None:
    """Take in the runs of exported FILEs; those that are here already stay as they are."""
    from clipexp.runs_command import import_files

    import_files(files, tracking_uri)


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@set_option
@click.option("--dry-run", is_flag=True, help="Check everything, show the plan and the first trials; start nothing.")
@click.option("--workers", "num_workers", type=click.IntRange(1), metavar="N", help="By default one a GPU, else one.")
@click.option("--as", "name", metavar="NAME", help="Another name for the study.")
@click.option("--storage", metavar="URI", help="postgresql://...; else an Optuna journal file in mlruns/studies/NAME.")
@click.option("--extend", metavar="topK", help="Have the best K trials go on, as a linked study; with --budget.")
@click.option(
    "--budget", "horizon", metavar="SAMPLES", help="What --extend trains to: samples in all, or a factor (4x)."
)
@tracking_option
def sweep(study: Path, overrides: Sequence[str], tracking_uri: str | None, **options: Any) -> None:
    """Search the settings of STUDY with Optuna, then report. A study that was cut off goes on."""
    from clipexp.study.plan import PlanOptions
    from clipexp.sweep_command import SweepOptions, sweep_on_console

    plan = PlanOptions(options.pop("storage"), options.pop("num_workers"), tracking_uri)
    sys.exit(sweep_on_console(study, SweepOptions(overrides, plan=plan, **options)))


@main.command()
@click.argument("study", required=False)
@click.option("--storage", metavar="URI", help="As `clipexp sweep --storage`.")
@click.option("--port", type=int, help="Port on loopback; by default 8080 or a free one.")
@click.option("--open/--no-open", "open_browser", default=False, help="Open the page in a browser.")
def dashboard(study: str | None, storage: str | None, port: int | None, open_browser: bool) -> None:
    """Show STUDY (a name or its file; by default the last one) in Optuna's dashboard, with notes and plots."""
    from clipexp.dashboard_command import show_dashboard

    show_dashboard(study, storage, port, open_browser)


@main.command()
def sync() -> None:
    """Deliver what MLflow is owed: points, artifacts and statuses of runs whose store was away."""
    from clipexp.sync import sync as deliver

    is_complete = True
    for line, was_delivered in deliver():
        click.echo(line)
        is_complete = is_complete and was_delivered
    sys.exit(0 if is_complete else EXIT_USER_ERROR)


@main.command()
@click.argument("subjects", nargs=-1, metavar="RUN|GROUP|STUDY...")
@click.option("--name", help="Folder below reports/; by default the runs' names.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
@click.option("--redraw", is_flag=True, help="Draw reports/NAME again from its own data folder; takes --name alone.")
@click.option("--verify", is_flag=True, help="Compute every number of reports/NAME again; exits with 4 if one differs.")
@click.option("--against-db", is_flag=True, help="Hold the data of reports/NAME to MLflow and the journals as well.")
@click.option("--html", is_flag=True, help="Also write one interactive page, reports/NAME/report.html.")
@click.option("--follow", is_flag=True, help="Write it again while a run goes on, until Ctrl-C.")
@click.option("--force", is_flag=True, help="Write over a report that somebody edited.")
@tracking_option
def report(subjects: Sequence[str], tracking_uri: str | None, **options: Any) -> None:
    """Write reports/NAME/report.md on RUNs (an id, the start of one, a name), GROUPs (all seeds of a spec), or a STUDY.

    With --verify or --against-db: check one that is there, given as its folder.
    """
    from clipexp.report_command import ReportOptions, report_on_console

    sys.exit(report_on_console(list(subjects), ReportOptions(tracking=tracking_uri, **options)))


@main.command()
@click.argument("run", required=False)
@click.option("--curves", type=click.Path(path_type=Path), metavar="FOLDER", help="Score a folder of labelled curves.")
@json_option
@tracking_option
def findings(run: str | None, curves: Path | None, as_json: bool, tracking_uri: str | None) -> None:
    """Say what RUN's curves show, with the evidence and what to try; or score the rules on your own curves."""
    from clipexp.findings_command import findings_on_console

    findings_on_console(run, curves, as_json, tracking_uri)


@main.command()
@click.argument("first")
@click.argument("second")
@json_option
@tracking_option
def diff(first: str, second: str, as_json: bool, tracking_uri: str | None) -> None:
    """Hold two runs side by side: specs, curves, findings, environment, code, and whether they can be compared."""
    from clipexp.diff_command import diff_on_console

    diff_on_console(first, second, as_json, tracking_uri)


@main.command()
@click.argument("run")
@click.argument("text")
@tracking_option
def note(run: str, text: str, tracking_uri: str | None) -> None:
    """Keep a note TEXT with RUN; it is shown in its reports."""
    import datetime

    from clipexp.track import mlflow_store, records

    if not text.strip():
        raise ClipexpError("the note is empty; give a text: clipexp note RUN 'grad norms are still high'")
    client = mlflow_store.connect(mlflow_store.tracking_uri(tracking_uri))
    run_id = records.find_run(client, run)
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    records.add_note(client, run_id, records.Note(time, text))
    click.echo(f"noted with run {run_id}")


@main.command()
@click.option("--port", type=int, help="Port on loopback; by default a free one from 5000 on.")
@click.option("--open/--no-open", "open_browser", default=False, help="Open the page in a browser.")
@tracking_option
def ui(port: int | None, open_browser: bool, tracking_uri: str | None) -> None:
    """Show runs in MLflow's UI, at the right page. A bare `mlflow ui` here would open an empty store."""
    from clipexp.ui import serve

    serve(port, open_browser, tracking_uri)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Tell what this machine has, and what is missing and how to get it."""
    from clipexp.doctor import diagnose

    findings = diagnose()
    if as_json:
        click.echo(json.dumps([finding.to_json() for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(finding.line())
    sys.exit(EXIT_USER_ERROR if any(finding.state == "missing" for finding in findings) else 0)


def entry() -> None:
    """The console command. A reader that closes the pipe early, such as `head`, is no error."""
    try:
        main()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
