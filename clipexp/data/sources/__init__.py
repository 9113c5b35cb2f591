"""Sources: where pairs come from.

    source = open_source(spec.data)
    for part in source.parts():
        for item in source.read(part):  # a Pair, or a Drop that says why there is none
            ...

A source is cut into parts that can be read side by side; the order of parts, and of items in a part, is fixed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

import numpy as np
from numpy.typing import NDArray

from clipexp.spec.run import DataSpec, OpenMojiSource, ScenesV1Source, WebDatasetSource

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """A picture and its captions.

    `image` is an encoded file, or pixels: uint8 (height, width, 3), 0-255, RGB. Pairs that share one of `group_keys`
    belong together: they never stand on both sides of the split.
    """

    key: str
    image: bytes | Pixels
    captions: tuple[str, ...]
    group_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drop:
    """An item of the source that is no pair, and why; counted in the manifest."""

    key: str
    reason: str


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
        """The items of one part, in order."""


def open_source(spec: DataSpec) -> Source:
    """The source that a spec names, its pictures made at `spec.image_size_px` where it makes them itself."""
    from clipexp.data.sources.openmoji import OpenMoji
    from clipexp.data.sources.scenes_v1 import ScenesV1
    from clipexp.data.sources.webdataset import WebDataset

    match spec.source:
        case ScenesV1Source():
            return ScenesV1(spec.source.num_pairs, spec.source.seed, spec.image_size_px)
        case OpenMojiSource():
            return OpenMoji(spec.image_size_px)
        case WebDatasetSource():
            return WebDataset(spec.path or "", spec.source)
        case _:
            assert_never(spec.source)
