"""The ledger: every number of a report is computed from a source that is noted below the block it stands in.

    ledger = RunsLedger(analysis)
    text = f"val/loss {ledger.of_run(run, 'last', 'val/loss', form='.3f')}"   # a mark stands for the number yet
    ledger.block(text).markdown()
    # val/loss 0.974
    #
    # <!-- proof
    # 0.974 = last(val/loss, run 1a2b3c4d) at 24,576 [.3f]
    # -->

So no number can be shown that the evidence does not give, and each can be computed again from its line alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from clipexp.reporting.analysis import Analysis
from clipexp.reporting.evaluation import RUN, evaluate
from clipexp.reporting.evidence import RunEvidence
from clipexp.reporting.sources import Found, Proof, Source, numbers_in, show

OPENING, CLOSING = "<!-- proof", "-->"
_MARK = re.compile("\x02(\\d+)\x03")


@dataclass(frozen=True)
class Block:
    """A part of a report between empty lines, and the proofs of its numbers in order."""

    text: str
    proofs: tuple[Proof, ...] = ()

    def markdown(self) -> str:
        """The block, with its proofs as a comment below it."""
        if not self.proofs:
            return self.text
        return "\n".join([self.text, "", OPENING, *(proof.line() for proof in self.proofs), CLOSING])


class Ledger:
    """Notes what is shown, and puts it into the text. find: what a source comes to, on the report's evidence."""

    def __init__(self, find: Callable[[Source], Found]) -> None:
        self._find = find
        self._shown: list[tuple[str, Proof]] = []
        self._found_by_source: dict[Source, Found] = {}

    def show(self, way: str, *args: str, form: str = "text") -> str:
        """What a way comes to, as a mark for the text of a block."""
        source = Source(way, args)
        found = self._found(source)
        self._shown.append((show(found.value, form), Proof.of(source, found, form)))
        return f"\x02{len(self._shown) - 1}\x03"

    def _found(self, source: Source) -> Found:
        if source not in self._found_by_source:
            self._found_by_source[source] = self._find(source)
        return self._found_by_source[source]

    def block(self, text: str) -> Block:
        """A text whose marks are replaced by what they stand for, with the proofs, in order, of what has a number."""
        numbers = [int(number) for number in _MARK.findall(text)]
        visible = _MARK.sub(lambda found: self._shown[int(found[1])][0], text)
        return Block(visible, tuple(self._shown[n][1] for n in numbers if any(numbers_in(self._shown[n][0]))))


class RunsLedger(Ledger):
    """The ledger of a report on runs."""

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(lambda source: evaluate(analysis, source))
        self.analysis = analysis

    def of_run(self, run: RunEvidence, way: str, *args: str, form: str = "text") -> str:
        """What a way comes to on a run, as a mark for the text of a block."""
        return self.show(way, *args, f"{RUN}{run.key}", form=form)

    def has(self, run: RunEvidence, way: str, *args: str) -> bool:
        """Whether a way comes to anything on a run."""
        return self._found(Source(way, (*args, f"{RUN}{run.key}"))).value not in (None, "")
