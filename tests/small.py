"""A run small enough for tests, as plain data: `resolve(small_content(store, batch_size=64))`."""

from pathlib import Path
from typing import Any

NUM_PAIRS = 400


def small_content(store: Path, **train: Any) -> dict[str, Any]:
    """A run of some steps on 24-px scenes, as plain data."""
    tower = {"width": 32, "layers": 1, "heads": 2}
    return {
        "name": "small",
        "data": {
            "source": {"kind": "scenes-v1", "num_pairs": NUM_PAIRS},
            "store": str(store),
            "image_size_px": 24,
            "tokenizer": {"kind": "trained", "vocab_size": 400},
            "split": {"num_val": 40},
        },
        "model": {
            "image_size_px": 24,
            "patch_size_px": 12,
            "embed_dim": 16,
            "context_length": 32,
            "vision": tower,
            "text": tower,
        },
        "optim": {"max_lr": 2e-3},
        "train": {
            "batch_size": 32,
            "budget": {"samples": 640},
            "device": "cpu",
            "log_every_samples": 64,
            "eval_every_samples": 160,
            "checkpoint_every_samples": 160,
            **train,
        },
    }
