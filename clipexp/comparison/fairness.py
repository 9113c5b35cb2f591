"""In what two groups differ beside what is compared.

unfairness(a, b)    # () where they came about alike, or their conditions are not known
"""

from collections.abc import Sequence

from clipexp.comparison.group import Conditions, Group
from clipexp.comparison.verdict import Unfairness

# What each of Conditions is called, and how a difference in it is said.
SAID = {
    "total_samples": ("schedule horizon", "the learning rate of {a} runs over {va} samples, of {b} over {vb}"),
    "evaluation": ("evaluation set", "{a} was validated on {va}, {b} on {vb}"),
    "code": ("code", "{a} ran at commit {va}, {b} at {vb}"),
    "data": ("data", "{a} trained on set {va}, {b} on {vb}"),
    "feeding": ("feeding", "{a} was fed {va}, {b} {vb}"),
    "device": ("device", "{a} ran on {va}, {b} on {vb}"),
}


def unfairness(a: Group, b: Group) -> tuple[Unfairness, ...]:
    """All that keeps two groups from being compared, or makes that less than fair; what is not known is not named.

    Values of other metrics or on other validation pairs can't be ranked. Nor can a value from the midst of a schedule
    and one from another place: the learning rate has not come down there.
    """
    found = []
    if a.metric != b.metric:
        found.append(Unfairness("metric", f"{a.name} has {a.metric}, {b.name} has {b.metric}", True))
    found += [_without_value(group) for group in (a, b) if group.num_without_value]
    if a.conditions is None or b.conditions is None:
        return tuple(found)
    found += _samples_seen(a, b, a.conditions, b.conditions)
    for field, (what, words) in SAID.items():
        of_a, of_b = getattr(a.conditions, field), getattr(b.conditions, field)
        if differ(of_a, of_b):
            detail = words.format(a=a.name, b=b.name, va=listed(of_a), vb=listed(of_b))
            found.append(Unfairness(what, detail, what == "evaluation set"))
    return tuple(found)


def differ(of_a: Sequence[object], of_b: Sequence[object]) -> bool:
    """Whether two groups' answers, where both are known, are not one and the same."""
    return bool(of_a and of_b) and len({*of_a, *of_b}) > 1


def listed(answers: Sequence[object]) -> str:
    """Answers as people write them: `12,288 and 24,576`."""
    return " and ".join(f"{answer:,}" if isinstance(answer, int) else str(answer) for answer in answers)


def _without_value(group: Group) -> Unfairness:
    seeds = [str(replicate.seed) for replicate in group.replicates if not replicate.is_finite]
    word = "seed" if len(seeds) == 1 else "seeds"
    detail = (
        f"{len(seeds)} of {group.name}'s {len(group.replicates)} came to no finite value ({word} {', '.join(seeds)})"
    )
    return Unfairness("replicates", f"{detail} and don't count in its mean", False)


def _samples_seen(a: Group, b: Group, of_a: Conditions, of_b: Conditions) -> list[Unfairness]:
    if not differ(of_a.samples_seen, of_b.samples_seen):
        return []
    words = f"{a.name} stands at {listed(of_a.samples_seen)} samples seen, {b.name} at {listed(of_b.samples_seen)}"
    midway = [group.name for group, known in ((a, of_a), (b, of_b)) if _is_midway(known)]
    if not midway:
        return [Unfairness("samples seen", words, False)]
    return [Unfairness("samples seen", f"{words}; {listed(midway)} stopped before the schedule's end", True)]


def _is_midway(known: Conditions) -> bool:
    return bool(known.samples_seen and known.total_samples) and known.samples_seen[0] < known.total_samples[-1]
