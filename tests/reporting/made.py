"""Evidence made up for tests: runs with curves, strips, notes and pictures, without a store or a training.

evidence = made_evidence([made_run("a", seed=0), made_run("a", seed=1), made_run("b", max_lr=3e-3)])
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from clipexp.events import Example
from clipexp.plots.artifacts import KeptExamples
from clipexp.reporting.evidence import Evidence, RunEvidence
from clipexp.reporting.versions import drawing_versions
from clipexp.track.curves import Series
from clipexp.track.records import GROUP_TAG, NOTES_TAG, STORE_CHECKSUM_TAG, TAG, TOTAL_SAMPLES_TAG, RunRecord

NUM_TRAIN, TOTAL, BATCH = 4_000, 32_000, 64
NUM_STEPS, NUM_EVALS = 100, 10


def series(samples: Sequence[int], values: Sequence[float]) -> Series:
    """A curve of a set of NUM_TRAIN pairs."""
    places = np.asarray(samples, np.int64)
    return Series(places, places / NUM_TRAIN, values, np.zeros(len(places), np.int64))


def made_curves(seed: int, end: float = 1.0, *, block: int = 1024) -> dict[str, Series]:
    """A loss that falls from chance to about `end`, with noise that the seed decides."""
    draw = np.random.default_rng([3, seed])
    steps = np.linspace(TOTAL / NUM_STEPS, TOTAL, NUM_STEPS).astype(int)
    evals = np.linspace(0, TOTAL, NUM_EVALS + 1).astype(int)
    chance = float(np.log(block))
    fall = end + (np.log(BATCH) - end) * np.exp(-4 * steps / TOTAL)
    val = end + 0.2 + (chance - end - 0.2) * np.exp(-4 * evals / TOTAL) + draw.normal(0, 0.01, len(evals))
    name = "val/loss" if block == 1024 else f"val/loss_block_{block}"
    curves = {
        "train/loss": series(steps.tolist(), (fall * draw.normal(1, 0.02, NUM_STEPS)).tolist()),
        "train/grad_norm": series(steps.tolist(), draw.normal(2, 0.1, NUM_STEPS).tolist()),
        "train/lr": series(steps.tolist(), (1e-3 * np.cos(1.5 * steps / TOTAL)).tolist()),
        "train/logit_scale": series(steps.tolist(), np.linspace(14.3, 20, NUM_STEPS).tolist()),
        "system/samples_per_s": series(steps.tolist(), draw.normal(1200, 10, NUM_STEPS).tolist()),
        name: series(evals.tolist(), val.tolist()),
        "val/block_size": series(evals.tolist(), [block] * len(evals)),
        "val/num_pairs": series(evals.tolist(), [block] * len(evals)),
        "val/chance_loss": series(evals.tolist(), [chance] * len(evals)),
    }
    for way in ("text_to_image", "image_to_text"):
        for k in (1, 5, 10):
            recall = (1 - val / val[0]) * 0.5 * k**0.2
            curves[f"val/{way}_recall_at_{k}"] = series(evals.tolist(), recall.clip(0, 1).tolist())
        curves[f"val/{way}_median_rank"] = series(evals.tolist(), (1 + 60 * val).round().tolist())
    return curves


def made_examples() -> KeptExamples:
    """Two captions, of which one finds its own picture."""
    out = io.BytesIO()
    Image.new("RGB", (8 * 4, 4)).save(out, format="PNG")
    examples = (Example("a cat", 0, (0, 1), (0.5, 0.25)), Example("2 dogs", 1, (0, 1), (0.5, 0.25)))
    return KeptExamples(examples, (0, 1), "Drawn by A, licence 4.0", out.getvalue())


def made_record(name: str = "a", *, seed: int = 0, group: str = "", **changes: Any) -> RunRecord:
    """A run's record; changes may be `params`, `tags` (both added), or any field."""
    params = {
        "seed": str(seed),
        "train.batch_size": str(BATCH),
        "train.budget.samples": str(TOTAL),
        "train.budget.epochs": "None",
        "train.precision": "fp32",
        "optim.max_lr": "0.001",
        "schedule.warmup_frac": "0.05",
        "schedule.decay": "cosine",
        "schedule.min_lr_frac": "0.1",
        "data.shuffle": "full",
    }
    tags = {
        GROUP_TAG: group or f"{sum(map(ord, name)):012x}",
        STORE_CHECKSUM_TAG: "c" * 16,
        f"{TAG}num_train_pairs": str(NUM_TRAIN),
        TOTAL_SAMPLES_TAG: str(TOTAL),
        f"{TAG}device": "a CPU, 2 threads",
        f"{TAG}git_commit": "0123456789abcdef",
        f"{TAG}git_dirty": "false",
        f"{TAG}version.torch": "2.13.0",
    }
    curves = changes.pop("curves", None) or made_curves(seed)
    fields: dict[str, Any] = {
        "run_id": hashlib.sha256(f"{name} {seed}".encode()).hexdigest()[:32],
        "name": name,
        "spec_hash": f"{seed:012x}",
        "status": "FINISHED",
        "seed": seed,
        "git": {"commit": "0123456789abcdef", "dirty": "false"},
        "params": params | changes.pop("params", {}),
        "tags": tags | changes.pop("tags", {}),
        "curves": curves,
        "final": {metric: float(curves[metric].values[-1]) for metric in sorted(curves)},
        "started_ms": 1_795_438_946_809,
        "duration_s": 93.5,
    }
    return RunRecord(**(fields | changes))


def made_run(name: str = "a", *, evidence: Mapping[str, Any] | None = None, **changes: Any) -> RunEvidence:
    """A run of a report; `evidence`: fields of RunEvidence."""
    record = made_record(name, **changes)
    loss = next((metric for metric in record.final if metric.startswith("val/loss")), None)
    draw = np.random.default_rng([5, record.seed])
    strips = {loss: tuple(draw.normal(record.final[loss], 0.05, 32).tolist())} if loss else {}
    fields = {"strips": strips, "strips_at": TOTAL if loss else 0, "samples_seen": TOTAL, "examples": None}
    return RunEvidence(record, f"name: {name}\n", **(fields | dict(evidence or {})))


def made_evidence(runs: Sequence[RunEvidence], name: str = "made", **changes: Any) -> Evidence:
    """A report's evidence."""
    fields = {"subjects": tuple(run.key for run in runs), "drawn_with": drawing_versions()}
    return Evidence(name, tuple(runs), **(fields | changes))


def noted(*texts: str) -> dict[str, str]:
    """A tag with people's notes."""
    return {NOTES_TAG: json.dumps([{"time": "2026-01-02T03:04:05+00:00", "text": text} for text in texts])}


def two_specs() -> Evidence:
    """Three seeds of two specs, one clearly better; with a note, a hypothesis and pictures."""
    runs = [made_run("base", seed=seed, curves=made_curves(seed)) for seed in range(3)]
    runs += [
        made_run("slow", seed=seed, curves=made_curves(10 + seed, end=2.5), params={"optim.max_lr": "0.0001"})
        for seed in range(3)
    ]
    told = made_run(
        "base",
        curves=made_curves(0),
        tags={f"{TAG}hypothesis": "3 seeds are enough", **noted("norms > 2 are <b>high</b> | see run 7")},
        evidence={"examples": made_examples()},
    )
    return made_evidence([told, *runs[1:]])
