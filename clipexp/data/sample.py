"""What a sample of a prepared set's rows says: lengths, colours, bytes. The sampled rows alone are read.

sample = read_sample(Store(Path("data/scenes-v1")), "train", num_rows=2000, seed=0)
quantiles(sample.brightness)["median"]
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from clipexp.data.manifest import Side, TokensMeta, read_tokens_meta, tokens_folders
from clipexp.data.sources import Pixels
from clipexp.data.store import Store
from clipexp.data.table import PairTable
from clipexp.data.tokenizer import Tokenizer, clean
from clipexp.errors import StoreError
from clipexp.spec.data import TokenizerSpec

Rows = NDArray[np.integer]
Counts = NDArray[np.int64]
BLOCK_BYTES = 16 << 20  # of pictures at once in memory
CAPTIONS_AT_ONCE = 256
NUM_MARKS = 2  # the start and the end of text
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
STATISTICS, SHOWN = 0, 1  # what rows are drawn for, so that neither depends on how many the other takes


@dataclass(frozen=True)
class TokensSample:
    """One tokenizer on the sampled captions.

    lengths: int64 (captions,), tokens with both marks, uncut. num_differing: captions whose stored tokens are not what
    the stored tokenizer makes of them now.
    """

    folder: str
    kind: str
    vocab_size: int
    context_length: int
    lengths: Counts
    num_differing: int

    @property
    def cut_frac(self) -> float:
        """The share of captions that lose words to the context length."""
        return float((self.lengths > self.context_length).mean())


@dataclass(frozen=True)
class Sample:
    """Some rows of one side, drawn at random.

    num_pairs: rows of the whole side. rows: (rows,), in order. captions_a_picture: (rows,). caption_chars: (captions,).
    brightness: float64 (rows,), the mean luma of each picture, 0-255. counts_by_value: int64 (3, 256), how often red,
    green and blue take each value. jpeg_bytes: (rows,); None where pictures are stored raw.
    """

    side: Side
    seed: int
    num_pairs: int
    rows: Rows
    captions_a_picture: Counts
    caption_chars: Counts
    tokens: tuple[TokensSample, ...]
    brightness: NDArray[np.float64]
    counts_by_value: Counts
    jpeg_bytes: Counts | None

    @property
    def channel_mean(self) -> NDArray[np.float64]:
        """Of red, green and blue, 0-255."""
        found: NDArray[np.float64] = self.counts_by_value @ np.arange(256) / self.counts_by_value.sum(axis=1)
        return found

    @property
    def channel_std(self) -> NDArray[np.float64]:
        """Of red, green and blue, over all pixels of all sampled pictures."""
        squares = self.counts_by_value @ np.arange(256) ** 2 / self.counts_by_value.sum(axis=1)
        found: NDArray[np.float64] = np.sqrt(np.maximum(squares - self.channel_mean**2, 0))
        return found


@dataclass(frozen=True)
class ShownPair:
    """A pair to look at; pixels: uint8 (height, width, 3)."""

    row: int
    key: str
    captions: tuple[str, ...]
    pixels: Pixels


def quantiles(values: NDArray[np.generic]) -> dict[str, float]:
    """Minimum, maximum, mean, and some quantiles between."""
    found = np.quantile(values.astype(np.float64), list(QUANTILES.values()))
    return {**dict(zip(QUANTILES, map(float, found), strict=True)), "mean": float(values.astype(np.float64).mean())}


def draw_rows(num_pairs: int, num_rows: int, seed: int, purpose: int = STATISTICS) -> Rows:
    """Some rows of a side at random, in order; all where there are no more."""
    found = np.random.default_rng([seed, purpose]).choice(num_pairs, min(num_rows, num_pairs), replace=False)
    return np.sort(found)


def shown_pairs(store: Store, side: Side, num: int, seed: int) -> list[ShownPair]:
    """Some pairs of a side at random, in the order of rows. Raises StoreError where one can't be read."""
    table = _table(store, side)
    rows = draw_rows(table.num_pairs, num, seed, SHOWN)
    captions = _captions(store, table, rows)
    pictures = (picture for block in _pictures(store, table, rows) for picture in block)
    return [
        ShownPair(row, table.key(row), found, picture)
        for row, found, picture in zip(rows.tolist(), captions, pictures, strict=True)
    ]


def read_sample(store: Store, side: Side, num_rows: int, seed: int) -> Sample:
    """Draw rows of a side and measure them; memory does not grow with the set.

    Raises:
        StoreError: a picture, caption or token of them can't be read.
    """
    table = _table(store, side)
    rows = draw_rows(table.num_pairs, num_rows, seed)
    captions = _captions(store, table, rows)
    flat = [caption for row in captions for caption in row]
    brightness, counts = [], np.zeros((3, 256), np.int64)
    for block in _pictures(store, table, rows):
        found = np.array([Image.fromarray(picture).histogram() for picture in block], np.int64).reshape(-1, 3, 256)
        counts += found.sum(axis=0)
        brightness.append(found @ np.arange(256) / found.sum(axis=2) @ LUMA)
    tokens = [_tokens_sample(store, side, folder.name, rows, captions) for folder in tokens_folders(store.folder)]
    return Sample(
        side=side,
        seed=seed,
        num_pairs=table.num_pairs,
        rows=rows,
        captions_a_picture=np.array([len(row) for row in captions], np.int64),
        caption_chars=np.array([len(caption) for caption in flat], np.int64),
        tokens=tuple(tokens),
        brightness=np.concatenate(brightness),
        counts_by_value=counts,
        jpeg_bytes=_jpeg_bytes(store, side, rows) if store.manifest.settings["encoding"] == "jpeg" else None,
    )


def _table(store: Store, side: Side) -> PairTable:
    """One side, its files watched; where a store has no tokens yet, one that has none."""
    for folder in tokens_folders(store.folder):
        return store.table(side, *tokenizer_spec(read_tokens_meta(folder)))
    batches = store.batches(side)
    num_captions = sum(len(batch.column("captions").flatten()) for batch in batches)
    return PairTable(batches, np.empty((num_captions, 0), np.uint16), store.manifest.settings["image_size_px"])


def _captions(store: Store, table: PairTable, rows: Rows) -> list[tuple[str, ...]]:
    try:
        return [table.captions(row) for row in rows.tolist()]
    except ValueError as error:  # bytes that are no UTF-8
        raise _unreadable(store, f"a caption ({error})") from error


def _pictures(store: Store, table: PairTable, rows: Rows) -> Iterator[Pixels]:
    """Pictures in blocks: uint8 (some, height, width, 3)."""
    num = max(1, BLOCK_BYTES // (3 * table.image_size_px**2))
    for start in range(0, len(rows), num):
        table.read_ahead(rows[start : start + 2 * num])
        try:
            yield table.pixels(rows[start : start + num])
        except ValueError as error:
            raise _unreadable(store, f"a picture ({error})") from error


def _unreadable(store: Store, what: str) -> StoreError:
    told = f"`clipexp data inspect {store.folder} --verify` tells which file was changed"
    return StoreError(f"{store.folder} holds {what} that can't be read; {told}")


def _jpeg_bytes(store: Store, side: Side, rows: Rows) -> Counts:
    found, start = [], 0
    for batch in store.batches(side):
        inside = rows[(rows >= start) & (rows < start + batch.num_rows)] - start
        offsets = np.frombuffer(batch.column("image").buffers()[1], np.int64)
        found.append(offsets[inside + 1] - offsets[inside])
        start += batch.num_rows
    return np.concatenate(found)


def _tokens_sample(
    store: Store, side: Side, folder: str, rows: Rows, captions: Sequence[tuple[str, ...]]
) -> TokensSample:
    meta = read_tokens_meta(store.folder / folder)
    spec, context_length = tokenizer_spec(meta)
    table = store.table(side, spec, context_length)
    num = np.array([len(row) for row in captions])
    caption_idx = np.concatenate([np.arange(n) for n in num])
    stored = table.tokens(np.repeat(rows, num), caption_idx)
    tokenizer = store.tokenizer(spec, context_length)
    flat = [caption for row in captions for caption in row]
    is_same = [
        (tokenizer.encode(flat[start : start + CAPTIONS_AT_ONCE]) == stored[start : start + CAPTIONS_AT_ONCE]).all(1)
        for start in range(0, len(flat), CAPTIONS_AT_ONCE)
    ]
    return TokensSample(
        folder=folder,
        kind=spec.kind,
        vocab_size=tokenizer.vocab_size,
        context_length=context_length,
        lengths=_uncut_lengths(tokenizer, flat, stored),
        num_differing=int((~np.concatenate(is_same)).sum()),
    )


def tokenizer_spec(meta: TokensMeta) -> tuple[TokenizerSpec, int]:
    """What made a folder of tokens: the tokenizer's spec, and the context length."""
    fields = {key: value for key, value in meta.spec.items() if key != "context_length"}
    spec: TokenizerSpec = TypeAdapter(TokenizerSpec).validate_python(fields)
    return spec, int(meta.spec["context_length"])


def _uncut_lengths(tokenizer: Tokenizer, captions: Sequence[str], stored: NDArray[np.uint16]) -> Counts:
    """How long each caption's tokens are, or would be at any context length.

    The end of text has the highest id, so its place tells a stored caption's length. Only those that fill the context
    are encoded again, with room for all: no byte-pair encoding gives more tokens than there are bytes.
    """
    lengths: Counts = stored.argmax(axis=1).astype(np.int64) + 1
    full = np.flatnonzero(lengths == tokenizer.context_length)
    if not len(full):
        return lengths
    num_bytes = max(len(clean(captions[idx]).encode()) for idx in full.tolist())
    roomy = Tokenizer(tokenizer.content, num_bytes + 1 + NUM_MARKS)  # 1: for the space that may be set before it
    for start in range(0, len(full), CAPTIONS_AT_ONCE):
        some = full[start : start + CAPTIONS_AT_ONCE]
        lengths[some] = roomy.encode([captions[idx] for idx in some.tolist()]).argmax(axis=1) + 1
    return lengths
