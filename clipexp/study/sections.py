"""A study's report behind its answer: the trials, the figures, the best settings, and how it was made.

texts = trials_table(StudyLedger(StudyAnalysis(evidence)))
"""

from clipexp.reporting.tables import markdown_table
from clipexp.study.analysis import BEST
from clipexp.study.evidence import TABLE_FILE, TrialRow
from clipexp.study.figures import FIGURES
from clipexp.study.learned import fence
from clipexp.study.ledger import StudyLedger
from clipexp.study.overview import counts

BEST_FILE, DATA, FIGURES_FOLDER = "best.yaml", "data", "figures"


def trials_table(ledger: StudyLedger) -> list[str]:
    """Texts: one line a trial, best first, and what is left out."""
    analysis = ledger.analysis
    columns = [ledger.show("column", path) for path in analysis.columns]
    header = ["trial", *columns, "samples", ledger.show("study", "column"), "state"]
    texts = ["## Trials", markdown_table(header, [_cells(ledger, trial) for trial in analysis.rows])]
    if len(analysis.rows) < len(analysis.evidence.trials):
        left = ledger.show("count", "not shown", form=",d")
        texts.append(f"{left} more in [{DATA}/{TABLE_FILE}]({DATA}/{TABLE_FILE}). Of all: {counts(ledger)}.")
    return texts


def _cells(ledger: StudyLedger, trial: TrialRow) -> list[str]:
    def part(name: str, form: str = "text") -> str:
        return ledger.show("trial", str(trial.number), name, form=form)

    settings = [ledger.show("setting", str(trial.number), path) for path in ledger.analysis.columns]
    return [part("name"), *settings, part("samples", ",d"), part("objective", ".4f"), part("outcome")]


def figures(ledger: StudyLedger, files: dict[str, bytes]) -> list[str]:
    """Texts with the figures, which are added to the files."""
    texts = []
    for name, figure in FIGURES.items():
        svg = figure.draw(ledger.analysis.evidence)
        if svg is not None:
            path = f"{FIGURES_FOLDER}/{name}.svg"
            files[path] = svg.encode()
            texts.append(f"![{figure.alt}]({path})")
    return ["## Figures", *texts] if texts else []


def best_settings(ledger: StudyLedger) -> list[str]:
    """Texts on the best trial's settings and how to run them; none where no trial finished."""
    analysis = ledger.analysis
    if analysis.best is None:
        return []
    run = ledger.show("trial", BEST, "run_id", form="code") if analysis.best.run_id else "none"
    spec = ledger.show("trial", BEST, "spec_hash", form="code") if analysis.best.spec_hash else "unknown"
    return [
        "## Best settings",
        f"[{BEST_FILE}]({BEST_FILE}) holds them complete, as an experiment. What was searched in it:",
        fence(ledger, "best_line", analysis.best_lines),
        f"Run it: {ledger.show('study', 'run again', form='code')}; with another seed: add `--set seed=N`."
        f" Its run in this study: {run}, spec {spec}.",
    ]


def making(ledger: StudyLedger) -> list[str]:
    """Texts on how the study came about."""
    evidence = ledger.analysis.evidence
    told = evidence.making
    seeds = f"trials {ledger.show('study', 'seed')}"
    if evidence.confirmations:
        seeds += f"; confirmation {ledger.show('confirmations', 'seeds')}"
    rows = [
        ["command", ledger.show("making", "command", form="text" if "|" in told.command else "code")],
        ["date", ledger.show("making", "made_at")],
        ["objective", ledger.show("study", "objective")],
        ["sampler", ledger.show("study", "sampler")],
        ["pruner", ledger.show("study", "pruner")],
        ["searched", "<br>".join(ledger.show("dim", path) for path in evidence.spec.search)],
        ["seeds", seeds],
        ["study's run in MLflow", ledger.show("making", "parent_run_id", form="code")],
        ["commit", ledger.show("making", "git_commit", form="code") if told.git_commit else "unknown"],
        ["device", ledger.show("total", "device") if evidence.totals.device else "unknown"],
        ["versions", ledger.show("making", "versions")],
    ]
    texts = ["## How it was made", markdown_table(["what", "how"], rows, num_left=2)]
    return [*texts, *([f"<sub>Data: {ledger.show('making', 'attribution')}</sub>"] if told.attribution else [])]
