"""Sources: where pairs come from.

    source = open_source(spec.data)
    for part in source.parts():
        for item in source.read(part):  # a Pair, or a Drop that says why there is none
            ...

A source is cut into parts that can be read side by side; the order of parts, and of items in a part, is fixed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, assert_never

from clipexp.spec.data import DataSpec
from clipexp.spec.sources import (
    FolderSource,
    HfSource,
    OpenMojiSource,
    ScenesSource,
    ScenesV1Source,
    TextToImage2MSource,
    WebDatasetSource,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"  # a name alone, so that counting a source's items loads no numpy


@dataclass(frozen=True)
class Pair:
    """A picture and its captions.

    key: names it within the source. image: an encoded file, or pixels: uint8 (height, width, 3), 0-255, RGB. captions:
    one at least. group_keys: pairs that share one belong together and never stand on both sides of the split. origin:
    the file that it came from, for messages. test: the test set that it belongs to, such as `test-counts`; empty: the
    split decides whether it trains or validates.
    """

    key: str
    image: "bytes | Pixels"
    captions: tuple[str, ...]
    group_keys: tuple[str, ...] = ()
    origin: str = ""
    test: str = ""


@dataclass(frozen=True)
class Drop:
    """An item of the source that is no pair, and why; counted and listed in the store.

    reason: in few words that many drops share. origin: the file that it came from. is_fault: whether the item is
    unusable; else it is left out on purpose, and does not count towards `data.max_drop_frac`.
    """

    key: str
    reason: str
    origin: str = ""
    is_fault: bool = True


@dataclass(frozen=True)
class Part:
    """A share of a source that one process reads: a tar, or a range of indices."""

    name: str
    start: int = 0
    stop: int = 0


class Source(Protocol):
    """What preparing needs to know of a source; picklable, since parts are read in other processes."""

    licence: str
    attribution: str

    def parts(self) -> Sequence[Part]:
        """All parts, in order. Raises SourceError where the source's files are missing."""

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """The items of one part, in order. Raises SourceError where it can't be had, such as a lost connection."""

    def fingerprint(self, part: Part) -> str:
        """Changes whenever the part's own files do (their sizes and times); empty where it has none."""

    def num_items(self) -> int | None:
        """About how many items all parts hold; None where that can't be told beforehand. Quick, and never raises."""


def open_source(spec: DataSpec) -> Source:  # noqa: PLR0911 (one a source)
    """The source that a spec names, its pictures made at `spec.image_size_px` where it makes them itself."""
    match spec.source:
        case ScenesV1Source():
            from clipexp.data.sources.scenes_v1 import ScenesV1

            return ScenesV1(spec.source.num_pairs, spec.source.seed, spec.image_size_px)
        case ScenesSource():
            from clipexp.data.sources.scenes import Scenes

            return Scenes(spec.source, spec.image_size_px)
        case OpenMojiSource():
            from clipexp.data.sources.openmoji import OpenMoji

            return OpenMoji(spec.image_size_px)
        case WebDatasetSource():
            from clipexp.data.sources.webdataset import WebDataset

            return WebDataset(spec.path or "", spec.source)
        case TextToImage2MSource():
            from clipexp.data.sources.text_to_image_2m import TextToImage2M

            return TextToImage2M(spec.path or "", spec.source)
        case FolderSource():
            from clipexp.data.sources.folder import Folder

            return Folder(spec.path or "", spec.source)
        case HfSource():
            from clipexp.data.sources.hf import Hf

            return Hf(spec.path, spec.source)
        case _:
            assert_never(spec.source)
