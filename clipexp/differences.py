"""In what two runs differ: settings, results, curves, findings, environment, code and data. Pure.

found = differences(Side(first, told, findings), Side(second, ...))
found.settings[0].path, found.settings[0].first, found.settings[0].second
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipexp.findings.finding import Finding
from clipexp.spec.base import Incidental
from clipexp.spec.run import RunSpec
from clipexp.spec.shape import fields_at
from clipexp.track.curves import Curves, Series
from clipexp.track.records import STORE_CHECKSUM_TAG, TAG, RunRecord

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the shorter curve, where two are held against each other
# Curves to compare: the validation losses, and these.
COMPARED = ("val/text_to_image_recall_at_1", "val/image_to_text_recall_at_1", "train/loss")
ENVIRONMENT = (f"{TAG}device", f"{TAG}version.")
DATA_TAGS = {STORE_CHECKSUM_TAG: "prepared set", f"{TAG}num_train_pairs": "training pairs"}
NOT_SET = "None"  # as params write what is not set
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """One of the two runs: its record with curves, what was found on it, and its uncommitted changes, '' for none."""

    record: RunRecord
    findings: tuple[Finding, ...] = ()
    uncommitted: str = ""

    @property
    def commit(self) -> str:
        """The code's commit; '' where it is not known."""
        return self.record.tags.get(f"{TAG}git_commit", "")

    @property
    def is_dirty(self) -> bool:
        """Whether files were changed since the commit."""
        return self.record.tags.get(f"{TAG}git_dirty") == "true"


@dataclass(frozen=True)
class SettingDifference:
    """A setting by its path; None where a side has none. is_incidental: whether no result depends on it."""

    path: str
    first: str | None
    second: str | None
    is_incidental: bool = False


@dataclass(frozen=True)
class Result:
    """The last value of a metric on both sides; difference: the second's minus the first's, None where one has none."""

    metric: str
    first: float | None
    second: float | None
    difference: float | None


@dataclass(frozen=True)
class Along:
    """Two curves at a place of the shorter one: its share, the samples seen there, and both values there."""

    share: float
    samples_seen: int
    first: float
    second: float
    difference: float


@dataclass(frozen=True)
class CurveDifference:
    """A metric's two curves along their common stretch, and where they cross; the place of a crossing is interpolated.

    is_interpolated: whether values were recorded at other places, so that those given lie between two.
    """

    metric: str
    along: tuple[Along, ...]
    crossings: tuple[int, ...]
    is_interpolated: bool


@dataclass(frozen=True)
class FindingDifference:
    """A finding of one side or of both: its rule, its severity, and its claim on each side; None: not found there."""

    rule: str
    severity: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class Code:
    """Commits, and whether files were changed; same_changes: None where not both are changed."""

    first: str
    second: str
    first_is_dirty: bool
    second_is_dirty: bool
    same_changes: bool | None


@dataclass(frozen=True)
class Differences:
    """All in which two runs differ; `missing` says what could not be compared, and why."""

    settings: tuple[SettingDifference, ...]
    results: tuple[Result, ...]
    curves: tuple[CurveDifference, ...]
    findings: tuple[FindingDifference, ...]
    environment: tuple[SettingDifference, ...]
    data: tuple[SettingDifference, ...]
    code: Code
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As `clipexp diff --json` prints it; values that are not finite are null."""
        cleaned = _finite(dataclasses.asdict(self))
        return dict(cleaned)


def differences(first: Side, second: Side) -> Differences:
    """What the second run has otherwise than the first."""
    one, other = first.record, second.record
    return Differences(
        settings=setting_differences(one.params, other.params),
        results=results(one.final, other.final),
        curves=curve_differences(one.curves, other.curves),
        findings=finding_differences(first.findings, second.findings),
        environment=_tag_differences(one.tags, other.tags, ENVIRONMENT),
        data=_data_differences(one.tags, other.tags),
        code=_code(first, second),
        missing=_missing(one, other),
    )


def setting_differences(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[SettingDifference, ...]:
    """The settings that differ, those that decide a result first; one that is not set is as one that is not there."""
    found = []
    for path in sorted({*first, *second}):
        values = [None if side.get(path) in (None, NOT_SET) else side[path] for side in (first, second)]
        if not _is_same(*values):
            found.append(SettingDifference(path, values[0], values[1], is_incidental(path)))
    return tuple(sorted(found, key=lambda each: each.is_incidental))


def _is_same(first: str | None, second: str | None) -> bool:
    """Whether two values are alike, 1e-3 and 0.001 too."""
    if first == second or first is None or second is None:
        return first == second
    try:
        return float(first) == float(second)
    except ValueError:
        return False


def is_incidental(path: str) -> bool:
    """Whether no result depends on a setting; one that this version does not know decides, for all that is known."""
    keys = path.split(".")
    return any(
        Incidental in field.metadata for num in range(len(keys)) for field in fields_at(RunSpec, keys[: num + 1])
    )


def results(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[Result, ...]:
    """The last values of all metrics that a run is judged by, losses first."""
    names = sorted({*first, *second}, key=_rank)
    found = []
    for name in names:
        if name.startswith("val/") or name == "train/loss":
            values = (first.get(name), second.get(name))
            difference = None if values[0] is None or values[1] is None else values[1] - values[0]
            found.append(Result(name, *values, difference))
    return tuple(found)


def _rank(metric: str) -> tuple[bool, bool, bool, str, int]:
    """Losses, then recalls in the order of their k, then the rest."""
    name, _, number = metric.rpartition("_")
    k = int(number) if number.isdigit() else 0
    is_recall = "recall_at" in metric and "chance" not in metric
    return not metric.startswith("val/loss"), metric != "train/loss", not is_recall, name if k else metric, k


def curve_differences(first: Curves, second: Curves) -> tuple[CurveDifference, ...]:
    """The curves that both have, at shares of the stretch on which both are known."""
    losses = sorted(name for name in first if name.startswith("val/loss"))
    names = [name for name in (*losses, *COMPARED) if _both(name, first, second)]
    found = (_curve_difference(name, first[name], second[name]) for name in names)
    return tuple(each for each in found if each is not None)


def _both(name: str, first: Curves, second: Curves) -> bool:
    return len(first.get(name, ())) > 0 and len(second.get(name, ())) > 0


def _curve_difference(metric: str, first: Series, second: Series) -> CurveDifference | None:
    sides = [_finite_part(series) for series in (first, second)]
    if any(len(places) == 0 for places, _ in sides):
        return None
    start = max(places[0] for places, _ in sides)
    end = min(places[-1] for places, _ in sides)
    if end < start:
        return None
    common = np.intersect1d(sides[0][0], sides[1][0])
    common = common[(common >= start) & (common <= end)]
    along = [_along(share, sides, common, end) for share in SHARES if share * end >= start]
    once = {each.samples_seen: each for each in along}
    grid = np.unique(np.concatenate([places[(places >= start) & (places <= end)] for places, _ in sides]))
    gap = np.interp(grid, *sides[1]) - np.interp(grid, *sides[0])
    crossings = _crossings(grid, gap) if metric.startswith("val/") else ()
    return CurveDifference(metric, tuple(once.values()), crossings, is_interpolated=not len(common))


def _finite_part(series: Series) -> tuple[Floats, Floats]:
    """The places and values of a curve where it has a number."""
    is_finite = np.isfinite(series.values)
    return series.samples_seen[is_finite].astype(np.float64), series.values[is_finite]


def _along(share: float, sides: Sequence[tuple[Floats, Floats]], common: Floats, end: float) -> Along:
    """Both curves at the last place up to a share of their common stretch; between points, where they share none."""
    before = common[common <= share * end]
    at = float(before[-1]) if len(before) else share * end
    first, second = (float(np.interp(at, *side)) for side in sides)
    return Along(share, round(at), first, second, second - first)


def _crossings(places: Floats, gap: Floats) -> tuple[int, ...]:
    """Where the second curve goes from one side of the first to the other."""
    is_apart = gap != 0
    places, gap = places[is_apart], gap[is_apart]
    turns = np.flatnonzero(np.sign(gap[1:]) != np.sign(gap[:-1]))
    shares = gap[turns] / (gap[turns] - gap[turns + 1])
    return tuple(round(float(at)) for at in places[turns] + shares * (places[turns + 1] - places[turns]))


def finding_differences(first: Sequence[Finding], second: Sequence[Finding]) -> tuple[FindingDifference, ...]:
    """The findings of both sides by their rules, those of one side alone first."""
    sides = [{finding.rule: finding for finding in found} for found in (first, second)]
    found = []
    for rule in dict.fromkeys([*sides[0], *sides[1]]):
        one, other = (side.get(rule) for side in sides)
        severity = (other or one or first[0]).severity
        claims = (None if finding is None else finding.claim for finding in (one, other))
        found.append(FindingDifference(rule, severity, *claims))
    return tuple(sorted(found, key=lambda each: each.first is not None and each.second is not None))


def _tag_differences(
    first: Mapping[str, str], second: Mapping[str, str], prefixes: tuple[str, ...]
) -> tuple[SettingDifference, ...]:
    keys = sorted(key for key in {*first, *second} if key.startswith(prefixes))
    pairs = ((key.removeprefix(TAG).removeprefix("version."), first.get(key), second.get(key)) for key in keys)
    return tuple(SettingDifference(name, one, other) for name, one, other in pairs if one != other)


def _data_differences(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[SettingDifference, ...]:
    pairs = ((name, first.get(tag), second.get(tag)) for tag, name in DATA_TAGS.items())
    return tuple(SettingDifference(name, one, other) for name, one, other in pairs if one != other)


def _code(first: Side, second: Side) -> Code:
    both_dirty = first.is_dirty and second.is_dirty
    same = first.uncommitted == second.uncommitted if both_dirty else None
    return Code(first.commit, second.commit, first.is_dirty, second.is_dirty, same)


def _missing(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    """What can't be held against each other, and why."""
    sides = [{name for name in record.final if name.startswith("val/loss")} for record in (first, second)]
    found = [f"{r.name} was never validated" for r, names in zip((first, second), sides, strict=True) if not names]
    if all(sides) and sides[0].isdisjoint(sides[1]):
        names = " and ".join(", ".join(sorted(side)) for side in sides)
        found.append(f"their validation losses are over blocks of different sizes: {names}")
    for record in (first, second):
        if record.status != "FINISHED":
            found.append(f"{record.name} is {record.status}: its last values are not those of a finished run")
        if not record.curves:
            found.append(f"{record.name} has no curves")
    return tuple(found)


def _finite(value: Any) -> Any:
    """The same with null in place of numbers that JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
