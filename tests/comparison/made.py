"""Records of runs as they would be read, with as much in them as a comparison looks at."""

from clipexp.track.curves import Point, Series
from clipexp.track.records import RunRecord

TOTAL = 10_240


def record(name: str = "run1", seed: int = 1, loss: float = 2.0, status: str = "FINISHED", **more: object) -> RunRecord:
    """A run of group `name` that ended at TOTAL samples; `more` are tags by their last word, or these few facts.

    samples_seen: where its last validation is. recall: its recall. pairs: how many validated. shuffle: as in its spec.
    """
    samples = int(str(more.pop("samples_seen", TOTAL)))
    recall, pairs = float(str(more.pop("recall", 0.5))), float(str(more.pop("pairs", 1024.0)))
    params = {"data.shuffle": str(more.pop("shuffle", "full")), "seed": str(seed)}
    run_id = str(more.pop("run_id", f"{name}-{seed}"))
    tags = {"group": name, "store_checksum": "aaaa", "total_samples": TOTAL, "device": "cpu", "git_commit": "c0ffee"}
    values = {
        "val/loss": loss,
        "val/text_to_image_recall_at_1": recall,
        "val/num_pairs": pairs,
        "val/block_size": 1024.0,
    }
    curves = {
        metric: Series.of([Point(0, 0.0, 7.0, 0), Point(samples, 1.0, value, 1)]) for metric, value in values.items()
    }
    return RunRecord(
        run_id=run_id,
        name=f"{name}-seed-{seed}",
        spec_hash=f"{name}{seed}",
        status=status,
        seed=seed,
        git={},
        params=params,
        tags={f"clipexp.{key}": str(value) for key, value in {**tags, **more}.items()},
        curves=curves,
        final=values,
        started_ms=0,
        duration_s=1.0,
    )


def replicates(name: str, losses: list[float], **more: object) -> list[RunRecord]:
    """Seeds 1, 2, ... of one spec."""
    return [record(name, seed, loss, **more) for seed, loss in enumerate(losses, 1)]
