"""A prepared set, read: Arrow shards by memory map, tokens beside them.

store = Store(Path("data/scenes-v1"))
store.verify_once(stamp, store.tokens_folder(tokenizer_spec, context_length=32))  # every byte, once
table = store.table("train", tokenizer_spec, context_length=32)
table.pixels(np.array([5, 0, 17]))  # uint8 (3, 48, 48, 3)
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipexp.data.manifest import (
    PREPARE,
    REMEDY,
    TOKENIZER_FILE,
    FileSum,
    Manifest,
    Side,
    file_sha256,
    find_tokens,
    read_manifest,
    read_sealed,
    read_tokens_meta,
    sealed_json,
    tokens_folders,
)
from clipexp.data.map_guard import Span
from clipexp.data.table import PairTable
from clipexp.data.tokenizer import Tokenizer
from clipexp.data.watch import FileFacts, WatchedFile, file_facts, spans_of
from clipexp.errors import StoreError
from clipexp.spec.data import TokenizerSpec

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.integer]
NUM_HASH_THREADS = 2  # one reads while the other hashes; more wait for the disk
SETTLED_NS = 2_000_000_000  # file systems count changes in steps of up to 2 s
Report = Callable[[int, int], None]  # (bytes done, of how many)


@dataclass(frozen=True)
class _Facts(FileFacts):
    """What of a file changes with every write, and its sha256."""

    sha256: str

    def of_file(self) -> FileFacts:
        """Without the sha256."""
        return FileFacts(self.num_bytes, self.mtime_ns, self.ctime_ns, self.inode)


@dataclass(frozen=True)
class Store:
    """A prepared set on disk. Reading its manifest checks that it is whole; `verify` checks every byte.

    What `verify_once` found verified, a table opened afterwards is held to for as long as it is used.
    """

    folder: Path
    _verified: dict[str, FileFacts] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def manifest(self) -> Manifest:
        """What it holds. Raises StoreError where it is missing or cut short."""
        return read_manifest(self.folder)

    def verify(self, report: Report = lambda *_: None) -> None:
        """Hold every file of the store to its checksum: manifest, shards, drops, and all tokens with their tokenizers.

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
        self._verified.update({name: facts.of_file() for name, facts in facts_by_name.items()})
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
        sums |= self.manifest.files
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
            facts = file_facts(self.folder / name)
        except OSError as error:
            raise self._unreadable(name, error) from error
        return _Facts(**asdict(facts), sha256=found.sha256)

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
                    with pa.memory_map(str(path)) as mapped:  # closed, it stays mapped and holds no file open
                        found.append(pa.ipc.open_file(mapped).get_batch(0))
                except pa.ArrowInvalid as error:
                    raise StoreError(f"{path} is damaged ({error}); {REMEDY}") from error
        return found

    def sides(self) -> tuple[Side, ...]:
        """`train`, `val`, and the test sets that the source has."""
        return tuple(dict.fromkeys(shard.side for shard in self.manifest.shards))

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

    def table(self, side: Side, tokenizer: TokenizerSpec, context_length: int) -> PairTable:
        """One side with its tokens. Raises StoreError if it was not tokenized so."""
        folder = self.tokens_folder(tokenizer, context_length)
        try:
            tokens = np.load(folder / f"{side}.npy", mmap_mode="r")
        except (ValueError, OSError) as error:
            raise StoreError(f"{folder / side}.npy is damaged ({error}); {REMEDY}") from error
        batches = self.batches(side)
        names = [shard.file for shard in self.manifest.shards if shard.side == side]
        spans = [*map(spans_of, batches), [(tokens.ctypes.data, tokens.ctypes.data + tokens.nbytes)]]
        files = [
            self._watched(name, maps) for name, maps in zip([*names, f"{folder.name}/{side}.npy"], spans, strict=True)
        ]
        return PairTable(batches, tokens, self.manifest.settings["image_size_px"], files)

    def _watched(self, name: str, maps: Sequence[Span]) -> WatchedFile:
        path = self.folder / name
        try:
            facts = self._verified.get(name) or file_facts(path)
        except OSError as error:
            raise self._unreadable(name, error) from error
        return WatchedFile(path, facts, maps)

    def tokenizer(self, spec: TokenizerSpec, context_length: int) -> Tokenizer:
        """The tokenizer that made the tokens. Raises StoreError if there are none."""
        folder = find_tokens(self.folder, spec, context_length)
        if folder is None:
            raise StoreError(f"{self.folder} holds no tokenizer {spec.kind}; add it with: {PREPARE}")
        return Tokenizer((folder / TOKENIZER_FILE).read_text(), context_length)
