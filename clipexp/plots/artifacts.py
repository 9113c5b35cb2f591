"""A run's figures and examples as files that become its artifacts, and back.

write_plots(folder, "quickstart", curves)
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipexp.events import Example
from clipexp.plots.examples import Pixels, pack_pictures
from clipexp.plots.interactive import run_page
from clipexp.plots.static import run_figure
from clipexp.track.curves import Curves

PLOTS, EXAMPLES = "plots", "examples"
EXAMPLES_FILE, SHEET_FILE = "examples.json", "pictures.png"


@dataclass(frozen=True)
class KeptExamples:
    """Examples as they are kept with a run: `rows` are the row numbers of the pictures on the sheet, in order."""

    examples: tuple[Example, ...]
    rows: tuple[int, ...]
    attribution: str
    sheet: bytes

    def to_json(self) -> str:
        """All but the sheet."""
        content = {
            "examples": [dataclasses.asdict(example) for example in self.examples],
            "rows": self.rows,
            "attribution": self.attribution,
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_examples(folder: Path) -> KeptExamples | None:
    """Examples from the files that `write_examples` wrote; None where there are none."""
    if not (folder / EXAMPLES_FILE).is_file():
        return None
    content = json.loads((folder / EXAMPLES_FILE).read_text())
    examples = tuple(
        Example(e["caption"], e["target_idx"], tuple(e["found_idx"]), tuple(e["scores"])) for e in content["examples"]
    )
    return KeptExamples(examples, tuple(content["rows"]), content["attribution"], (folder / SHEET_FILE).read_bytes())


def write_examples(folder: Path, kept: KeptExamples) -> None:
    """The inverse of `read_examples`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EXAMPLES_FILE).write_text(kept.to_json())
    (folder / SHEET_FILE).write_bytes(kept.sheet)


def write_run_examples(
    folder: Path, examples: Sequence[Example], pixels_by_row: Mapping[int, Pixels], attribution: str
) -> None:
    """Write a run's examples and their pictures."""
    write_examples(
        folder, KeptExamples(tuple(examples), tuple(pixels_by_row), attribution, pack_pictures(pixels_by_row))
    )


def write_plots(folder: Path, name: str, curves: Curves) -> None:
    """Write a run's interactive page and its static figure."""
    (folder / "curves.html").write_text(run_page(name, curves))
    (folder / "curves.svg").write_text(run_figure(curves, *headline(curves)))


def headline(curves: Curves) -> tuple[str, float]:
    """The validation loss's name in these curves, and its chance level in nats."""
    name = next((metric for metric in sorted(curves) if metric.startswith("val/loss")), "val/loss")
    chance = curves.get("val/chance_loss", ())
    return name, chance[-1].value if chance else math.log(1024)
