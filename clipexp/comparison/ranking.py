"""More than two groups: every pair compared, verdicts corrected for how many they are, and places.

rank([run1, run2, run3]).sentences()
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

from clipexp.comparison.comparing import Measured, direction_of, judge, measure
from clipexp.comparison.group import Group
from clipexp.comparison.noise import Prior, prior_of
from clipexp.comparison.verdict import Difference, Direction, Ranking, Standing

Differences = Mapping[tuple[int, int], Difference]  # by the groups' places in the sequence, the lower first


def rank(groups: Sequence[Group], direction: Direction | None = None, prior: Prior | None = None) -> Ranking:
    """Two groups or more, every pair compared; verdicts are corrected over all pairs that can be told (Holm 1979).

    Args:
        groups: of one metric; others, and what can't be compared with most, get no place, but a reason.
        direction: which values are better; None: as `direction_of` the first metric says.
        prior: of groups that are not ranked here; None: for each pair the groups beside it in the ranking.

    Raises:
        ValueError: fewer than two groups.
    """
    if len(groups) < 2:
        raise ValueError(f"a ranking needs two groups at least, not {len(groups)}")
    metric = groups[0].metric
    better: Direction = direction or direction_of(metric)
    pairs = list(combinations(range(len(groups)), 2))
    measured = []
    for pair in pairs:
        others = [group for idx, group in enumerate(groups) if idx not in pair and group.metric == metric]
        measured.append(measure(groups[pair[0]], groups[pair[1]], prior or prior_of(others)))
    differences = dict(zip(pairs, _judged(measured, better), strict=True))
    return Ranking(metric, better, _standings(groups, differences, better), tuple(differences.values()))


def corrected(chances: Sequence[float]) -> list[float]:
    """Probabilities after Holm's correction, in the order given: the smallest of m counts m times, the next m - 1."""
    order = sorted(range(len(chances)), key=lambda idx: chances[idx])
    found, largest = [0.0] * len(chances), 0.0
    for rank_idx, idx in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - rank_idx) * chances[idx]))
        found[idx] = largest
    return found


def _judged(measured: Sequence[Measured], better: Direction) -> list[Difference]:
    chances = [found.difference.chance for found in measured if found.can_be_told]
    after = iter(corrected([chance for chance in chances if chance is not None]))
    num = max(1, len(chances))
    return [
        judge(found, better, next(after), num) if found.can_be_told else judge(found, better, None, 1)
        for found in measured
    ]


def _standings(groups: Sequence[Group], differences: Differences, better: Direction) -> tuple[Standing, ...]:
    comparable = _comparable(groups, differences)
    standings = []
    for idx, group in enumerate(groups):
        why_not = "" if idx in comparable else _why_not(idx, group, comparable, differences)
        place = None if why_not else 1 + sum(_is_worse(idx, other, differences) for other in comparable if other != idx)
        standings.append(Standing(group.name, place, group.num_seeds, group.mean, group.sd, why_not))
    sign = 1 if better == "lower" else -1
    return tuple(sorted(standings, key=lambda s: (s.place is None, s.place or 0, sign * (s.mean or 0.0))))


def _of(one: int, other: int, differences: Differences) -> Difference:
    return differences[min(one, other), max(one, other)]


def _comparable(groups: Sequence[Group], differences: Differences) -> set[int]:
    """The most groups that can all be compared with one another; of equally many those given first."""
    able = [idx for idx, group in enumerate(groups) if group.num_seeds > 1]
    largest: set[int] = set()
    for start in able:
        chosen = {start}
        for idx in able:
            if idx != start and all(_of(idx, c, differences).verdict != "not comparable" for c in chosen):
                chosen.add(idx)
        if len(chosen) > len(largest):
            largest = chosen
    return largest


def _why_not(idx: int, group: Group, comparable: set[int], differences: Differences) -> str:
    if group.num_seeds < 2:
        return "it came to no finite value" if not group.num_seeds else "with a single seed no spread is known"
    reasons = [
        found.detail
        for other in sorted(comparable)
        for found in _of(idx, other, differences).unfair
        if found.forbids_ranking
    ]
    return reasons[0]


def _is_worse(idx: int, other: int, differences: Differences) -> bool:
    found = _of(idx, other, differences)
    return found.verdict == ("worse" if idx < other else "better")
