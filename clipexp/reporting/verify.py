"""Hold a report to its data: every number computed again, every word drawn again, every file compared.

    checked = verify(Path("reports/run1"))     # a report on runs
    checked = check(folder, verifiable)        # any report that carries proofs
    for deviation in checked.deviations: print(deviation)   # report.md:12: shows 0.975, the data give 0.974: last(...)

Each number is computed from the proof that the report keeps of it, and from the data folder alone. Then the report is
drawn again, so that edited words, figures and files are seen as well. Where the report's seal shows that text or
figures are as they were written, a difference in words or in a figure's bytes comes from another version of what draws
them: that is a warning, and so are bytes of data that say the same.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from clipexp.errors import ReportError
from clipexp.reporting.analysis import Analysis
from clipexp.reporting.commands import DATA
from clipexp.reporting.evaluation import UnknownSourceError, evaluate
from clipexp.reporting.evidence import (
    CURVES_FILE,
    RUNS_FILE,
    SCORES_FILE,
    SPEC_FILE,
    DamagedDataError,
    read_evidence,
)
from clipexp.reporting.files import found_files
from clipexp.reporting.proof import CLOSING, OPENING
from clipexp.reporting.render import FIGURES, REPORT_FILE, render
from clipexp.reporting.seal import broken_parts
from clipexp.reporting.sources import Found, Proof, Source, excerpt, numbers_in, show
from clipexp.reporting.versions import drawing_versions
from clipexp.reporting.write import STUDY_FILE, find_report

EXIT_DEVIATES = 4
FILE_BY_PART = {
    "runs": RUNS_FILE,
    "curves": CURVES_FILE,
    "scores": SCORES_FILE,
    "specs": f"*/{SPEC_FILE}",
    "examples": "*/examples.json or */pictures.png",
}
_DIGESTS = re.compile(r"^Data: (.*)\.(?: -->)?$", re.MULTILINE)
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Deviation:
    """Something that does not hold. line: 0 where it is about the whole file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Checked:
    """What a check came to. num_numbers: how many were computed again. warnings: what may come from other versions."""

    num_numbers: int
    deviations: tuple[Deviation, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verifiable:
    """What a report's data come to.

    find: what a source comes to; raises UnknownSourceError. files: all of the report's, by path. digests: of what each
    part of the data says, as the report's second comment has them. file_by_part: where the parts stand. drawn_with:
    versions of what drew the report. owned: its folders, in which no other file belongs.
    """

    find: Callable[[Source], Found]
    files: Mapping[str, bytes]
    digests: Mapping[str, str]
    file_by_part: Mapping[str, str]
    drawn_with: Mapping[str, str]
    owned: tuple[str, ...] = (FIGURES, DATA)


@dataclass(frozen=True)
class _Part:
    """What a reader sees up to a list of proofs, and these, each with the numbers of its lines."""

    lines: tuple[tuple[int, str], ...]
    proofs: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class _Wanted:
    """A number that a proof gives, and the proof."""

    text: str
    proof: Proof


def verify(folder: Path) -> Checked:
    """Compare a report on runs with its data.

    Raises:
        ReportError: there is no such report, it is a study's, or of another version.
    """
    find_report(folder)
    if (folder / DATA / STUDY_FILE).exists():
        raise ReportError(f"{folder} is a study's report, not one on runs")
    if not (folder / REPORT_FILE).is_file() or not (folder / DATA / RUNS_FILE).is_file():
        raise ReportError(f"{folder} lacks {REPORT_FILE} or {DATA}/{RUNS_FILE}; write it again: clipexp report RUN...")
    try:
        evidence = read_evidence(folder / DATA)
    except DamagedDataError as error:
        return Checked(0, (Deviation(DATA, 0, str(error)),))
    analysis = Analysis(evidence)
    given = Verifiable(
        find=lambda source: evaluate(analysis, source),
        files=render(evidence),
        digests=evidence.digests,
        file_by_part=FILE_BY_PART,
        drawn_with=evidence.drawn_with,
    )
    return check(folder, given)


def check(folder: Path, given: Verifiable) -> Checked:
    """Compare a report that carries proofs with what its data come to."""
    text = (folder / REPORT_FILE).read_bytes().decode(errors="replace")
    numbers, num_numbers = check_numbers(text, given.find)
    changed = _changed_data(text, given)
    known = {deviation.line for deviation in numbers}
    words = _check_words(text, given.files[REPORT_FILE].decode(), known)
    others = [*words, *_check_files(folder, given)]
    excused = set() if changed else {one for one in others if _is_excused(one, folder, text, given)}
    versions = ", ".join(f"{package} {number}" for package, number in given.drawn_with.items()) or "unknown versions"
    warnings = [f"{one}; it stands as it was written, with {versions}" for one in others if one in excused]
    told = (*numbers, *changed, *(one for one in others if one not in excused))
    return Checked(num_numbers, told, tuple(warnings))


def _is_excused(deviation: Deviation, folder: Path, text: str, given: Verifiable) -> bool:
    """Whether a difference comes from another version of what draws: what the seal shows to be as it was written."""
    figures = {path: (folder / path).read_bytes() for path in found_files(folder, (FIGURES,))}
    broken = broken_parts(text.encode(), figures)
    if deviation.file == REPORT_FILE:
        return broken is not None and "text" not in broken
    if deviation.message != DIFFERENT:
        return False
    if deviation.file in figures and broken is not None:
        return "figures" not in broken
    return dict(given.drawn_with) != drawing_versions(tuple(given.drawn_with))


def parts_of(text: str) -> list[_Part]:
    """A report's text, cut behind each list of proofs; other comments are left out."""
    parts: list[_Part] = []
    lines: list[tuple[int, str]] = []
    proofs: list[tuple[int, str]] = []
    state = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if state:
            if line.endswith(CLOSING):
                if state == "proof":
                    parts.append(_Part(tuple(lines), tuple(proofs)))
                    lines, proofs = [], []
                state = ""
            elif state == "proof":
                proofs.append((number, line))
        elif line == OPENING:
            state = "proof"
        elif line.startswith("<!--"):
            state = "" if line.endswith(CLOSING) else "comment"
        else:
            lines.append((number, line))
    return [*parts, _Part(tuple(lines), tuple(proofs))]


def check_numbers(text: str, find: Callable[[Source], Found]) -> tuple[list[Deviation], int]:
    """Each number of a report's text against its proof; and how many that were."""
    deviations: list[Deviation] = []
    num_numbers = 0
    for part in parts_of(text):
        wanted: list[_Wanted] = []
        claims: list[tuple[int, Proof, str]] = []
        for number, line in part.proofs:
            proof = Proof.parse(line)
            if proof is None:
                deviations.append(Deviation(REPORT_FILE, number, f"is no proof: {_short(line)}"))
                continue
            try:
                found = find(proof.source)
                shown = show(found.value, proof.form)
            except (UnknownSourceError, ValueError) as error:
                deviations.append(Deviation(REPORT_FILE, number, f"can't be computed: {error}"))
                continue
            wanted += [_Wanted(token, proof) for _, token in numbers_in(shown)]
            if (excerpt(shown), found.place) != (proof.shown, proof.place):
                claims.append((number, proof, Proof.of(proof.source, found, proof.form).line()))
        num_numbers += len(wanted)
        compared = list(_compare(part, wanted))
        deviations += [deviation for deviation, _ in compared]
        told = {proof for _, proof in compared}
        deviations += [
            Deviation(
                REPORT_FILE, number, f"the proof says {_short(proof.line(), 120)}, the data give {_short(line, 120)}"
            )
            for number, proof, line in claims
            if proof not in told
        ]
    return deviations, num_numbers


def _compare(part: _Part, wanted: Sequence[_Wanted]) -> Iterator[tuple[Deviation, Proof | None]]:
    """What a reader sees against what the proofs give, in order."""
    seen = [(number, token) for number, line in part.lines for _, token in numbers_in(line)]
    if len(seen) == len(wanted):
        pairs: list[tuple[tuple[int, str] | None, _Wanted | None]] = list(zip(seen, wanted, strict=True))
    else:
        pairs = list(_aligned(seen, wanted))
    last_line = part.lines[0][0] if part.lines else 0
    for place, want in pairs:
        if place is not None:
            last_line = place[0]
        if place is not None and want is not None:
            if place[1] != want.text:
                message = f"shows {place[1]}, the data give {want.text}: {_origin(want.proof)}"
                yield Deviation(REPORT_FILE, place[0], message), want.proof
        elif place is not None:
            yield Deviation(REPORT_FILE, place[0], f"shows {place[1]}, which no proof covers"), None
        elif want is not None:
            yield Deviation(REPORT_FILE, last_line, f"lacks {want.text}: {_origin(want.proof)}"), want.proof


def _aligned(
    seen: Sequence[tuple[int, str]], wanted: Sequence[_Wanted]
) -> Iterator[tuple[tuple[int, str] | None, _Wanted | None]]:
    """Pairs of what stands and what should; None where one of them has no partner."""
    matcher = SequenceMatcher(None, [token for _, token in seen], [want.text for want in wanted], autojunk=False)
    for _, a, b, c, d in matcher.get_opcodes():
        for offset in range(max(b - a, d - c)):
            yield (seen[a + offset] if a + offset < b else None, wanted[c + offset] if c + offset < d else None)


def _origin(proof: Proof) -> str:
    return f"{proof.source} at {proof.place}" if proof.place else str(proof.source)


def _changed_data(text: str, given: Verifiable) -> list[Deviation]:
    """Parts of the data that say something else than when the report was written."""
    found = _DIGESTS.search(text)
    if found is None:
        return [Deviation(REPORT_FILE, 3, "lacks the comment that says what the data were when it was written")]
    then = dict(part.split(" ", 1) for part in found[1].split(", ") if " " in part)
    return [
        Deviation(f"{DATA}/{given.file_by_part[part]}", 0, "was changed since the report was written")
        for part, digest in given.digests.items()
        if then.get(part) != digest
    ]


def _check_words(text: str, expected: str, known: set[int]) -> Iterator[Deviation]:
    """Lines that are not as the data give them, but for those that are told of already."""
    stands, should = text.splitlines(), expected.splitlines()
    if text.endswith("\n") != expected.endswith("\n"):
        yield Deviation(REPORT_FILE, len(stands), "ends otherwise than it was written")
    matcher = SequenceMatcher(None, stands, should, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            continue
        for offset in range(max(b - a, d - c)):
            line = min(a + offset, b) + 1
            if line in known:
                continue
            here = stands[a + offset] if a + offset < b else None
            there = should[c + offset] if c + offset < d else None
            if (here or there or "").startswith(("Data: ", "Seal: ", OPENING)) or (here or there) == CLOSING:
                continue
            yield Deviation(REPORT_FILE, line, _told(here, there))


def _told(here: str | None, there: str | None) -> str:
    if here is None:
        return f"lacks the line: {_short(there or '')}" if there else "lacks an empty line"
    if there is None:
        return f"has a line that the data do not give: {_short(here)}" if here else "has an empty line too many"
    start = next((n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))
    start = max(0, start - 20)
    return f"reads {_short(here[start:])!r}, the data give {_short(there[start:])!r}"


def _short(text: str, limit: int = _SHOWN_CHARS) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


DIFFERENT = "is not what the data give"


def _check_files(folder: Path, given: Verifiable) -> Iterator[Deviation]:
    there = set(found_files(folder, given.owned))
    for path, content in sorted(given.files.items()):
        if path == REPORT_FILE:
            continue
        if path not in there:
            yield Deviation(path, 0, "is missing")
        elif (folder / path).read_bytes() != content:
            yield Deviation(path, 0, DIFFERENT)
    for path in sorted(there - set(given.files)):
        yield Deviation(path, 0, "is no part of this report")
