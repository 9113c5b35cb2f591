"""The frozen validation: the same pairs, in the same blocks, for every run on a prepared set.

    validation = FrozenValidation(table, spec, device)
    validation.run(model).metrics["val/loss"]

The loss is symmetric InfoNCE within blocks of 1,024 pairs, so that runs of any batch size compare: chance is
ln(1024) = 6.93. Where the set has fewer pairs the block is smaller, and its size is part of the metric's name.
Recall is over all pairs used.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clipexp.data.augment import fit
from clipexp.data.loader import trim_padding
from clipexp.data.table import PairTable
from clipexp.errors import RunError
from clipexp.evals.metrics import (
    best_items,
    chance_recall_at_k,
    mean_similarity,
    median_rank,
    ranks,
    recall_at_k,
    strip_means,
)
from clipexp.events import Example
from clipexp.model.clip import CLIP
from clipexp.model.loss import info_nce, pair_losses
from clipexp.spec.run import RunSpec

BLOCK_SIZE = 1024
RECALL_AT = (1, 5, 10)
EMBED_BATCH = 256
NUM_FOUND = 5
STRIP = 32  # pairs; a block of 1,024 has 32 of them, enough to resample


def block_size(num_val_pairs: int) -> int:
    """Pairs a block: 1,024, or all of a smaller set."""
    return min(BLOCK_SIZE, num_val_pairs)


def loss_metric(block: int) -> str:
    """The validation loss's name: `val/loss`, with the block's size where that is not 1,024."""
    return "val/loss" if block == BLOCK_SIZE else f"val/loss_block_{block}"


def _never() -> bool:
    return False


class Validated(NamedTuple):
    """Metrics by their names in MLflow, what some captions found, and metrics by strips (see EvalEvent)."""

    metrics: dict[str, float]
    examples: tuple[Example, ...]
    strips: dict[str, tuple[float, ...]]


class FrozenValidation:
    """Evaluates models on the validation pairs of one prepared set."""

    def __init__(self, table: PairTable, spec: RunSpec, device: torch.device) -> None:
        """Raises RunError if fewer than two pairs are at hand."""
        wanted = min(spec.evals.num_pairs, table.num_pairs)
        if wanted < 2:
            raise RunError(f"validation needs two pairs at least, {spec.data.store} has {table.num_pairs}")
        self.block_size = block_size(wanted)
        self.num_pairs = wanted // self.block_size * self.block_size
        self.loss_metric = loss_metric(self.block_size)
        self.num_examples = min(spec.evals.num_examples, self.num_pairs)
        self._table = table
        self._device = device
        self._image_size_px = spec.model.image_size_px
        self._bf16 = spec.train.precision == "bf16"

    @torch.no_grad()
    def run(self, model: CLIP, should_stop: Callable[[], bool] = _never) -> Validated | None:
        """Evaluate a model; None if `should_stop`, asked before each batch of 256 pairs, cut it short."""
        embedded = self._embed(model, should_stop)
        if embedded is None:
            return None
        image_emb, text_emb = embedded
        metrics, strips = self._losses(image_emb, text_emb, model.logit_scale)
        similarity = text_emb @ image_emb.mT  # (captions, pictures)
        metrics |= {
            "val/block_size": float(self.block_size),
            "val/num_pairs": float(self.num_pairs),
            "val/chance_loss": math.log(self.block_size),
            "val/chance_recall_at_1": chance_recall_at_k(self.num_pairs, 1),
            "val/image_similarity": mean_similarity(image_emb),
            "val/text_similarity": mean_similarity(text_emb),
        }
        for way, matrix in (("text_to_image", similarity), ("image_to_text", similarity.mT)):
            found = ranks(matrix)
            metrics |= {f"val/{way}_recall_at_{k}": recall_at_k(found, k) for k in RECALL_AT}
            metrics[f"val/{way}_median_rank"] = median_rank(found)
            strips[f"val/{way}_recall_at_1"] = strip_means((found <= 1).float(), STRIP)
        return Validated(metrics, self._examples(similarity), strips)

    def _losses(
        self, image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor
    ) -> tuple[dict[str, float], dict[str, tuple[float, ...]]]:
        """The loss over all blocks, and over strips of them."""
        blocks = zip(torch.split(image_emb, self.block_size), torch.split(text_emb, self.block_size), strict=True)
        losses: list[float] = []
        strips: list[float] = []
        for images, texts in blocks:
            losses.append(info_nce(images, texts, logit_scale).item())
            strips += strip_means(pair_losses(images, texts, logit_scale), STRIP)
        return {self.loss_metric: sum(losses) / len(losses)}, {self.loss_metric: tuple(strips)}

    def _embed(self, model: CLIP, should_stop: Callable[[], bool]) -> tuple[Tensor, Tensor] | None:
        was_training = model.training
        model.eval()
        try:
            return self._embed_batches(model, should_stop)
        finally:
            model.train(was_training)

    def _embed_batches(self, model: CLIP, should_stop: Callable[[], bool]) -> tuple[Tensor, Tensor] | None:
        images, texts = [], []
        for start in range(0, self.num_pairs, EMBED_BATCH):
            if should_stop():
                return None
            rows = np.arange(start, min(start + EMBED_BATCH, self.num_pairs))
            pixels = torch.from_numpy(self._table.pixels(rows)).to(self._device).permute(0, 3, 1, 2)
            pixels = fit(pixels, self._image_size_px)
            tokens = torch.from_numpy(trim_padding(self._table.tokens(rows))).to(self._device).long()
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                image_emb, text_emb = model(pixels, tokens)
            images.append(image_emb)
            texts.append(text_emb)
        return torch.cat(images), torch.cat(texts)

    def _examples(self, similarity: Tensor) -> tuple[Example, ...]:
        if not self.num_examples:
            return ()
        scores, found = best_items(similarity[: self.num_examples], NUM_FOUND)
        return tuple(
            Example(
                caption=self._table.captions(row)[0],
                target_idx=row,
                found_idx=tuple(found[row].tolist()),
                scores=tuple(round(score, 4) for score in scores[row].tolist()),
            )
            for row in range(self.num_examples)
        )
