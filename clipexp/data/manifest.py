"""The manifest of a prepared set: what it holds, what it was made from, and checksums to hold it to.

    read_manifest(Path("data/scenes-v1")).checksum

Plain JSON, read without numpy or Arrow, so that `clipexp check` stays quick. It ends in a checksum of its own content,
as the `meta.json` of a folder of tokens does, so that a single changed byte is told.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipexp.errors import StoreError
from clipexp.spec.base import result_fields
from clipexp.spec.data import DataSpec, TokenizerSpec

MANIFEST_FILE = "manifest.json"
TOKENS_META = "meta.json"  # in a folder of tokens
PREPARE = "clipexp data prepare SPEC"  # the command line puts the spec in hand for SPEC
REMEDY = f"remove it and run: {PREPARE}"
TOKENIZER_FILE = "tokenizer.json"  # in a folder of tokens
VERSION = 2  # of a whole store, its tokens too
Side = str  # "train", "val", or a test set of the source such as "test-counts"
SIDES: tuple[Side, ...] = ("train", "val")  # which every store has


@dataclass(frozen=True)
class Shard:
    """One Arrow file."""

    file: str
    side: Side
    num_rows: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class FileSum:
    """What a file is held to."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class TokensMeta:
    """What stands in a folder of tokens' `meta.json`: what made them, and its other files by name."""

    spec: Mapping[str, Any]
    hash: str
    files: Mapping[str, FileSum]

    def to_json(self) -> str:
        """The file's content."""
        return sealed_json(dataclasses.asdict(self))


@dataclass(frozen=True)
class Manifest:
    """What stands in `manifest.json`.

    num_dropped_by_reason: items of the source that became no pair, all of them listed in dropped.jsonl. files: what
    stands beside the shards. Both may be missing from sets prepared by earlier versions.
    """

    settings: Mapping[str, Any]
    num_train: int
    num_val: int
    num_left_out: int
    num_dropped_by_reason: Mapping[str, int]
    dropped_examples_by_reason: Mapping[str, tuple[str, ...]]
    shards: tuple[Shard, ...]
    licence: str
    attribution: str
    versions: Mapping[str, str]
    checksum: str
    version: int = VERSION
    files: Mapping[str, FileSum] = field(default_factory=dict)

    def to_json(self) -> str:
        """The file's content."""
        return sealed_json(dataclasses.asdict(self))


def sealed_json(content: Mapping[str, Any]) -> str:
    """JSON with a checksum of its own content, `sha256`, in the end."""
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, indent=1, ensure_ascii=False) + "\n"


def read_sealed(path: Path) -> dict[str, Any]:
    """What `sealed_json` made a file of, held to its checksum.

    Raises:
        ValueError: any byte of it was changed.
        OSError: it can't be read.
    """
    text = path.read_bytes().decode()  # not read_text(): it would take a line that ends in CR LF for a sound one
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("it holds no fields")
    content.pop("sha256", None)
    if sealed_json(content) != text:
        raise ValueError("its content does not fit its checksum")
    return content


def file_sha256(path: Path) -> str:
    """64 hex digits over a file's bytes. Lets other threads work meanwhile. Raises OSError if it can't be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def store_settings(spec: DataSpec) -> dict[str, Any]:
    """What of a spec decides a prepared set's pictures and captions."""
    fields = result_fields(spec)
    always = ("source", "image_size_px", "encoding", "split")
    where_set = ("resize", "decode", "jpeg_quality", "jpeg_subsampling", "filters")
    return {key: fields[key] for key in (*always, *(key for key in where_set if key in fields))}


def shards_checksum(shards: tuple[Shard, ...]) -> str:
    """The prepared set's own checksum: 16 hex digits over its shards'."""
    return hashlib.sha256("\n".join(f"{s.file} {s.sha256}" for s in shards).encode()).hexdigest()[:16]


def read_manifest(store: Path) -> Manifest:
    """Read a store's manifest and see that its shards are there at full length.

    Raises:
        StoreError: the store is missing, of another version, unreadable or cut short.
    """
    path = store / MANIFEST_FILE
    remedy = f"prepare it with: {PREPARE}"
    if not path.is_file():
        raise StoreError(f"there is no prepared set at {store}; {remedy}")
    try:
        version = _version_without_seal(path)
        if version is None:
            content = read_sealed(path)
            version = content["version"]
        if version == VERSION:
            content["shards"] = tuple(Shard(**shard) for shard in content["shards"])
            examples = content["dropped_examples_by_reason"]
            content["dropped_examples_by_reason"] = {reason: tuple(keys) for reason, keys in examples.items()}
            content["files"] = {name: FileSum(**found) for name, found in content.get("files", {}).items()}
            manifest = Manifest(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove {store} and {remedy}") from error
    if version != VERSION:
        raise StoreError(f"{path} is of version {version}, this clipexp reads {VERSION}; remove {store} and {remedy}")
    for shard in manifest.shards:
        file = store / shard.file
        num_bytes = file.stat().st_size if file.is_file() else 0
        if num_bytes != shard.num_bytes:
            raise StoreError(
                f"{file} has {num_bytes:,} bytes, the manifest says {shard.num_bytes:,}: the store was cut short or"
                f" changed; remove {store} and {remedy}"
            )
    return manifest


def _version_without_seal(path: Path) -> int | None:
    """Version 1, whose manifests had no checksum of their own; None for any other.

    No single changed bit makes a sealed manifest look so: it would have to lose its `sha256` and become of version 1.
    """
    content = json.loads(path.read_bytes())
    return 1 if "sha256" not in content and content["version"] == 1 else None


def manifest_for(spec: DataSpec) -> Manifest:
    """The manifest of the store that a spec names, made with the settings that the spec asks for.

    Raises:
        StoreError: as `read_manifest`, or the store was prepared with other settings.
    """
    manifest = read_manifest(Path(spec.store))
    wanted = store_settings(spec)
    if dict(manifest.settings) != wanted:
        found, keys = manifest.settings, sorted({*wanted, *manifest.settings})
        differing = [key for key in keys if found.get(key) != wanted.get(key)]
        details = "; ".join(f"{key} is {found.get(key)}, the spec says {wanted.get(key)}" for key in differing)
        raise StoreError(
            f"the store {spec.store} was prepared with other settings: {details}."
            f" Name another folder in data.store, or remove this one, and run: {PREPARE}"
        )
    return manifest


def read_tokens_meta(folder: Path) -> TokensMeta:
    """What a folder of tokens says of itself. Raises StoreError if that is damaged."""
    path = folder / TOKENS_META
    try:
        content = read_sealed(path)
        files = {name: FileSum(**file) for name, file in content["files"].items()}
        return TokensMeta(content["spec"], content["hash"], files)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove {folder} and run: {PREPARE}") from error


def tokens_folders(store: Path) -> list[Path]:
    """All of a store's folders of tokens; without one that was never finished."""
    return [meta.parent for meta in sorted(store.glob(f"tokens-*/{TOKENS_META}"))]


def find_tokens(store: Path, spec: TokenizerSpec, context_length: int) -> Path | None:
    """The folder with a store's tokens for this tokenizer, `tokens-HASH`; None if there is none of full length.

    Raises:
        StoreError: what a folder of tokens says of itself is damaged.
    """
    wanted = {**result_fields(spec), "context_length": context_length}
    for folder in tokens_folders(store):
        meta = read_tokens_meta(folder)
        is_whole = all(
            (file := folder / name).is_file() and file.stat().st_size == found.num_bytes
            for name, found in meta.files.items()
        )
        if meta.spec == wanted and is_whole:
            return folder
    return None


def data_checksum(spec: DataSpec, context_length: int) -> str:
    """What a run trains on, in short: the prepared set's checksum and the hash of its tokens.

    Raises:
        StoreError: as `manifest_for`, or the set is not tokenized as the spec asks.
    """
    checksum = manifest_for(spec).checksum
    folder = find_tokens(Path(spec.store), spec.tokenizer, context_length)
    if folder is None:
        raise StoreError(
            f"{spec.store} is not tokenized with data.tokenizer {spec.tokenizer.kind} at context_length"
            f" {context_length}; add that with: {PREPARE}"
        )
    return f"{checksum} {folder.name}"
