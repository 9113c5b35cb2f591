"""Real runs of a few specs over many seeds, on which the comparison's error rates are measured.

    python benchmarks/replicates.py    # writes benchmarks/data/replicates.json, some 18 minutes on one thread
    python benchmarks/replicates.py --seeds 24 --from-seed 1001 --out benchmarks/data/replicates_fresh.json

The second has seeds of its own, on which nothing of the comparison was settled.

All specs run with the same seeds, so that it can be seen how far a seed's luck is the same under two specs. A run that
is in the file is not run again: the same command goes on after a stop, and after specs or seeds were added.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from clipexp.data.store import Store
from clipexp.data.table import PairTable
from clipexp.errors import DivergedError
from clipexp.evals.validation import FrozenValidation
from clipexp.events import EvalEvent
from clipexp.model.clip import CLIP
from clipexp.spec.load import load_spec
from clipexp.spec.run import RunSpec
from clipexp.train.loop import Evaluation, Hooks, train

BASE = "experiments/quick-trial.yaml"
OUT = Path("benchmarks/data/replicates.json")
SMALL = (
    "model.patch_size_px=16",
    "model.embed_dim=64",
    *(f"model.{tower}.{key}={value}" for tower in ("vision", "text") for key, value in (("width", 64), ("heads", 2))),
    "model.vision.layers=2",
    "model.text.layers=1",
    "train.device=cpu",
    "train.batch_size=64",
    "train.budget.samples=10240",
    "train.log_every_samples=2560",
    "train.eval_every_samples=2560",
    "train.checkpoint_every_samples=1000000",
    "optim.max_lr=2e-3",
)
OVERRIDES_BY_SPEC = {
    "base": (),
    "half lr": ("optim.max_lr=1e-3",),
    "batch 128": ("train.batch_size=128",),
    "more decay": ("optim.weight_decay=0.3",),
    "low lr": ("optim.max_lr=2e-4",),
}
SEEDS_BY_SPEC = {"base": 48, "half lr": 36, "batch 128": 36, "more decay": 28, "low lr": 24}
KEPT = ("val/loss", "val/text_to_image_recall_at_1", "val/image_to_text_recall_at_1")


def specs() -> dict[str, RunSpec]:
    """Each spec by its name here."""
    return {
        name: load_spec(BASE, ["name=replicate", *SMALL, *overrides]).spec
        for name, overrides in OVERRIDES_BY_SPEC.items()
    }


def carry_out(spec: RunSpec, training: PairTable, validating: PairTable) -> dict[str, Any]:
    """One run: its metrics by samples seen (None where not finite), and the strips of its last validation."""
    validation = FrozenValidation(validating, spec, torch.device("cpu"))

    def evaluate(model: CLIP) -> Evaluation | None:
        result = validation.run(model)
        return Evaluation(result.metrics[validation.loss_metric], *result) if result else None

    seen: list[EvalEvent] = []
    error = ""
    with tempfile.TemporaryDirectory() as folder:
        hooks = Hooks(evaluate, lambda: None, Path(folder), "0" * 12)
        try:
            seen += [e for e in train(spec, training, torch.device("cpu"), hooks) if isinstance(e, EvalEvent)]
        except DivergedError as caught:  # a run that diverges is a result: it is written down
            error = str(caught)
    strips = seen[-1].strips.get("val/loss", ()) if seen and not error else ()
    return {
        "seed": spec.seed,
        "samples_seen": [event.samples_seen for event in seen],
        "curves": {name: [_number(event.metrics[name]) for event in seen] for name in KEPT},
        "strips": [_number(value) for value in strips],
        "error": error,
    }


def _number(value: float) -> float | None:
    return round(value, 5) if value - value == 0 else None


def write(runs: dict[str, list[dict[str, Any]]], checksum: str, out: Path) -> None:
    """Write all runs, a line each."""
    head = {"made_by": " ".join(["python", *sys.argv]), "base": BASE, "small": SMALL, "store": checksum}
    parts = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    for name, found in runs.items():
        lines = ",\n  ".join(json.dumps(run) for run in sorted(found, key=lambda run: run["seed"]))
        content = f'"overrides": {json.dumps(OVERRIDES_BY_SPEC[name])}, "runs": [\n  {lines}]'
        parts.append(f'"{name}": {{{content}}}')
    unfinished = out.with_suffix(".tmp")
    unfinished.write_text("{" + ",\n ".join([*parts[:4], '"specs": {' + ",\n ".join(parts[4:]) + "}"]) + "}\n")
    unfinished.replace(out)


def main() -> None:
    """Carry out what is not there yet, seed by seed, and write all of it after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="this many for each spec, rather than its own number")
    parser.add_argument("--from-seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    wanted, first, out = options.seeds, options.from_seed, options.out
    torch.set_num_threads(1)
    by_name = specs()
    store = Store(Path(next(iter(by_name.values())).data.store))
    kept = json.loads(out.read_text())["specs"] if out.exists() else {}
    runs = {name: list(kept.get(name, {}).get("runs", [])) for name in by_name}
    jobs = [(seed, name) for name in by_name for seed in range(first, first + (wanted or SEEDS_BY_SPEC[name]))]
    for seed, name in sorted(jobs, key=lambda job: job[0]):
        if any(run["seed"] == seed for run in runs[name]):
            continue
        spec = by_name[name].model_copy(update={"seed": seed})
        sides = [store.table(side, spec.data.tokenizer, spec.model.context_length) for side in ("train", "val")]
        runs[name].append(carry_out(spec, *sides))
        write(runs, store.manifest.checksum, out)
        print(f"{name} seed {seed}: {runs[name][-1]['curves']['val/loss'][-1]} {runs[name][-1]['error']}", flush=True)


if __name__ == "__main__":
    main()
