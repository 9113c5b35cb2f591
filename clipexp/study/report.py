"""A study's report: markdown, figures and the best settings as an experiment, drawn from its data folder alone.

    write_study_report(evidence, Path("reports/quick"))  # reports/quick/report.md
    redraw_study_report(Path("reports/quick"))           # the same bytes, from reports/quick/data

What it may conclude is in `insight`; here it is put into words.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipexp.errors import ReportError
from clipexp.reporting.tables import escape, markdown_table
from clipexp.spec.study import ChoiceDim, Dim
from clipexp.spec.yaml_lines import dump
from clipexp.study import insight
from clipexp.study.drawing import show
from clipexp.study.evidence import StudyEvidence, TrialRow, read_evidence, write_evidence
from clipexp.study.figures import FIGURES
from clipexp.study.learned import learned

DATA, FIGURES_FOLDER, REPORT_FILE, BEST_FILE = "data", "figures", "report.md", "best.yaml"
MAX_ROWS = 20
STATES = ("finished", "pruned", "infeasible", "failed", "unfinished")


def write_study_report(evidence: StudyEvidence, folder: Path) -> Path:
    """Write a study's report into its own folder, `reports/NAME`, over what is there of an earlier one.

    Returns:
        The path of its report.md.

    Raises:
        ReportError: the folder can't be written.
    """
    try:
        write_evidence(folder / DATA, evidence)
        files = render_study(evidence)
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            tmp = target.with_name(f"{target.name}.tmp")
            tmp.write_bytes(content)
            tmp.replace(target)
        for stale in (folder / FIGURES_FOLDER).glob("*"):
            if f"{FIGURES_FOLDER}/{stale.name}" not in files:
                stale.unlink()
        if BEST_FILE not in files:
            (folder / BEST_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"can't write the report {folder} ({error.strerror}); see --out") from error
    return folder / REPORT_FILE


def redraw_study_report(folder: Path) -> Path:
    """Draw a study's report again from its data folder. Raises ReportError where that is missing or damaged."""
    return write_study_report(read_evidence(folder / DATA), folder)


def render_study(evidence: StudyEvidence) -> dict[str, bytes]:
    """All files of a report but its data, by their path in the report's folder."""
    files: dict[str, bytes] = {}
    best = insight.best_run(evidence)
    if best is not None:
        files[BEST_FILE] = _best_yaml(evidence, best.spec.model_dump(mode="json")).encode()
    sections = [
        _head(evidence),
        summary(evidence),
        _hypothesis(evidence),
        _confirmation(evidence),
        "## Trials",
        _trials_table(evidence),
        _figures(evidence, files),
        "## What the trials tell of the space",
        "\n".join(f"- {line}" for line in learned(evidence)),
        "## What to search next",
        _next(evidence),
        _best_settings(evidence),
        "## How it was made",
        _making(evidence),
    ]
    files[REPORT_FILE] = ("\n\n".join(section for section in sections if section) + "\n").encode()
    return files


def _head(evidence: StudyEvidence) -> str:
    command = evidence.making.command
    return (
        f"# {escape(evidence.name)}\n\n"
        f"<!-- Written by: {command}. Drawn again from data/ by: clipexp report --redraw --name {evidence.name} -->"
    )


def summary(evidence: StudyEvidence) -> str:
    """One paragraph: what was searched, the best settings, and what it took."""
    columns = list(evidence.columns().values())
    metric, totals = evidence.spec.objective.metric, evidence.totals
    names = " and ".join([", ".join(columns[:-1]), columns[-1]] if len(columns) > 1 else columns)
    best = insight.best_trial(evidence)
    took = (
        f"The study took {len(evidence.trials)} trials ({_counts(evidence)}), {totals.num_samples:,} samples,"
        f" {hours(totals.compute_hours)} of training and {hours(totals.wall_hours)} of wall time"
        f" on {escape(totals.device) or 'an unnamed device'}."
    )
    which = "lowest" if evidence.is_minimized else "highest"
    question = f"Which {escape(names)} give the {which} {metric}?"
    if best is None:
        return f"{question} No trial finished, so that nothing is known yet. {took}"
    settings = ", ".join(
        f"{name} {escape(cell(path, best.values.get(path)))}" for path, name in evidence.columns().items()
    )
    return (
        f"{question} **The best of {_finished(evidence)} is {settings}: {metric} {best.value:.4f}"
        f" after {best.num_samples:,} samples ({_called(best)}).** {took}"
    )


def hours(value: float) -> str:
    """A time as people say it: hours, or minutes below one."""
    return f"{value:,.1f} h" if value >= 1 else f"{60 * value:.0f} min" if value >= 1 / 60 else f"{3600 * value:.0f} s"


def cell(path: str, value: Any) -> str:
    """A setting in a table: shares in percent, like the tables of runs."""
    if path.endswith("_frac") and isinstance(value, int | float):
        return f"{100 * value:.3g}%"
    return show(value)


def _finished(evidence: StudyEvidence) -> str:
    num = len(insight.ranked(evidence))
    return f"{num} finished trial{'s' if num != 1 else ''}"


def _called(trial: TrialRow) -> str:
    return f"trial {trial.number}" + (f", baseline {trial.baseline}" if trial.baseline else "")


def _counts(evidence: StudyEvidence) -> str:
    counts = {state: sum(trial.state == state for trial in evidence.trials) for state in STATES}
    words = [f"{num} {state}" for state, num in counts.items() if num]
    reused = sum(trial.reused for trial in evidence.trials)
    return ", ".join(words + ([f"{reused} of them by reusing a run"] if reused else [])) or "none"


def _hypothesis(evidence: StudyEvidence) -> str:
    said = f"*Hypothesis:* {escape(evidence.spec.hypothesis)}" if evidence.spec.hypothesis else ""
    linked = evidence.making.extended_from
    goes_on = (
        f"It goes on from study {escape(linked)}; its trials are compared with one another only." if linked else ""
    )
    return "\n\n".join(words for words in (said, goes_on) if words)


def _confirmation(evidence: StudyEvidence) -> str:
    found = insight.confirmation(evidence)
    if found is None:
        return ""
    metric = evidence.spec.objective.metric
    by_name = {difference.baseline: difference for difference in found.differences}
    champion = insight.confirmed_name(evidence)
    rows = []
    for one in found.summaries:
        difference = by_name.get(one.name)
        interval = difference.interval if difference else None
        rows.append(
            [
                _confirmed(one.name, champion),
                str(one.num_seeds),
                f"{one.mean:.4f}",
                "–" if one.sd is None else f"{one.sd:.4f}",
                "–" if difference is None else f"{difference.mean:+.4f}",
                "–" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}",
            ]
        )
    header = ["settings", "seeds", f"mean {metric}", "standard deviation", "best minus it", "95% interval"]
    trial_runs = {trial.run_id for trial in evidence.trials}
    shared = sum(run.run_id in trial_runs for run in evidence.confirmations)
    note = "Intervals are Student's t over differences paired by seed."
    if shared:
        note += f" {shared} of these runs are trials as well; the best was chosen by them, which favours it."
    sentences = [verdict(evidence, difference) for difference in found.differences]
    return "\n\n".join(["## The best against the baselines", markdown_table(header, rows), " ".join(sentences), note])


def _confirmed(name: str, champion: str) -> str:
    if name == "best":
        return name
    return f"{escape(name)} (baseline, the best)" if name == champion else f"{escape(name)} (baseline)"


def verdict(evidence: StudyEvidence, difference: insight.Difference) -> str:
    """One sentence on the best against a baseline; "better" only where the interval excludes zero."""
    name, metric = escape(difference.baseline), evidence.spec.objective.metric
    seeds = f"{difference.num_pairs} seed{'s' if difference.num_pairs != 1 else ''}"
    if difference.interval is None:
        return f"With one seed in common, the best and {name} can't be told apart."
    low, high = difference.interval
    basis = f"{metric} {difference.mean:+.4f}, 95% interval {low:+.4f} to {high:+.4f}, {seeds}"
    if difference.verdict == "not told apart":
        return f"The best and {name} are not told apart ({basis})."
    return f"**The best is {difference.verdict} than {name}** ({basis})."


def _trials_table(evidence: StudyEvidence) -> str:
    best_first = insight.ranked(evidence)
    numbers = {trial.number for trial in best_first}
    others = [trial for trial in evidence.trials if trial.number not in numbers]
    rest = sorted(others, key=lambda trial: (STATES.index(trial.state), trial.number))
    shown = [*best_first, *rest]
    if len(shown) > MAX_ROWS:
        bases = [trial for trial in shown[MAX_ROWS:] if trial.baseline]
        shown = [*shown[:MAX_ROWS], *bases]
    objective = evidence.spec.objective.metric.replace("/", "_")
    header = ["trial", *evidence.columns().values(), "samples", objective, "state"]
    table = markdown_table(header, [_trial_cells(evidence, trial) for trial in shown])
    left = len(evidence.trials) - len(shown)
    if left:
        table += f"\n\n{left} more in [data/trials.csv](data/trials.csv). Of all: {_counts(evidence)}."
    return table


def _trial_cells(evidence: StudyEvidence, trial: TrialRow) -> list[str]:
    name = f"{trial.number} ({escape(trial.baseline)})" if trial.baseline else str(trial.number)
    values = [escape(cell(path, trial.values[path])) if path in trial.values else "–" for path in evidence.spec.search]
    value = trial.value if trial.value is not None else trial.curve[-1][1] if trial.curve else None
    state = (
        trial.state + (", reused a run" if trial.reused else "") + (f": {escape(trial.reason)}" if trial.reason else "")
    )
    return [name, *values, f"{trial.num_samples:,}", "–" if value is None else f"{value:.4f}", state]


def _figures(evidence: StudyEvidence, files: dict[str, bytes]) -> str:
    parts = []
    for name, figure in FIGURES.items():
        svg = figure.draw(evidence)
        if svg is not None:
            path = f"{FIGURES_FOLDER}/{name}.svg"
            files[path] = svg.encode()
            parts.append(f"![{figure.alt}]({path})")
    return "\n\n".join(["## Figures", *parts]) if parts else ""


def _next(evidence: StudyEvidence) -> str:
    columns = evidence.columns()
    lines, dims = [], dict[str, Dim]()
    for edge in insight.edges(evidence):
        where = f"{edge.num_at_edge} of the best {edge.num_judges} settings stand within 5% of the {edge.end} end"
        line = f"- **{columns[edge.path]}**: {where}, {cell(edge.path, edge.at)}"
        if edge.wider is None:
            lines.append(f"{line}; the spec takes nothing beyond.")
        else:
            dims[edge.path] = edge.wider
            lines.append(f"{line}: search on, {_range(edge.path, edge.wider)}.")
    for one in insight.narrowings(evidence):
        dims[one.path] = one.narrower
        low, high = cell(one.path, one.low), cell(one.path, one.high)
        span = f"at {low}" if low == high else f"between {low} and {high}"
        basis = f"the best {one.num_best} of {one.num_settings} settings stand {span}"
        lines.append(f"- **{columns[one.path]}**: {basis}; {_range(one.path, one.narrower)} would do.")
    if not dims and not lines:
        if not insight.can_tell_edges(evidence):
            return f"Too few trials to say: {_finished(evidence)}."
        return "No optimum stands at an end of its range, and no range is worth narrowing by these trials."
    ready = f"In the study's spec, in place of what it has there:\n\n```yaml\n{snippet(dims)}```" if dims else ""
    return "\n\n".join(["\n".join(lines), *([ready] if ready else [])])


def _range(path: str, dim: Dim) -> str:
    return "" if isinstance(dim, ChoiceDim) else f"{cell(path, dim.low)} to {cell(path, dim.high)}"


def snippet(dims: Mapping[str, Dim]) -> str:
    """Dimensions as they stand in a study's YAML, what is at its default left out."""
    content = {path: dim.model_dump(mode="json", exclude_defaults=True) for path, dim in dims.items()}
    return dump({"search": content})


def _best_yaml(evidence: StudyEvidence, content: Mapping[str, Any]) -> str:
    return (
        f"# The best settings of study {evidence.name}, complete. Written by: {evidence.making.command}\n"
        f"# Drawn again by: clipexp report --redraw --name {evidence.name}\n{dump(content)}"
    )


def _best_settings(evidence: StudyEvidence) -> str:
    best = insight.best_trial(evidence)
    if best is None:
        return ""
    settings = {path: best.values[path] for path in evidence.spec.search if path in best.values}
    return (
        "## Best settings\n\n"
        f"[{BEST_FILE}]({BEST_FILE}) holds them complete, as an experiment. What was searched in it:\n\n"
        f"```yaml\n{dump(settings)}```\n\n"
        f"Run it: `clipexp run reports/{evidence.name}/{BEST_FILE}`; with another seed: add `--set seed=N`."
        f" Its run in this study: `{best.run_id or 'none'}`, spec `{best.spec_hash or 'unknown'}`."
    )


def _making(evidence: StudyEvidence) -> str:
    spec, making = evidence.spec, evidence.making
    pruner = spec.pruner.model_dump(exclude={"kind"})
    details = ", ".join(f"{key} {value:,}" for key, value in pruner.items())
    confirmed = sorted({run.seed for run in evidence.confirmations})
    rows = [
        ["command", f"`{making.command}`"],
        ["date", escape(making.made_at)],
        ["objective", f"{spec.objective.direction} {spec.objective.metric}"],
        ["sampler", f"{spec.sampler.kind}, seed {spec.sampler.seed}"],
        ["pruner", spec.pruner.kind + (f" ({details})" if details else "")],
        ["searched", "<br>".join(f"{path}: {escape(_dim_words(dim))}" for path, dim in spec.search.items())],
        [
            "seeds",
            f"trials {evidence.base['seed']}"
            + (f"; confirmation {', '.join(map(str, confirmed))}" if confirmed else ""),
        ],
        ["study's run in MLflow", f"`{making.parent_run_id}`" if making.parent_run_id else "–"],
        ["commit", f"`{making.git_commit[:10]}`" if making.git_commit else "unknown"],
        ["device", escape(evidence.totals.device) or "unknown"],
        ["versions", escape(", ".join(f"{package} {version}" for package, version in making.versions.items())) or "–"],
    ]
    credit = f"\n\n<sub>Data: {escape(making.attribution)}</sub>" if making.attribution else ""
    return markdown_table(["what", "how"], rows, num_left=2) + credit


def _dim_words(dim: Dim) -> str:
    if isinstance(dim, ChoiceDim):
        return "one of " + ", ".join(show(value) for value in dim.values)
    kind = "powers of two" if dim.kind == "power_of_two" else "log" if insight.is_log(dim) else "linear"
    return f"{show(dim.low)} to {show(dim.high)}, {kind}"
