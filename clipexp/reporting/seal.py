"""A report's seal: digests, in its second comment, of its text and figures as they were written.

    text = seal(text, figures)              # the line UNSEALED becomes: Seal: text 0123456789abcdef, figures ...
    broken_parts(text, figures_on_the_disk)  # set(); {"text"} where somebody edited it; None where there is no seal

So what people edited is told from what a later version of the program words or draws otherwise. It keeps nobody from
sealing what was forged: that the numbers hold is shown by their proofs.
"""

import hashlib
import re
from collections.abc import Mapping

UNSEALED = "Seal: text none, figures none. -->"
_SEAL = re.compile(r"^Seal: text (\w+), figures (\w+)\. -->$", re.MULTILINE)


def seal(text: bytes, figures: Mapping[str, bytes]) -> bytes:
    """The text with its seal, in which `figures` are all of the report's, by path."""
    digests = f"Seal: text {_digest(text)}, figures {_digest_of(figures)}. -->"
    return text.replace(UNSEALED.encode(), digests.encode(), 1)


def broken_parts(text: bytes, figures: Mapping[str, bytes]) -> set[str] | None:
    """Which of `text` and `figures` are not as they were written; None for a report without a seal."""
    found = _SEAL.search(text.decode(errors="replace"))
    if found is None:
        return None
    unsealed = text.replace(found[0].encode(), UNSEALED.encode(), 1)
    is_same_by_part = {"text": _digest(unsealed) == found[1], "figures": _digest_of(figures) == found[2]}
    return {part for part, is_same in is_same_by_part.items() if not is_same}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _digest_of(files: Mapping[str, bytes]) -> str:
    return _digest("".join(f"{path} {_digest(content)}\n" for path, content in sorted(files.items())).encode())
