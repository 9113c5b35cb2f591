"""A prepared set looked into: its manifest, statistics of a sample, a contact sheet and histograms.

found = inspect(Path("data/scenes-v1-48px"), InspectOptions(num=12))
found.to_json()["statistics"]["caption_chars"]["median"]

Counts and settings are the manifest's. Statistics rest on a sample of rows, which is told beside them, so that a set of
millions takes no longer than a small one.
"""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipexp.data.manifest import Manifest, Side, TokensMeta, read_tokens_meta, tokens_folders
from clipexp.data.prepare.drops import DROPPED_FILE, LEFT_OUT
from clipexp.data.sample import Sample, ShownPair, quantiles, read_sample, shown_pairs
from clipexp.data.store import Store
from clipexp.errors import ReportError
from clipexp.plots.contact_sheet import Cell, contact_sheet
from clipexp.plots.histograms import Panel, TokensCurve, colours_panel, histograms, tokens_panel, values_panel

NUM_SAMPLED, NUM_SHOWN, MAX_SHOWN = 2_000, 24, 400
SHEET_FILE, HISTOGRAMS_FILE = "contact-sheet.png", "histograms.png"
OUT = Path("reports/inspect")
FEW_CAPTIONS = 5


@dataclass(frozen=True)
class InspectOptions:
    """As the command's: `out` None: reports/inspect/NAME; `num` None: 24, or all there are."""

    verify: bool = False
    out: Path | None = None
    num: int | None = None
    side: Side = "train"
    seed: int = 0


@dataclass(frozen=True)
class Inspection:
    """All that is told of a store. num_verified: files held to their checksums; 0: none were."""

    store: Path
    manifest: Manifest
    tokens: Mapping[str, TokensMeta]
    sample: Sample
    shown: Sequence[ShownPair]
    out: Path
    num_verified: int

    @property
    def num_by_side(self) -> dict[Side, int]:
        """Rows of each side."""
        found: dict[Side, int] = {}
        for shard in self.manifest.shards:
            found[shard.side] = found.get(shard.side, 0) + shard.num_rows
        return found

    @property
    def num_bytes(self) -> int:
        """Of all that has a checksum."""
        of_tokens = sum(file.num_bytes for meta in self.tokens.values() for file in meta.files.values())
        of_others = sum(file.num_bytes for file in self.manifest.files.values())
        return sum(shard.num_bytes for shard in self.manifest.shards) + of_others + of_tokens

    @property
    def basis(self) -> str:
        """What the statistics rest on."""
        num, of = len(self.sample.rows), self.sample.num_pairs
        drawn = f"all {of:,}" if num == of else f"{num:,} of {of:,}"
        return f"{drawn} pairs of {self.sample.side}" + ("" if num == of else f", at random (seed {self.sample.seed})")

    @property
    def num_by_reason(self) -> dict[str, int]:
        """All that became no pair, with what was left out for the sake of the split."""
        left_out = {LEFT_OUT: self.manifest.num_left_out} if self.manifest.num_left_out else {}
        return {**self.manifest.num_dropped_by_reason, **left_out}

    @property
    def dropped_file(self) -> Path | None:
        """Where every dropped item is listed."""
        return self.store / DROPPED_FILE if DROPPED_FILE in self.manifest.files else None

    def to_json(self) -> dict[str, Any]:
        """All of it as one object."""
        manifest = dataclasses.asdict(self.manifest)
        kept = ("version", "checksum", "settings", "shards", "num_left_out", "num_dropped_by_reason")
        rest = ("dropped_examples_by_reason", "files", "versions", "licence", "attribution")
        return {
            "store": str(self.store),
            "num_bytes": self.num_bytes,
            "num_pairs_by_side": self.num_by_side,
            **{key: manifest[key] for key in (*kept, *rest)},
            "dropped_file": str(self.dropped_file) if self.dropped_file else None,
            "tokens": [_tokens_json(folder, meta) for folder, meta in self.tokens.items()],
            "statistics": _statistics_json(self.sample),
            "shown_rows": [pair.row for pair in self.shown],
            "written": {"contact_sheet": str(self.out / SHEET_FILE), "histograms": str(self.out / HISTOGRAMS_FILE)},
            "num_verified_files": self.num_verified,
        }


def inspect(folder: Path, options: InspectOptions, verify: Callable[[Store], None] = Store.verify) -> Inspection:
    """Read a store, and write its contact sheet and histograms.

    Args:
        folder: the store.
        options: see there.
        verify: how, where the options ask for it; so that one may watch.

    Raises:
        StoreError: there is no store, it is damaged, or a checksum does not fit.
        ReportError: it has no such side, fewer pairs than are to be shown, or `options.out` can't be written.
    """
    store = Store(folder)
    manifest = store.manifest
    num_shown = _num_shown(store, options)
    out = options.out or OUT / folder.resolve().name
    _make_folder(out)
    tokens = {found.name: read_tokens_meta(found) for found in tokens_folders(folder)}
    num_verified = 0
    if options.verify:
        verify(store)
        num_verified = len(manifest.shards) + len(manifest.files) + sum(len(meta.files) for meta in tokens.values())
    sample = read_sample(store, options.side, NUM_SAMPLED, options.seed)
    shown = shown_pairs(store, options.side, num_shown, options.seed)
    found = Inspection(folder, manifest, tokens, sample, shown, out, num_verified)
    _write(out / SHEET_FILE, _sheet(found))
    _write(out / HISTOGRAMS_FILE, _histograms(found))
    return found


def _num_shown(store: Store, options: InspectOptions) -> int:
    if options.side not in store.sides():
        raise ReportError(f"{store.folder} has no side {options.side}; it has {', '.join(store.sides())}")
    num_rows = sum(shard.num_rows for shard in store.manifest.shards if shard.side == options.side)
    most = min(num_rows, MAX_SHOWN)
    num = min(NUM_SHOWN, most) if options.num is None else options.num
    if not 1 <= num <= most:
        why = f"as many pairs as {options.side} has" if num_rows <= MAX_SHOWN else "more would make no legible sheet"
        raise ReportError(f"--num {num}: show 1 to {most} pictures ({why})")
    return num


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from error


def _write(path: Path, content: bytes) -> None:
    tmp = path.with_name(f"{path.name}.tmp")
    try:
        tmp.write_bytes(content)
        tmp.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            tmp.unlink()  # a full disk gets its room back
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ReportError:
    return ReportError(f"{path} can't be written ({error.strerror or error}); name another folder with --out")


def _command(found: Inspection) -> str:
    flags = f"--side {found.sample.side} --seed {found.sample.seed} --num {len(found.shown)}"
    return f"clipexp data inspect {shlex.quote(str(found.store))} {flags}"


def _sheet(found: Inspection) -> bytes:
    settings = found.manifest.settings
    num, of = len(found.shown), found.sample.num_pairs
    drawn = f"all {of:,} pairs of {found.sample.side}"
    if num < of:
        drawn = f"{num:,} of {of:,} pairs of {found.sample.side}, at random (seed {found.sample.seed})"
    subtitle = f"{drawn} · {settings['image_size_px']} px, {settings['encoding']} · checksum {found.manifest.checksum}"
    cells = [Cell(pair.pixels, pair.key, pair.captions) for pair in found.shown]
    foot = found.manifest.attribution or f"licence: {found.manifest.licence}"
    return contact_sheet(cells, found.store.resolve().name, subtitle, foot, _command(found))


def _histograms(found: Inspection) -> bytes:
    sample = found.sample
    num_captions = int(sample.captions_a_picture.max())
    ends = (1, FEW_CAPTIONS if num_captions <= FEW_CAPTIONS else None)
    panels: list[Panel] = [values_panel("caption length", sample.caption_chars, "characters")]
    if sample.tokens:
        curves = [TokensCurve(f"{t.kind} {t.vocab_size:,}", t.lengths, t.context_length) for t in sample.tokens]
        panels.append(tokens_panel("tokens a caption", curves))
    panels.append(values_panel("captions a picture", sample.captions_a_picture, "captions", ends=ends))
    luma = "mean luma of a picture, 0-255"
    panels.append(values_panel("brightness", sample.brightness, luma, is_whole=False, ends=(0, 255)))
    if sample.jpeg_bytes is not None:
        panels.append(values_panel("JPEG files", sample.jpeg_bytes / 1000, "kB", is_whole=False))
    panels.append(colours_panel("colour", sample.counts_by_value))
    title = f"{found.store.resolve().name}: {found.basis}"
    return histograms(title, panels, found.num_by_reason, _command(found))


def _tokens_json(folder: str, meta: TokensMeta) -> dict[str, Any]:
    num_bytes = sum(file.num_bytes for file in meta.files.values())
    return {"folder": folder, **meta.spec, "hash": meta.hash, "num_bytes": num_bytes}


def _statistics_json(sample: Sample) -> dict[str, Any]:
    """Quantiles of all that was measured, and how many rows they rest on."""
    tokens = [
        {
            "folder": each.folder,
            "vocab_size": each.vocab_size,
            "context_length": each.context_length,
            "tokens_a_caption": quantiles(each.lengths),
            "cut_frac": each.cut_frac,
            "num_differing": each.num_differing,
        }
        for each in sample.tokens
    ]
    return {
        "side": sample.side,
        "seed": sample.seed,
        "num_pairs": sample.num_pairs,
        "num_sampled": len(sample.rows),
        "captions_a_picture": quantiles(sample.captions_a_picture),
        "caption_chars": quantiles(sample.caption_chars),
        "tokens": tokens,
        "brightness": quantiles(sample.brightness),
        "channel_mean_rgb": sample.channel_mean.tolist(),
        "channel_std_rgb": sample.channel_std.tolist(),
        "jpeg_bytes": None if sample.jpeg_bytes is None else quantiles(sample.jpeg_bytes),
    }
