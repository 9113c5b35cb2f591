"""A stand-in for training in the space of `studies/quick.yaml`, made from real runs, to compare samplers on.

    surrogate = fit(read_runs())
    surrogate.curve({"optim.max_lr": 1e-3, "schedule.warmup_frac": 0.05, "train.batch_size": 128})[24_576]  # 1.6

The logarithms of the validation losses at all evaluations are reduced to a few principal components, and each of these
is a Gaussian process over (log max_lr, warmup_frac, log2 batch_size) with noise of its own (Rasmussen 2006, ch. 2).
Two queries of one point give the same curve, as two runs of one spec do, yet the noise is part of it, drawn by a hash
of the point: neighbours differ as much as real runs that the smooth part does not explain.

A run that diverged counts at chance level from there on, which is what those that collapse reach by themselves.
"""

import functools
import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

DATA = Path(__file__).with_name("data") / "quick_space.json"
LR, WARMUP, BATCH = "optim.max_lr", "schedule.warmup_frac", "train.batch_size"
MAX_LR, WARMUP_FRAC, LOG2_BATCH = (1e-4, 1e-2), (0.0, 0.2), (5, 9)  # the space
CHANCE = math.log(1024)  # InfoNCE over the 1,024 validation pairs when all look alike
NUM_COMPONENTS = 3

Floats = NDArray[np.float64]
Values = Mapping[str, Any]  # by dotted path


@dataclass(frozen=True)
class RealRun:
    """A run that was trained. losses: val/loss by samples seen, as far as it got."""

    values: Values
    spec_hash: str
    losses: Mapping[int, float]
    error: str


@dataclass(frozen=True)
class Quality:
    """How well runs are foretold by the others: their final losses, and by `curve_r2` those of all evaluations."""

    num_runs: int
    r2: float
    spearman: float
    median_abs_error: float
    curve_r2: float


def read_runs(path: Path = DATA) -> list[RealRun]:
    """The committed runs."""
    content = json.loads(path.read_text())
    return [
        RealRun(r["values"], r["spec_hash"], {int(n): loss for n, loss in r["val_loss"].items()}, r["error"])
        for r in content["runs"]
    ]


class Surrogate:
    """Answers a point with a curve, in about a millisecond. samples: where the evaluations are."""

    def __init__(self, samples: Sequence[int], places: Floats, losses: Floats) -> None:
        """Fit it. places: (runs, 3), in the unit cube. losses: (runs, evaluations)."""
        self.samples = tuple(samples)
        logs = np.log(losses)
        self._mean = logs.mean(0)
        _, _, axes = np.linalg.svd(logs - self._mean, full_matrices=False)
        self._axes = axes[:NUM_COMPONENTS]  # (components, evaluations)
        scores = (logs - self._mean) @ self._axes.T
        self._scale = scores.std(0)
        self._rest = (logs - self._mean - scores @ self._axes).std(0)  # what the components leave out
        self._processes = [_process(places, column) for column in (scores / self._scale).T]
        self._noise = np.sqrt([gp.kernel_.k2.noise_level for gp in self._processes])

    def curve(self, values: Values) -> dict[int, float]:
        """The losses of a run by samples seen."""
        (losses,) = self.curves([values])
        return dict(zip(self.samples, losses.tolist(), strict=True))

    def curves(self, points: Sequence[Values], *, is_smooth: bool = False) -> Floats:
        """The losses of runs: (points, evaluations), in the order of `samples`. is_smooth: without the noise."""
        where = np.array([_place(values) for values in points])
        scores = np.stack([gp.predict(where) for gp in self._processes], axis=1)
        logs = self._mean + scores * self._scale @ self._axes
        if not is_smooth:
            logs = logs + np.stack([self._roughness(values) for values in points])
        losses: Floats = np.exp(logs)
        return losses

    def _roughness(self, values: Values) -> Floats:
        key = json.dumps([float(values[path]) for path in (LR, WARMUP, BATCH)]).encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8]))
        of_components = rng.standard_normal(NUM_COMPONENTS) * self._noise * self._scale @ self._axes
        roughness: Floats = of_components + rng.standard_normal(len(self._rest)) * self._rest
        return roughness


def fit(runs: Sequence[RealRun]) -> Surrogate:
    """The surrogate of some runs."""
    samples = _samples(runs)
    return Surrogate(samples, np.array([_place(run.values) for run in runs]), _losses(runs, samples))


@functools.cache
def committed() -> Surrogate:
    """The surrogate of the committed runs."""
    return fit(read_runs())


def leave_out(runs: Sequence[RealRun], num_folds: int | None = None) -> Quality:
    """Foretell every run by the others, all fitted anew. num_folds: fewer parts than runs; None leaves one out."""
    samples = _samples(runs)
    losses = _losses(runs, samples)
    folds = np.arange(len(runs)) % (num_folds or len(runs))
    told = np.empty_like(losses)
    for fold in np.unique(folds):
        known = [run for run, k in zip(runs, folds, strict=True) if k != fold]
        asked = [run.values for run, k in zip(runs, folds, strict=True) if k == fold]
        told[folds == fold] = fit(known).curves(asked, is_smooth=True)
    return quality(told, losses)


def quality(told: Floats, losses: Floats) -> Quality:
    """Compare curves, both (runs, evaluations)."""
    last, last_told = losses[:, -1], told[:, -1]
    return Quality(
        num_runs=len(losses),
        r2=float(1 - ((last_told - last) ** 2).sum() / ((last - last.mean()) ** 2).sum()),
        spearman=float(spearmanr(last_told, last).statistic),
        median_abs_error=float(np.median(np.abs(last_told - last))),
        curve_r2=float(1 - ((told - losses) ** 2).sum() / ((losses - losses.mean(0)) ** 2).sum()),
    )


def _samples(runs: Sequence[RealRun]) -> list[int]:
    return sorted({samples_seen for run in runs for samples_seen in run.losses})


def _losses(runs: Sequence[RealRun], samples: Sequence[int]) -> Floats:
    """(runs, evaluations), at chance level where a run was no longer finite."""
    table = np.array([[run.losses.get(n, math.nan) for n in samples] for run in runs], dtype=float)
    return np.where(np.isfinite(table), table, CHANCE)


def _place(values: Values) -> tuple[float, float, float]:
    """A point in the unit cube."""
    return (
        math.log(values[LR] / MAX_LR[0]) / math.log(MAX_LR[1] / MAX_LR[0]),
        (values[WARMUP] - WARMUP_FRAC[0]) / (WARMUP_FRAC[1] - WARMUP_FRAC[0]),
        (math.log2(values[BATCH]) - LOG2_BATCH[0]) / (LOG2_BATCH[1] - LOG2_BATCH[0]),
    )


def _process(places: Floats, scores: Floats) -> GaussianProcessRegressor:
    smooth = ConstantKernel(1.0, (1e-2, 1e2)) * Matern([0.5, 1.0, 0.5], (0.05, 20.0), nu=2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: a direction that hardly matters
        return GaussianProcessRegressor(smooth + WhiteKernel(0.01, (1e-4, 1.0))).fit(places, scores)
