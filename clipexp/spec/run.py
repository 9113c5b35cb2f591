"""The spec of one run: everything that decides its result, and a few things that don't.

    RunSpec.model_validate({"name": "first", "data": {...}, "train": {...}})

Specs are frozen. What follows from one is a function: `num_steps(spec, num_train_pairs)`, `spec_hash(spec, checksum)`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from clipexp.spec.base import Count, Fraction, Incidental, InHashIfSet, Spec, refuse, result_fields, whole
from clipexp.spec.data import DataSpec, size_mismatch

PresetName = Literal["seed", "tiny"]
SPEC_HASH_DIGITS = 12


class TowerSpec(Spec):
    """One transformer."""

    width: Annotated[Count, Field(description="Features a token.")]
    layers: Annotated[Count, Field(description="Residual blocks.")]
    heads: Annotated[Count, Field(description="Attention heads; width must be a multiple.")]
    mlp_ratio: Annotated[float, Field(gt=0, description="Hidden width of the MLP over width.")] = 4.0

    @field_validator("heads")
    @classmethod
    def _check_heads(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", 0)  # not there if it is wrong itself
        if width % heads:
            raise refuse(f"must divide width {width}, but is {heads}")
        return heads


class ModelSpec(Spec):
    """Two towers and their joint space."""

    preset: Annotated[
        PresetName | None, Incidental, Field(description="A named set of sizes that the other keys of `model` amend.")
    ] = None
    image_size_px: Annotated[Count, Field(description="Height and width of the pictures.")]
    patch_size_px: Annotated[Count, Field(description="Height and width of a patch; divides image_size_px.")]
    embed_dim: Annotated[Count, Field(description="Width of the joint space.")]
    context_length: Annotated[
        int, BeforeValidator(whole), Field(ge=3, description="Tokens a caption, the marks of start and end included.")
    ]
    vision: Annotated[TowerSpec, Field(description="The image tower.")]
    text: Annotated[TowerSpec, Field(description="The text tower.")]

    @field_validator("patch_size_px")
    @classmethod
    def _check_patch(cls, patch_size_px: int, info: ValidationInfo) -> int:
        image_size_px = info.data.get("image_size_px", 0)
        if image_size_px % patch_size_px:
            raise refuse(f"must divide image_size_px {image_size_px}, but is {patch_size_px}")
        return patch_size_px


class LossSpec(Spec):
    """What is minimised."""

    kind: Annotated[Literal["info_nce"], Field(description="Symmetric InfoNCE.")] = "info_nce"


class OptimSpec(Spec):
    """How weights are updated."""

    kind: Annotated[Literal["adamw"], Field(description="AdamW.")] = "adamw"
    max_lr: Annotated[float, Field(gt=0, description="The learning rate's peak.")]
    weight_decay: Annotated[
        float, Field(ge=0, description="Decoupled decay of matrices; gains, biases and embeddings have none.")
    ] = 0.2
    beta1: Annotated[float, Field(ge=0, lt=1, description="Decay of the gradient's mean.")] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1, description="Decay of the squared gradient's mean.")] = 0.98
    eps: Annotated[float, Field(gt=0, description="Added to the denominator.")] = 1e-6
    grad_clip_norm: Annotated[float | None, Field(gt=0, description="The gradient's highest norm; null: any.")] = 1.0
    frozen: Annotated[
        Literal["vision", "text"] | None, InHashIfSet, Field(description="A tower that stays as drawn; null: none.")
    ] = None


class ScheduleSpec(Spec):
    """How the learning rate moves over the budget."""

    warmup_frac: Annotated[Fraction, Field(description="Share of the budget in which it rises linearly from 0.")] = 0.02
    decay: Annotated[Literal["cosine", "linear", "constant"], Field(description="Its way down after that.")] = "cosine"
    min_lr_frac: Annotated[Fraction, Field(description="Where it ends, as a share of max_lr.")] = 0.1


class BudgetSpec(Spec):
    """How much training: in epochs (fractions allowed) or in samples, one of the two."""

    epochs: Annotated[float | None, Field(gt=0, description="Passes over the training pairs.")] = None
    samples: Annotated[Count | None, Field(description="Pairs seen, repeats counted.")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.epochs is None) == (self.samples is None):
            raise refuse("takes exactly one of epochs and samples")
        return self


class TrainSpec(Spec):
    """The loop."""

    batch_size: Annotated[
        int, BeforeValidator(whole), Field(ge=2, description="Pairs a step; each is told from the others.")
    ]
    micro_batch: Annotated[
        Count | None,
        Incidental,
        Field(
            description="Pairs held in memory at once, the same result for more time; divides batch_size; null: all."
        ),
    ] = None
    budget: Annotated[BudgetSpec, Field(description="How much training.")]
    precision: Annotated[
        Literal["fp32", "bf16"], Field(description="Arithmetic of the towers; weights and the loss stay fp32.")
    ] = "fp32"
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Incidental, Field(description="auto: cuda where there is one.")
    ] = "auto"
    deterministic: Annotated[
        bool,
        Incidental,
        Field(description="On CUDA: resuming gives the same bits, somewhat slower; the CPU always does."),
    ] = False
    log_every_samples: Annotated[Count, Incidental, Field(description="Training metrics are means over this many.")] = (
        10_240
    )
    eval_every_samples: Annotated[Count, Incidental, Field(description="Between two validations.")] = 102_400
    checkpoint_every_samples: Annotated[Count, Incidental, Field(description="Between two checkpoints.")] = 102_400
    keep_last: Annotated[int, Incidental, Field(ge=1, description="How many of the newest checkpoints stay.")] = 2
    keep_best: Annotated[bool, Incidental, Field(description="Whether the best by validation loss stays too.")] = True

    @field_validator("micro_batch")
    @classmethod
    def _check_micro_batch(cls, micro_batch: int | None, info: ValidationInfo) -> int | None:
        batch_size = info.data.get("batch_size", 0)
        if micro_batch is not None and batch_size % micro_batch:
            near = largest_divisor(batch_size, micro_batch)
            raise refuse(f"must divide batch_size {batch_size}, but is {micro_batch}; {near} does")
        return micro_batch


class EvalsSpec(Spec):
    """The frozen validation."""

    num_pairs: Annotated[
        int,
        BeforeValidator(whole),
        Field(ge=2, description="Pairs used, the first of the set; above 1,024 rounded down to whole blocks of that."),
    ] = 1024
    num_examples: Annotated[
        int, Incidental, Field(ge=0, description="Captions kept with the five pictures that they found.")
    ] = 8


class ContinueSpec(Spec):
    """Another run's checkpoint, from whose weights and optimizer this one goes on, towards a longer budget."""

    spec_hash: Annotated[str, Field(description="The other run's spec hash.")]
    samples_seen: Annotated[
        Count, Field(description="Where its checkpoint is; train.budget.samples counts on from it.")
    ]
    weights_sha256: Annotated[str, Field(description="The sha256 of that checkpoint's model file.")]

    @field_validator("spec_hash", "weights_sha256")
    @classmethod
    def _check_digits(cls, digits: str, info: ValidationInfo) -> str:
        num = {"spec_hash": SPEC_HASH_DIGITS, "weights_sha256": 64}[info.field_name or ""]
        if len(digits) != num or not set(digits) <= set("0123456789abcdef"):
            raise refuse(f"must be {num} hex digits in small letters, but is {digits!r}")
        return digits


class RunSpec(Spec):
    """One experiment."""

    name: Annotated[str, Incidental, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="What to call it.")]
    hypothesis: Annotated[str, Incidental, Field(description="What is expected, and why.")] = ""
    seed: Annotated[int, Field(ge=0, description="Decides initial weights, order of the data and augmentation.")] = 0
    data: Annotated[DataSpec, Field(description="Where pairs come from and how they are fed.")]
    model: Annotated[ModelSpec, Field(description="Sizes of the model.")]
    loss: Annotated[LossSpec, Field(description="What is minimised.")] = LossSpec()
    optim: Annotated[OptimSpec, Field(description="How weights are updated.")]
    schedule: Annotated[ScheduleSpec, Field(description="How the learning rate moves.")] = ScheduleSpec()
    train: Annotated[TrainSpec, Field(description="The loop.")]
    evals: Annotated[EvalsSpec, Field(description="The frozen validation.")] = EvalsSpec()
    continue_from: Annotated[
        ContinueSpec | None, InHashIfSet, Field(description="Another run that this one goes on from; null: none.")
    ] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if message := size_mismatch(self.data.image_size_px, self.model.image_size_px):
            raise refuse(message, "data.image_size_px")
        start, samples = start_samples(self), self.train.budget.samples
        if start and samples is None:
            raise refuse("must be given in samples where continue_from is: the whole horizon", "train.budget")
        if start and samples is not None and samples <= start:
            message = f"is {samples:,}, but continue_from.samples_seen is {start:,} already; raise it: it counts from 0"
            raise refuse(message, "train.budget.samples")
        return self


def budget_samples(spec: RunSpec, num_train_pairs: int) -> int:
    """Pairs that the budget pays for: given, or epochs x pairs rounded."""
    if spec.train.budget.samples is not None:
        return spec.train.budget.samples
    return round((spec.train.budget.epochs or 0) * num_train_pairs)


def start_samples(spec: RunSpec) -> int:
    """Samples seen where the run begins: 0, or where the run that it goes on from was left."""
    return spec.continue_from.samples_seen if spec.continue_from else 0


def num_steps(spec: RunSpec, num_train_pairs: int) -> int:
    """Optimizer steps of this run: as many whole batches as its budget pays for from its start, and one at least."""
    return max(1, (budget_samples(spec, num_train_pairs) - start_samples(spec)) // spec.train.batch_size)


def total_samples(spec: RunSpec, num_train_pairs: int) -> int:
    """Samples seen at the run's end."""
    return start_samples(spec) + num_steps(spec, num_train_pairs) * spec.train.batch_size


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of a number that is not above a limit of 1 or more; `(96, 50)` -> 48."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)


def spec_hash(spec: RunSpec, data_checksum: str) -> str:
    """The run's identity: 12 hex digits over all that affects the result, the prepared set's checksum included."""
    return _hash(result_fields(spec), data_checksum)


def group_hash(spec: RunSpec, data_checksum: str) -> str:
    """What replicates of a spec share: 12 hex digits, as `spec_hash` but for the seed."""
    fields = {key: value for key, value in result_fields(spec).items() if key != "seed"}
    return _hash(fields, data_checksum)


def _hash(fields: Mapping[str, Any], data_checksum: str) -> str:
    if fields["data"]["captions"] == "sample":
        # Drawn by (seed, epoch, row). Runs whose captions were drawn by the batch's position are not repeated by these.
        fields = {**fields, "captions_drawn_by": "row"}
    content = json.dumps({"spec": fields, "store": data_checksum}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:SPEC_HASH_DIGITS]
