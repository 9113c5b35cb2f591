"""Where pairs come from: one tagged spec a source.

ScenesSource(kind="scenes", num_pairs=100_000)
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from clipexp.spec.base import Count, Incidental, InHashIfSet, Spec, Texts, refuse

Licence = Annotated[str, Incidental, Field(description="The pictures' licence, for reports that show them.")]
Attribution = Annotated[str, Incidental, Field(description="Whom reports that show the pictures credit.")]


class ScenesV1Source(Spec):
    """Pictures composed from OpenMoji drawings, with captions that say what is where (first version, frozen)."""

    kind: Literal["scenes-v1"]
    num_pairs: Annotated[Count, Field(description="How many pairs to compose, validation included.")] = 42_000
    seed: Annotated[int, Field(ge=0, description="Decides what every scene shows.")] = 0


class ScenesSource(Spec):
    """Pictures composed from hundreds of OpenMoji drawings in colours, sizes, counts, relations and on backgrounds."""

    kind: Literal["scenes"]
    num_pairs: Annotated[Count, Field(description="Pairs to compose, validation included, test sets beside them.")] = (
        100_000
    )
    num_test: Annotated[
        int, Field(ge=0, description="Pairs of each compositional test set: attributes, counts, relations.")
    ] = 1_000
    seed: Annotated[int, Field(ge=0, description="Decides what every scene shows.")] = 0
    order: Annotated[
        Literal["random", "sorted"],
        Field(description="sorted: like scenes follow one another, by what they show; for data.shuffle none."),
    ] = "random"


class OpenMojiSource(Spec):
    """The OpenMoji drawings themselves, captioned with their names and aliases."""

    kind: Literal["openmoji"]


class WebDatasetSource(Spec):
    """A folder of tars whose members share a key: a picture and its caption; set `data.path`."""

    kind: Literal["webdataset"]
    image_suffixes: Annotated[
        Texts | None,
        InHashIfSet,
        Field(description="Which member is the picture, the first found; null: jpg, jpeg, png, webp."),
    ] = None
    caption_suffix: Annotated[
        str | None,
        InHashIfSet,
        Field(description="Which member holds the caption, such as txt, read as text; null: json, by caption_key."),
    ] = None
    caption_key: Annotated[str, Field(description="The key of the JSON that holds the caption, or a list of them.")] = (
        "prompt"
    )
    licence: Licence = "unknown"
    attribution: Attribution = ""


class TextToImage2MSource(Spec):
    """text-to-image-2M: tars of `KEY.jpg` beside `KEY.json` with `prompt`, from a folder or from its hub."""

    kind: Literal["text-to-image-2m"]
    fetch: Annotated[
        Literal["local", "download", "stream"],
        Incidental,
        Field(
            description="local: the tars in data.path; download: what is missing there, first; stream: nothing is kept."
        ),
    ] = "local"
    repo: Annotated[str, Field(description="The set's name on the hub.")] = "jackyhate/text-to-image-2M"
    revision: Annotated[str, Field(description="Its branch, tag or commit.")] = "main"
    files: Annotated[str, Field(description="Which of its files are shards, as a pattern.")] = "data_512_2M/*.tar"
    num_shards: Annotated[
        Count | None, InHashIfSet, Field(description="Only the first this many shards by name; null: all.")
    ] = None
    licence: Licence = "see the set's card on the hub"
    attribution: Attribution = "text-to-image-2M by jackyhate and those whose pictures it holds"


class FolderSource(Spec):
    """A folder of pictures, with captions in `.txt` files beside them or in one table; set `data.path`."""

    kind: Literal["folder"]
    table: Annotated[
        str | None,
        Field(description="CSV, TSV, JSONL or Parquet file within data.path; null: a `.txt` beside each picture."),
    ] = None
    image_column: Annotated[str, Field(description="The table's column with each picture's path in data.path.")] = (
        "file_name"
    )
    caption_columns: Annotated[
        Texts, Field(description="The table's columns with captions; a list in one counts too.")
    ] = ("caption",)
    licence: Licence = "unknown"
    attribution: Attribution = ""


class HfSource(Spec):
    """Any set of the library `datasets` with a picture and a text column, by its name or from `data.path`."""

    kind: Literal["hf"]
    dataset: Annotated[
        str | None, InHashIfSet, Field(description="Its name on the hub; null: what stands in data.path.")
    ] = None
    config: Annotated[
        str | None, InHashIfSet, Field(description="Which of its configurations; null: its only one.")
    ] = None
    revision: Annotated[
        str | None, InHashIfSet, Field(description="Branch, tag or commit on the hub; null: the newest.")
    ] = None
    split: Annotated[str, Field(description="Which of its splits.")] = "train"
    image_column: Annotated[str, Field(description="Its column of pictures.")] = "image"
    caption_columns: Annotated[Texts, Field(description="Its columns with captions; a list in one counts too.")] = (
        "text",
    )
    licence: Licence = "unknown"
    attribution: Attribution = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dataset is None and (self.config is not None or self.revision is not None):
            raise refuse("needs data.source.dataset: config and revision are of a set on the hub")
        return self


SourceSpec = Annotated[
    ScenesV1Source | ScenesSource | OpenMojiSource | WebDatasetSource | TextToImage2MSource | FolderSource | HfSource,
    Field(discriminator="kind"),
]


def needs_path(source: SourceSpec) -> str | None:
    """What `data.path` has to name for a source, in words; None if it reads nothing from there."""
    match source:
        case WebDatasetSource():
            return "the folder that holds the tars"
        case TextToImage2MSource(fetch="local"):
            return "the folder that holds the tars"
        case TextToImage2MSource(fetch="download"):
            return "the folder where the tars go"
        case FolderSource():
            return "the folder that holds the pictures"
        case HfSource(dataset=None):
            return "a folder that `datasets` can load"
        case _:
            return None
