"""What follows from a study's evidence and is told in many places of its report. Computed once.

analysis = StudyAnalysis(evidence)
analysis.best, analysis.edges, analysis.importances
"""

from collections.abc import Mapping
from functools import cached_property

from clipexp.comparison import Difference, Group
from clipexp.spec.study import Dim
from clipexp.spec.yaml_lines import dump
from clipexp.study import coverage, insight, tradeoff
from clipexp.study.evidence import StudyEvidence, TrialRow

MAX_ROWS = 20  # of the table of trials; trials.csv has them all
STATES = ("finished", "pruned", "infeasible", "failed", "unfinished")
BEST = "best"


class StudyAnalysis:
    """One study's."""

    def __init__(self, evidence: StudyEvidence) -> None:
        self.evidence = evidence

    @cached_property
    def columns(self) -> dict[str, str]:
        """What each searched path is called."""
        return self.evidence.columns()

    @cached_property
    def ranked(self) -> list[TrialRow]:
        """Finished trials, best first."""
        return insight.ranked(self.evidence)

    @property
    def best(self) -> TrialRow | None:
        """The best of them."""
        return self.ranked[0] if self.ranked else None

    @cached_property
    def by_number(self) -> dict[int, TrialRow]:
        """All trials."""
        return {trial.number: trial for trial in self.evidence.trials}

    def trial(self, number: str) -> TrialRow:
        """A trial by its number, or the best. Raises KeyError where there is none."""
        if number != BEST:
            return self.by_number[int(number)]
        if self.best is None:
            raise KeyError("no trial finished")
        return self.best

    @cached_property
    def rows(self) -> list[TrialRow]:
        """The trials that the report's table has: best first, then those of other states; baselines in any case."""
        numbers = {trial.number for trial in self.ranked}
        others = [trial for trial in self.evidence.trials if trial.number not in numbers]
        rest = sorted(others, key=lambda trial: (STATES.index(trial.state), trial.number))
        everyone = [*self.ranked, *rest]
        return [*everyone[:MAX_ROWS], *(trial for trial in everyone[MAX_ROWS:] if trial.baseline)]

    @cached_property
    def edges(self) -> dict[str, insight.Edge]:
        """Optima at an end of what was searched, by path."""
        return {edge.path: edge for edge in insight.edges(self.evidence)}

    @cached_property
    def narrowings(self) -> dict[str, insight.Narrowing]:
        """Ranges of which a part would do, by path."""
        return {one.path: one for one in insight.narrowings(self.evidence)}

    @cached_property
    def importances(self) -> insight.Importances | None:
        """How much each setting explains."""
        return insight.importances(self.evidence)

    @cached_property
    def coverage(self) -> coverage.Coverage | None:
        """How much of the space was looked at."""
        return coverage.coverage(self.evidence)

    @cached_property
    def infeasible(self) -> list[tuple[str, int]]:
        """Reasons for which trials could not run, with their counts, the most frequent first."""
        return list(coverage.infeasible(self.evidence).items())

    @cached_property
    def tradeoff(self) -> tradeoff.Tradeoff | None:
        """How the best max_lr went with the batch size."""
        return tradeoff.lr_against_batch(self.evidence)

    @cached_property
    def _confirmation(self) -> insight.Confirmation | None:
        return insight.confirmation(self.evidence)

    @property
    def confirmed_groups(self) -> tuple[Group, ...]:
        """What was run over seeds, the best first; none without a confirmation."""
        return self._confirmation.groups if self._confirmation else ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The best against each baseline, `b`."""
        return self._confirmation.differences if self._confirmation else ()

    @cached_property
    def next_dims(self) -> dict[str, Dim]:
        """What to search next: ranges that reach further where the optimum is at an end, and narrower ones."""
        wider = {path: edge.wider for path, edge in self.edges.items() if edge.wider is not None}
        return {**wider, **{path: found.narrower for path, found in self.narrowings.items()}}

    @cached_property
    def next_lines(self) -> list[str]:
        """The same as lines of a study's YAML."""
        return snippet(self.next_dims).splitlines()

    @cached_property
    def best_lines(self) -> list[str]:
        """What was searched, in the best trial, as lines of YAML."""
        best, search = self.best, self.evidence.spec.search
        settings = {path: best.values[path] for path in search if path in best.values} if best else {}
        return dump(settings).splitlines()


def snippet(dims: Mapping[str, Dim]) -> str:
    """Dimensions as they stand in a study's YAML, what is at its default left out."""
    content = {path: dim.model_dump(mode="json", exclude_defaults=True) for path, dim in dims.items()}
    return dump({"search": content})
