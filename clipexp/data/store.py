"""A prepared set, read: Arrow shards by memory map, tokens beside them.

store = Store(Path("data/scenes-v1"))
store.verify_once(stamp, store.tokens_folder(tokenizer_spec, context_length=32))  # every byte, once
table = store.table("train", tokenizer_spec, context_length=32)
table.pixels(np.array([5, 0, 17]))  # uint8 (3, 48, 48, 3)
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipexp.data.manifest import (
    PREPARE,
    TOKENS_META,
    FileSum,
    Manifest,
    Side,
    TokensMeta,
    file_sha256,
    find_tokens,
    read_manifest,
    read_sealed,
    read_tokens_meta,
    sealed_json,
    tokens_folders,
)
from clipexp.data.picture import decode_jpeg
from clipexp.data.sources import Pixels
from clipexp.data.tokenizer import Tokenizer
from clipexp.errors import StoreError
from clipexp.spec.run import TokenizerSpec, result_fields

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.integer]
SIDES: tuple[Side, ...] = ("train", "val")
TOKENIZER_FILE = "tokenizer.json"
REMEDY = f"remove it and run: {PREPARE}"
NUM_HASH_THREADS = 2  # one reads while the other hashes; more wait for the disk
SETTLED_NS = 2_000_000_000  # file systems count changes in steps of up to 2 s
Report = Callable[[int, int], None]  # (bytes done, of how many)


@dataclass(frozen=True)
class _Facts:
    """What of a file changes with every write (a program can set the mtime back, but not the ctime), and its sha256."""

    num_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


@dataclass(frozen=True)
class Store:
    """A prepared set on disk. Reading its manifest checks that it is whole; `verify` checks every byte."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        """What it holds. Raises StoreError where it is missing or cut short."""
        return read_manifest(self.folder)

    def verify(self, report: Report = lambda *_: None) -> None:
        """Hold every file of the store to its checksum: manifest, shards, and all tokens with their tokenizers.

        Args:
            report: called with the bytes that are done and those of all files.

        Raises:
            StoreError: at the first file that differs.
        """
        self._hold(self._sums(tokens_folders(self.folder)), report)

    def verify_once(self, stamp: Path, tokens: Path, report: Report = lambda *_: None) -> None:
        """Hold the shards and one folder of tokens to their checksums; what was held before and not written to stays.

        What was verified is kept in a stamp. Manifest and notes on tokens are small and read every time.

        Args:
            stamp: a file for this store alone; made if it is missing, damaged or of another store.
            tokens: the folder that is going to be used, see `tokens_folder`.
            report: called with the bytes that are done and those to be done; never if there are none.

        Raises:
            StoreError: at the first file that differs.
        """
        started_ns = time.time_ns()
        sums = self._sums([tokens])
        # Before a byte is read: what is written from here on has a later ctime, and the stamp does not speak for it.
        facts_by_name = {name: self._facts(name, found) for name, found in sums.items()}
        stamped = self._read_stamp(stamp)
        unknown = {name: found for name, found in sums.items() if stamped.get(name) != facts_by_name[name]}
        if not unknown:
            return
        self._hold(unknown, report)
        # A file system's clock has steps: a second write within one leaves the ctime as it is. So a file that was
        # written just now is verified again next time.
        settled = {name: facts_by_name[name] for name in unknown}
        settled = {name: facts for name, facts in settled.items() if facts.ctime_ns < started_ns - SETTLED_NS}
        self._write_stamp(stamp, {**stamped, **settled})

    def _sums(self, tokens: Iterable[Path]) -> dict[str, FileSum]:
        """What each file is held to, by its name within the store."""
        if read_manifest(self.folder) != self.manifest:
            raise StoreError(f"{self.folder} was prepared anew while it was in use; start again")
        sums = {shard.file: FileSum(shard.num_bytes, shard.sha256) for shard in self.manifest.shards}
        for folder in tokens:
            files = read_tokens_meta(folder).files
            sums |= {f"{folder.name}/{name}": found for name, found in files.items()}
        return sums

    def _hold(self, sums: Mapping[str, FileSum], report: Report) -> None:
        num_done, num_total = 0, sum(found.num_bytes for found in sums.values())
        report(num_done, num_total)
        pool = ThreadPoolExecutor(NUM_HASH_THREADS, thread_name_prefix="verify")
        try:
            results = pool.map(self._hold_one, sums, sums.values())
            for found, _ in zip(sums.values(), results, strict=True):
                num_done += found.num_bytes
                report(num_done, num_total)
        finally:
            pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for the rest of a large store

    def _hold_one(self, name: str, expected: FileSum) -> None:
        path = self.folder / name
        try:
            is_same = file_sha256(path) == expected.sha256
        except OSError as error:
            raise self._unreadable(name, error) from error
        if not is_same:
            raise StoreError(f"{path} was changed since it was prepared; {self._remedy(name)}")

    def _facts(self, name: str, found: FileSum) -> _Facts:
        try:
            stat = (self.folder / name).stat()
        except OSError as error:
            raise self._unreadable(name, error) from error
        return _Facts(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, found.sha256)

    def _unreadable(self, name: str, error: OSError) -> StoreError:
        path = self.folder / name
        return StoreError(f"{path} can't be read ({error.strerror}); make it readable, or {self._remedy(name)}")

    def _remedy(self, name: str) -> str:
        return f"remove {(self.folder / name).parent} and run: {PREPARE}"  # of tokens, their folder is enough

    def _read_stamp(self, stamp: Path) -> dict[str, _Facts]:
        """What was verified of this very store."""
        try:
            content = read_sealed(stamp)
            facts_by_name = {name: _Facts(**facts) for name, facts in content["facts_by_name"].items()}
            is_ours = content["store"] == self.folder.resolve().as_uri()
        except (ValueError, LookupError, TypeError, AttributeError, OSError):
            return {}  # missing or damaged: the price is to verify, which writes a new one
        return facts_by_name if is_ours else {}

    def _write_stamp(self, stamp: Path, facts_by_name: Mapping[str, _Facts]) -> None:
        facts = {name: asdict(found) for name, found in facts_by_name.items()}
        # a URI, since it holds any name of a folder in plain characters
        content = {"store": self.folder.resolve().as_uri(), "facts_by_name": facts}
        # Each process has its own: two may verify at once, and the last rename wins. Both stamps are true.
        tmp = stamp.with_name(f"{stamp.name}.{os.getpid()}.tmp")
        try:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            tmp.write_bytes(sealed_json(content).encode())
            tmp.replace(stamp)
        except OSError:
            # Deliberately no error: the data is sound, and a run must not fail for want of a note that says so. The
            # next start verifies again.
            with contextlib.suppress(OSError):
                tmp.unlink()

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

    def tokens_folder(self, tokenizer: TokenizerSpec, context_length: int) -> Path:
        """The folder of tokens for this tokenizer. Raises StoreError if there is none."""
        folder = find_tokens(self.folder, tokenizer, context_length)
        if folder is None:
            raise StoreError(
                f"{self.folder} is not tokenized with data.tokenizer {tokenizer.kind} at context_length"
                f" {context_length}; add that with: {PREPARE}"
            )
        return folder

    def table(self, side: Side, tokenizer: TokenizerSpec, context_length: int) -> "PairTable":
        """One side with its tokens. Raises StoreError if it was not tokenized so."""
        folder = self.tokens_folder(tokenizer, context_length)
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
        return Tokenizer((folder / TOKENIZER_FILE).read_text(), context_length)


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
    (folder / TOKENIZER_FILE).write_text(tokenizer.content)
    files = [folder / name for name in (TOKENIZER_FILE, *(f"{side}.npy" for side in SIDES))]
    meta = TokensMeta(
        spec={**result_fields(spec), "context_length": tokenizer.context_length},
        hash=tokenizer.hash,
        files={file.name: FileSum(file.stat().st_size, file_sha256(file)) for file in files},
    )
    tmp = folder / "meta.json.tmp"  # last, since its presence says that the rest is whole
    tmp.write_bytes(meta.to_json().encode())
    tmp.replace(folder / TOKENS_META)
