"""Makes the labelled corpus of training curves, by which the rules of `clipexp.findings` are tuned and scored.

    clipexp data prepare experiments/quickstart.yaml && clipexp data prepare experiments/openmoji.yaml
    python -m tests.findings.make_corpus --cache /tmp/corpus-cache

Trains some 500 small runs on one thread each: about an hour with two processes. With the cache, where each run is
kept under a hash of its settings, labels are made anew in seconds. Losses come out the same on the same machine and
versions; speeds never do, and on another processor rounding is another one, so that the files differ a little.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

from tests.findings.corpus_labels import Curve, fault_curves, grid_curves, synthetic_curves
from tests.findings.corpus_recipes_data import DATA_RECIPES
from tests.findings.corpus_recipes_training import TRAINING_RECIPES
from tests.findings.corpus_runs import Outcome, Setup, outcome_of
from tests.findings.corpus_tables import Source
from tests.findings.corpus_truth import Truth
from tests.findings.recipes_real import BASES, Part, grid
from tests.findings.recipes_synthetic import SYNTHETIC

RECIPES = DATA_RECIPES + TRAINING_RECIPES
CORPUS = Path(__file__).parent / "corpus"
PARTS: tuple[Part, ...] = ("tune", "held-out")
MADE_BY = "python -m tests.findings.make_corpus"
LEFT_OUT = ("system/memory_mb", "system/cpu_percent", "epoch")  # no rule reads them, and they are a third of the size


def setups(parts: Iterable[Part]) -> list[Setup]:
    """All settings to train, each once."""
    found: dict[Setup, None] = {}
    for part in parts:
        for recipe in RECIPES:
            if recipe.part == part:
                found |= dict.fromkeys((*recipe.setups, *recipe.siblings))
        for base in BASES:
            if base.part == part:
                found |= dict.fromkeys(grid(base).values())
    return list(found)


def trained(wanted: list[Setup], stores: Mapping[Source, Path], cache: Path, workers: int) -> dict[Setup, Outcome]:
    """What came of each setting, in processes of one thread each."""
    outcomes: dict[Setup, Outcome] = {}
    with ProcessPoolExecutor(workers) as pool:
        for setup, outcome in zip(wanted, pool.map(outcome_of, wanted, repeat(stores), repeat(cache)), strict=True):
            outcomes[setup] = outcome
            if len(outcomes) % 50 == 0:
                click.echo(f"{len(outcomes)} of {len(wanted)} runs")
    return outcomes


def labelled(truth: Truth, parts: Iterable[Part]) -> list[Curve]:
    """All curves of some parts, with their labels."""
    curves: list[Curve] = []
    for part in parts:
        for base in BASES:
            curves += grid_curves(base, truth) if base.part == part else ()
        for recipe in RECIPES:
            curves += fault_curves(recipe, truth) if recipe.part == part else ()
        for drawn in SYNTHETIC:
            curves += synthetic_curves(drawn) if drawn.part == part else ()
    return curves


def write(curves: Iterable[Curve], folder: Path) -> None:
    """Write `curves.parquet` and `labels.json`: a row a point, values to five digits, of the machine three."""
    curves = list(curves)
    columns: dict[str, list[str | int | float]] = {"curve": [], "metric": [], "samples_seen": [], "value": []}
    for metric in sorted({name for curve in curves for name in curve.outcome.points} - set(LEFT_OUT)):
        digits = 3 if metric.startswith("system/") else 5
        for curve in curves:
            at, values = curve.outcome.points.get(metric, ([], []))
            columns["curve"] += [curve.name] * len(at)
            columns["metric"] += [metric] * len(at)
            columns["samples_seen"] += at
            columns["value"] += [float(f"{value:.{digits}g}") for value in values]
    types = {"curve": pa.string(), "metric": pa.string(), "samples_seen": pa.int64(), "value": pa.float64()}
    arrays = {name: pa.array(columns[name], kind) for name, kind in types.items()}
    arrays |= {name: arrays[name].dictionary_encode() for name in ("curve", "metric")}
    table = pa.table(arrays).replace_schema_metadata({"made_by": MADE_BY})
    folder.mkdir(parents=True, exist_ok=True)
    tmp = folder / "curves.parquet.tmp"
    pq.write_table(
        table,
        tmp,
        compression="zstd",
        compression_level=19,
        use_dictionary=["curve", "metric"],
        column_encoding={"samples_seen": "DELTA_BINARY_PACKED", "value": "PLAIN"},
    )
    tmp.replace(folder / "curves.parquet")
    lines = ",\n".join(json.dumps(curve.label(), ensure_ascii=False) for curve in curves)
    tmp = folder / "labels.json.tmp"
    tmp.write_text(f'{{"version": 1, "made_by": "{MADE_BY}", "curves": [\n{lines}\n]}}\n', encoding="utf-8")
    tmp.replace(folder / "labels.json")


def tell(curves: Iterable[Curve]) -> None:
    """Print how many curves expect each rule."""
    curves = list(curves)
    for part in PARTS:
        mine = [curve for curve in curves if curve.part == part]
        real = sum(curve.source == "real" for curve in mine)
        click.echo(f"{part}: {len(mine)} curves, {real} real, {sum(curve.is_healthy for curve in mine)} healthy")
    rules = sorted({rule for curve in curves for rule in curve.verdicts})
    click.echo(f"{'rule':<22}{'tune':>6}{'real':>6}{'held-out':>10}{'real':>6}{'allowed':>9}")
    for rule in rules:
        told = [curve for curve in curves if curve.verdicts[rule] == "expected"]
        counts = [[c for c in told if c.part == part] for part in PARTS]
        tune, held = ([len(found), sum(c.source == "real" for c in found)] for found in counts)
        allowed = sum(curve.verdicts[rule] == "allowed" for curve in curves)
        click.echo(f"{rule:<22}{tune[0]:>6}{tune[1]:>6}{held[0]:>10}{held[1]:>6}{allowed:>9}")


def main() -> None:
    """Train what is not cached, label, write and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(".corpus-cache"), help="where runs are kept")
    parser.add_argument("--scenes", type=Path, default=Path("data/scenes-v1-48px"))
    parser.add_argument("--openmoji", type=Path, default=Path("data/openmoji-48px"))
    parser.add_argument("--out", type=Path, default=CORPUS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--part", choices=PARTS, help="this part alone; default: both")
    given = parser.parse_args()
    parts = (given.part,) if given.part else PARTS
    stores: dict[Source, Path] = {"scenes": given.scenes, "openmoji": given.openmoji}
    truth = Truth(trained(setups(parts), stores, given.cache, given.workers))
    curves = labelled(truth, parts)
    write(curves, given.out)
    tell(curves)


if __name__ == "__main__":
    main()
