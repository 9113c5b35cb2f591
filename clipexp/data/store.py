"""A prepared set, read: Arrow shards by memory map, tokens beside them.

store = Store(Path("data/scenes-v1"))
table = store.table("train", tokenizer_spec, context_length=32)
table.pixels(np.array([5, 0, 17]))  # uint8 (3, 48, 48, 3)
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipexp.data.manifest import PREPARE, TOKENS_META, Manifest, Side, find_tokens, read_manifest
from clipexp.data.picture import decode_jpeg
from clipexp.data.sources import Pixels
from clipexp.data.tokenizer import Tokenizer
from clipexp.errors import StoreError
from clipexp.spec.run import TokenizerSpec, result_fields

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.integer]
SIDES: tuple[Side, ...] = ("train", "val")
REMEDY = f"remove it and run: {PREPARE}"


@dataclass(frozen=True)
class Store:
    """A prepared set on disk. Reading its manifest checks that it is whole; `verify` checks every byte."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        """What it holds. Raises StoreError where it is missing or cut short."""
        return read_manifest(self.folder)

    def verify(self) -> None:
        """Hold every shard to its checksum. Raises StoreError at the first that differs."""
        for shard in self.manifest.shards:
            with (self.folder / shard.file).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != shard.sha256:
                raise StoreError(f"{self.folder / shard.file} was changed since it was prepared; {REMEDY}")

    def batches(self, side: Side) -> list["pa.RecordBatch"]:
        """The shards of one side, memory-mapped; columns `key`, `image`, `captions`."""
        import pyarrow as pa

        found = []
        for shard in self.manifest.shards:
            if shard.side == side:
                path = self.folder / shard.file
                try:
                    found.append(pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0))
                except pa.ArrowInvalid as error:
                    raise StoreError(f"{path} is damaged ({error}); {REMEDY}") from error
        return found

    def all_captions(self, side: Side) -> list[list[str]]:
        """Every caption of every pair, in order."""
        return [row for batch in self.batches(side) for row in batch.column("captions").to_pylist()]

    def table(self, side: Side, tokenizer: TokenizerSpec, context_length: int) -> "PairTable":
        """One side with its tokens. Raises StoreError if it was not tokenized so."""
        folder = find_tokens(self.folder, tokenizer, context_length)
        if folder is None:
            raise StoreError(
                f"{self.folder} is not tokenized with data.tokenizer {tokenizer.kind} at context_length"
                f" {context_length}; add that with: {PREPARE}"
            )
        try:
            tokens = np.load(folder / f"{side}.npy", mmap_mode="r")
        except (ValueError, OSError) as error:
            raise StoreError(f"{folder / side}.npy is damaged ({error}); {REMEDY}") from error
        return PairTable(self.batches(side), tokens, self.manifest.settings["image_size_px"])

    def tokenizer(self, spec: TokenizerSpec, context_length: int) -> Tokenizer:
        """The tokenizer that made the tokens. Raises StoreError if there are none."""
        folder = find_tokens(self.folder, spec, context_length)
        if folder is None:
            raise StoreError(f"{self.folder} holds no tokenizer {spec.kind}; add it with: {PREPARE}")
        return Tokenizer((folder / "tokenizer.json").read_text(), context_length)


class PairTable:
    """Pairs by row number: pixels, tokens, captions. Nothing is held in memory but what is asked for."""

    def __init__(self, batches: Sequence["pa.RecordBatch"], tokens: NDArray[np.uint16], image_size_px: int) -> None:
        self.image_size_px = image_size_px
        self._batches = batches
        self._tokens = tokens
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        self._images = [_raw_images(batch, image_size_px) for batch in batches]
        counts = [np.diff(batch.column("captions").offsets.to_numpy()) for batch in batches]
        self._caption_starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        if len(tokens) != self._caption_starts[-1]:
            raise StoreError(f"{len(tokens)} rows of tokens for {self._caption_starts[-1]} captions: {REMEDY}")

    @property
    def num_pairs(self) -> int:
        """Rows."""
        return int(self._starts[-1])

    def pixels(self, rows: Rows) -> Pixels:
        """Pictures of some rows: uint8 (rows, height, width, 3), 0-255, RGB; newly allocated."""
        out = np.empty((len(rows), self.image_size_px, self.image_size_px, 3), np.uint8)
        shard_idx = np.searchsorted(self._starts, rows, side="right") - 1
        for shard, images in enumerate(self._images):
            at = np.flatnonzero(shard_idx == shard)
            within = rows[at] - self._starts[shard]
            if images is not None:
                out[at] = images[within]
            elif len(at):
                self._decode(shard, within, at, out)
        return out

    def _decode(self, shard: int, within: Rows, at: Rows, out: Pixels) -> None:
        column = self._batches[shard].column("image")

        def one(job: tuple[int, int]) -> None:
            row, place = job
            # simplejpeg takes unsigned bytes only, Arrow's buffers are signed
            out[place] = decode_jpeg(memoryview(column[row].as_buffer()).cast("B"))

        list(self._pool.map(one, zip(within.tolist(), at.tolist(), strict=True)))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    def num_captions(self, rows: Rows) -> NDArray[np.int64]:
        """How many captions each of some rows has: int64 (rows,)."""
        return self._caption_starts[rows + 1] - self._caption_starts[rows]

    def tokens(self, rows: Rows, caption_idx: Rows | int = 0) -> NDArray[np.uint16]:
        """One caption's tokens of each row: uint16 (rows, context_length)."""
        return np.asarray(self._tokens[self._caption_starts[rows] + caption_idx])

    def captions(self, row: int) -> tuple[str, ...]:
        """All captions of one row."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        return tuple(self._batches[shard].column("captions")[row - int(self._starts[shard])].as_py())


def _raw_images(batch: "pa.RecordBatch", size_px: int) -> Pixels | None:
    """A view of a raw shard's pictures, uint8 (rows, height, width, 3); None where they are JPEGs."""
    import pyarrow as pa

    column = batch.column("image")
    if not pa.types.is_fixed_size_binary(column.type):
        return None
    return np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, size_px, size_px, 3)[: batch.num_rows]


def write_tokens(store: Store, spec: TokenizerSpec, tokenizer: Tokenizer) -> None:
    """Tokenize both sides and keep the tokens beside the pictures, under a hash of the tokenizer and its spec.

    Of its spec too, since two vocabulary sizes end in the same tokenizer where the captions offer fewer entries.
    """
    wanted = json.dumps(result_fields(spec), sort_keys=True)
    folder = store.folder / f"tokens-{hashlib.sha256(f'{tokenizer.hash} {wanted}'.encode()).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    for side in SIDES:
        captions = [caption for row in store.all_captions(side) for caption in row]
        np.save(folder / f"{side}.npy", tokenizer.encode(captions))
    (folder / "tokenizer.json").write_text(tokenizer.content)
    meta = {
        "spec": {**result_fields(spec), "context_length": tokenizer.context_length},
        "hash": tokenizer.hash,
        "num_bytes": {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != TOKENS_META},
    }
    tmp = folder / "meta.json.tmp"  # last, since its presence says that the rest is whole
    tmp.write_text(json.dumps(meta) + "\n")
    tmp.replace(folder / TOKENS_META)
