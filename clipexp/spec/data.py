"""The data section of a spec: which pairs, how they are prepared, and how they are fed.

DataSpec.model_validate({"source": {"kind": "scenes-v1"}, "store": "data/scenes", ...})
"""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from clipexp.spec.base import Count, Fraction, Incidental, InHashIfSet, Spec, refuse, whole
from clipexp.spec.sources import SourceSpec, needs_path

BYTE_PAIR_FLOOR = 258  # 256 bytes and the two marks for start and end of text
CLIP_VOCAB_SIZE = 49_408  # Radford 2021, section 2.4, with the two marks
MAX_VAL_SHARE = 0.2  # of the set, that validates


class ClipTokenizerSpec(Spec):
    """CLIP's own byte-pair encoding, 49,408 entries."""

    kind: Literal["clip"]

    @property
    def vocab_size(self) -> int:
        """Rows of the token embedding."""
        return CLIP_VOCAB_SIZE


class TrainedTokenizerSpec(Spec):
    """A byte-pair encoding trained on the training captions."""

    kind: Literal["trained"]
    vocab_size: Annotated[
        int,
        BeforeValidator(whole),
        Field(ge=BYTE_PAIR_FLOOR, le=65_536, description="Rows of the token embedding; the most entries it may learn."),
    ] = 2048


TokenizerSpec = Annotated[ClipTokenizerSpec | TrainedTokenizerSpec, Field(discriminator="kind")]


class SplitSpec(Spec):
    """How the frozen validation set is taken out."""

    num_val: Annotated[Count, Field(description="Validation pairs; no more than a fifth of the set is taken.")] = 1024
    seed: Annotated[int, Field(ge=0, description="Decides which pairs validate.")] = 0


class FilterSpec(Spec):
    """Which pairs of the source are wanted; each that is not is counted under the filter's name."""

    min_side_px: Annotated[
        Count | None, InHashIfSet, Field(description="Pictures whose shorter side is below it go; null: none.")
    ] = None
    max_aspect: Annotated[
        float | None,
        InHashIfSet,
        Field(ge=1, description="Pictures longer than this times their width go; null: none."),
    ] = None
    min_caption_chars: Annotated[
        Count | None, InHashIfSet, Field(description="Captions with fewer characters go; null: only empty ones.")
    ] = None
    max_caption_chars: Annotated[
        Count | None, InHashIfSet, Field(description="Captions with more characters go; null: only above 10,000.")
    ] = None
    duplicates: Annotated[
        Literal["keep", "drop"],
        Field(description="drop: of pictures that are the same in every pixel, all but one go."),
    ] = "keep"


class DataSpec(Spec):
    """Where pairs come from, how they are prepared and how they are fed."""

    source: Annotated[SourceSpec, Field(description="Where pairs come from.")]
    path: Annotated[
        str | None,
        Incidental,
        Field(validate_default=True, description="Folder of the source's own files, where it reads any."),
    ] = None
    store: Annotated[str, Incidental, Field(description="Folder of the prepared set.")]
    image_size_px: Annotated[
        Count, Field(description="Height and width of the stored pictures; the model's own, or more to crop from.")
    ]
    resize: Annotated[
        Literal["squash", "crop"] | None,
        InHashIfSet,
        Field(description="squash: both sides to image_size_px; crop: the shorter one, then the middle; null: squash."),
    ] = None
    decode: Annotated[
        Literal["fine", "fast"] | None,
        InHashIfSet,
        Field(description="fine: bicubic from twice the size or more; fast: from the least scale at hand; null: fine."),
    ] = None
    encoding: Annotated[
        Literal["raw", "jpeg"], Field(description="Stored pictures: uint8 as they are, or JPEG at jpeg_quality.")
    ] = "raw"
    jpeg_quality: Annotated[int | None, InHashIfSet, Field(ge=1, le=100, description="1 to 100; null: 95.")] = None
    jpeg_subsampling: Annotated[
        Literal["444", "420"] | None,
        InHashIfSet,
        Field(description="444: colour at full resolution; 420: at half, two thirds of the bytes; null: 444."),
    ] = None
    filters: Annotated[FilterSpec | None, InHashIfSet, Field(description="Which pairs are wanted; null: all.")] = None
    max_drop_frac: Annotated[
        Fraction, Incidental, Field(description="Preparing stops where more of the source is unusable.")
    ] = 0.05
    tokenizer: Annotated[TokenizerSpec, Field(description="How captions become tokens.")]
    split: Annotated[SplitSpec, Field(description="How the validation set is taken out.")] = SplitSpec()
    captions: Annotated[
        Literal["first", "sample"],
        Field(description="With several captions a picture: the first, or one at random, another each epoch."),
    ] = "first"
    shuffle: Annotated[
        Literal["full", "blocks", "none"],
        Field(
            description="full: a new permutation of all each epoch; blocks: of blocks, and within some of them,"
            " for slow disks; none: the source's order."
        ),
    ] = "full"
    block_pairs: Annotated[
        Count | None,
        InHashIfSet,
        Field(description="Pairs that lie together in a block of shuffle blocks; null: 1,024."),
    ] = None
    augment: Annotated[
        Literal["none", "random_resized_crop"],
        Field(description="A crop at random, scaled to the model's size; no flip, since captions say left and right."),
    ] = "none"
    crop_min_area_frac: Annotated[
        Fraction | None,
        InHashIfSet,
        Field(gt=0, description="The least share of the area that a crop keeps; null: 0.5."),
    ] = None
    colour_jitter: Annotated[
        Fraction | None,
        InHashIfSet,
        Field(
            description="Brightness, contrast and saturation change by up to this share at random; null: not at all."
        ),
    ] = None
    num_threads: Annotated[
        Count | None, Incidental, Field(description="Threads that read and decode; null: one a core.")
    ] = None

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source")  # not there if it is wrong itself
        if path is None and source is not None and (needed := needs_path(source)):
            raise refuse(f"is needed by source {source.kind}: {needed}")
        return path

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.block_pairs is not None and self.shuffle != "blocks":
            raise refuse(f"is for shuffle blocks, but that is {self.shuffle}; take one of them out", "block_pairs")
        if self.crop_min_area_frac is not None and self.augment != "random_resized_crop":
            raise refuse(f"is for augment random_resized_crop, but that is {self.augment}", "crop_min_area_frac")
        if self.encoding == "raw" and (self.jpeg_quality or self.jpeg_subsampling):
            key = "jpeg_quality" if self.jpeg_quality else "jpeg_subsampling"
            raise refuse("is for encoding jpeg, but that is raw; take it out, or set encoding to jpeg", key)
        return self


def size_mismatch(stored_px: int, model_px: int) -> str | None:
    """What is wrong between the stored pictures' size and the model's, if anything."""
    if stored_px >= model_px:
        return None
    return f"is {stored_px}, but model.image_size_px is {model_px}: store pictures of that size or larger"
