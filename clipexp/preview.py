"""`clipexp check`: what a spec comes to, by arithmetic and by what earlier runs here took. No torch, no MLflow.

preview(load_spec("experiments/run1.yaml")).to_text()
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from clipexp.data.manifest import data_checksum, manifest_for
from clipexp.data.sources import open_source
from clipexp.errors import StoreError
from clipexp.space import free_bytes, mb, room_bytes
from clipexp.spec import cost
from clipexp.spec.base import flatten
from clipexp.spec.data import MAX_VAL_SHARE
from clipexp.spec.load import ResolvedRun
from clipexp.spec.run import RunSpec, budget_samples, num_steps, spec_hash, start_samples
from clipexp.spec.sources import (
    FolderSource,
    HfSource,
    OpenMojiSource,
    ScenesSource,
    ScenesV1Source,
    TextToImage2MSource,
    WebDatasetSource,
)
from clipexp.track.processor import device_name
from clipexp.track.summary import cost_key, samples_per_s

# Where no store is there to count: what each source gives, and why one should think so.
TEXT_TO_IMAGE_2M_PAIRS = 2_300_000  # 46 shards of about 50,000 pairs
OPENMOJI_TRAIN_PAIRS = 3_163
SHARD_PAIRS = 50_000
UNKNOWN_PAIRS = 100_000


@dataclass(frozen=True)
class Preview:
    """What a spec comes to. `num_train_basis` says where the number of training pairs is from."""

    resolved: ResolvedRun
    spec_hash: str | None
    store_problem: str | None
    num_train: int
    num_train_basis: str
    rate: tuple[float, int] | None

    def to_json(self) -> dict[str, Any]:
        """The object of `clipexp check --json`."""
        spec = self.resolved.spec
        values = flatten(spec.model_dump(mode="json"))
        return {
            "name": spec.name,
            "spec_hash": self.spec_hash,
            "store_problem": self.store_problem,
            "values": {path: {"value": value, "from": self.resolved.origin(path)} for path, value in values.items()},
            "num_parameters": cost.num_parameters(spec),
            "train_flops_per_sample": 3 * cost.forward_flops(spec),
            "memory_bytes": cost.memory_bytes(spec),
            "disk_bytes": room_bytes(spec),
            "disk_free_bytes": free_bytes(),
            "num_train_pairs": self.num_train,
            "num_train_pairs_basis": self.num_train_basis,
            "num_steps": num_steps(spec, self.num_train),
            "budget_samples": budget_samples(spec, self.num_train),
            "seconds": self.seconds,
            "seconds_basis_runs": self.rate[1] if self.rate else 0,
        }

    @property
    def seconds(self) -> float | None:
        """Training time by earlier runs of this cost on this device, if there are any."""
        if self.rate is None:
            return None
        spec = self.resolved.spec
        return (budget_samples(spec, self.num_train) - start_samples(spec)) / self.rate[0]

    def to_text(self) -> str:
        """What `clipexp check` prints."""
        content = self.to_json()
        lines = [f"{content['name']}: valid"]
        if self.resolved.spec.hypothesis:
            lines.append(f"  {self.resolved.spec.hypothesis}")
        lines += ["", *_value_lines(content["values"]), ""]
        samples, steps = content["budget_samples"], content["num_steps"]
        time = (
            f"about {self.seconds:,.0f} s, by {self.rate[1]} earlier run(s) here"
            if self.seconds and self.rate
            else None
        )
        facts = {
            "spec hash": self.spec_hash or "not yet: the store's checksum is part of it",
            "store": self.store_problem or "prepared",
            "training pairs": f"{self.num_train:,} ({self.num_train_basis})",
            "budget": f"{samples:,} samples, {samples / self.num_train:.3g} epochs, {steps:,} steps",
            "parameters": f"{content['num_parameters'] / 1e6:.1f} M",
            "compute": f"{content['train_flops_per_sample'] / 1e9:.3g} GFLOPs a training sample",
            "memory": f"about {content['memory_bytes'] / 1e9:.2g} GB for weights, optimizer and activations",
            "disk": f"up to {mb(content['disk_bytes'])} in mlruns/, {mb(content['disk_free_bytes'])} are free",
            "time": time or "unknown: no earlier run of this cost on this device",
        }
        return "\n".join([*lines, *(f"{name:<15} {value}" for name, value in facts.items())])


def preview(resolved: ResolvedRun) -> Preview:
    """Look at a spec and at what lies on disk."""
    spec = resolved.spec
    identity, problem = None, None
    num_train, basis = _assumed_pairs(spec)
    try:
        manifest = manifest_for(spec.data)
    except StoreError as error:
        problem = str(error)
    else:
        num_train, basis = manifest.num_train, "in the store"
        try:
            identity = spec_hash(spec, data_checksum(spec.data, spec.model.context_length))
        except StoreError as error:
            problem = str(error)
    return Preview(
        resolved, identity, problem, num_train, basis, samples_per_s(cost_key(spec), device_name(spec.train.device))
    )


def _assumed_pairs(spec: RunSpec) -> tuple[int, str]:
    source, num_val = spec.data.source, spec.data.split.num_val
    match source:
        case ScenesV1Source() | ScenesSource():
            return max(1, source.num_pairs - num_val), "assumed: num_pairs less num_val"
        case OpenMojiSource():
            return OPENMOJI_TRAIN_PAIRS, "assumed: the drawings that Unicode names, less validation"
        case WebDatasetSource() | TextToImage2MSource() | FolderSource() | HfSource():
            estimate = open_source(spec.data).num_items()
        case _:
            assert_never(source)
    if estimate is not None:
        return max(1, estimate - min(num_val, int(estimate * MAX_VAL_SHARE))), f"assumed: {_basis(source)}"
    match source:
        case TextToImage2MSource(num_shards=int(num_shards)):
            return num_shards * SHARD_PAIRS, f"assumed: {num_shards} shards of about 50,000; not counted in data.path"
        case WebDatasetSource() | TextToImage2MSource():
            return TEXT_TO_IMAGE_2M_PAIRS, "assumed: text-to-image-2M, 46 shards of about 50,000; no tars in data.path"
        case _:
            return UNKNOWN_PAIRS, "assumed, since the source can't be counted before it is prepared"


def _basis(source: FolderSource | HfSource | WebDatasetSource | TextToImage2MSource) -> str:
    match source:
        case FolderSource(table=None):
            return "the files in data.path, less validation"
        case FolderSource():
            return "the rows of the table, less validation"
        case HfSource():
            return "the rows of the split, less validation"
        case _:
            return "by the tars' size, at the bytes a pair of the first ones"


def _value_lines(values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    shown = {path: str(entry["value"]) for path, entry in values.items() if path not in ("name", "hypothesis")}
    path_width, value_width = max(map(len, shown)), max(map(len, shown.values()))
    return [
        f"  {path:<{path_width}}  {value:<{value_width}}  {values[path]['from']}".rstrip()
        for path, value in shown.items()
    ]
