"""`clipexp data inspect` on the console: what a prepared set holds, as tables or JSON.

inspect_on_console(Path("data/scenes-v1-48px"), InspectOptions(verify=True), as_json=False)
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from numpy.typing import NDArray

from clipexp.console import checking_progress, make_console
from clipexp.data.manifest import MANIFEST_FILE, PREPARE, manifest_for
from clipexp.data.sample import quantiles
from clipexp.data.store import Store
from clipexp.errors import StoreError
from clipexp.inspection import HISTOGRAMS_FILE, SHEET_FILE, Inspection, InspectOptions, inspect
from clipexp.space import mb
from clipexp.spec.data import DataSpec
from clipexp.spec.load import load_spec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SHOWN_QUANTILES = ("min", "p5", "median", "p95", "max", "mean")


def inspect_on_console(path: Path, options: InspectOptions, *, as_json: bool) -> None:
    """Print what a store holds, and draw its contact sheet and histograms.

    Args:
        path: the store's folder or its manifest; or a spec, whose data.store is taken.
        options: see there.
        as_json: one object instead of tables.

    Raises:
        StoreError, ReportError: as `inspect`.
        SpecError: the spec is wrong.
    """
    path = path.parent if path.name == MANIFEST_FILE else path
    if path.is_file():
        found, note = _inspect_of_spec(path, options)
    else:
        _require_store(path)
        found, note = _inspect_with_progress(path, options), ""
    if as_json:
        click.echo(json.dumps({**found.to_json(), "note": note}, indent=1, ensure_ascii=False))
    else:
        _print(make_console(), found, note)


def _require_store(folder: Path) -> None:
    """A folder of stores is taken for one easily: name those it holds."""
    stores = [] if (folder / MANIFEST_FILE).exists() else sorted(folder.glob(f"*/{MANIFEST_FILE}"))
    if stores:
        raise StoreError(f"{folder} is no prepared set; it holds {', '.join(str(found.parent) for found in stores)}")


def _inspect_of_spec(path: Path, options: InspectOptions) -> tuple[Inspection, str]:
    """The store that a spec names, and in what it differs from what the spec asks for."""
    spec = load_spec(path).spec.data
    prepare = PREPARE.replace("SPEC", shlex.quote(str(path)))
    try:
        return _inspect_with_progress(Path(spec.store), options), _difference(spec).replace(PREPARE, prepare)
    except StoreError as error:
        raise StoreError(str(error).replace(PREPARE, prepare)) from error


def _inspect_with_progress(folder: Path, options: InspectOptions) -> Inspection:
    def verify(store: Store) -> None:
        with checking_progress(_error_console(), str(folder)) as report:
            store.verify(report)

    return inspect(folder, options, verify)


def _error_console() -> "Console":
    """For progress, which has no place in what is printed."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _difference(spec: DataSpec) -> str:
    """In what a store differs from what the spec that names it asks for; '' where it does not."""
    try:
        manifest_for(spec)
    except StoreError as error:
        return str(error)
    return ""


def _print(console: "Console", found: Inspection, note: str) -> None:
    manifest = found.manifest
    settings, num = manifest.settings, sum(found.num_by_side.values())
    picture = f"{settings['image_size_px']} px, {settings['encoding']}"
    _say(console, f"{found.store}: {num:,} pairs, {picture}, {mb(found.num_bytes)}, checksum {manifest.checksum}")
    if found.num_verified:
        _say(console, f"every byte of {found.num_verified} files is as it was prepared")
    if note:
        _say(console, f"NOT what the spec asks for: {note}")
    _print_sides(console, found)
    table = _table(console, "settings", "", "")
    for key, value in _flat(settings):
        table.add_row(key, _plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    console.print(table)
    _print_tokens(console, found)
    _print_dropped(console, found)
    _print_statistics(console, found)
    _title(console, "made by")
    _say(console, ", ".join(f"{name} {version}" for name, version in manifest.versions.items()))
    _say(console, f"licence: {_plain(manifest.licence).plain}")
    _title(console, "written")
    for name in (SHEET_FILE, HISTOGRAMS_FILE):
        _say(console, str(found.out / name))


def _print_sides(console: "Console", found: Inspection) -> None:
    table = _table(console, "sides", "", ">pairs", ">shards", ">size")
    for side, num in found.num_by_side.items():
        shards = [shard for shard in found.manifest.shards if shard.side == side]
        table.add_row(side, f"{num:,}", f"{len(shards):,}", mb(sum(shard.num_bytes for shard in shards)))
    console.print(table)


def _print_tokens(console: "Console", found: Inspection) -> None:
    if not found.tokens:
        _title(console, "tokens")
        _say(console, f"none yet; add them with: {PREPARE}")
        return
    table = _table(console, "tokens", "folder", "tokenizer", ">entries", ">context", ">captions cut", ">size")
    for each in found.sample.tokens:
        size = mb(sum(file.num_bytes for file in found.tokens[each.folder].files.values()))
        cut = f"{each.cut_frac:.1%}" if each.cut_frac == 0 or each.cut_frac >= 0.001 else "below 0.1%"
        table.add_row(each.folder, each.kind, f"{each.vocab_size:,}", str(each.context_length), cut, size)
    console.print(table)
    for each in found.sample.tokens:
        if each.num_differing:
            of = len(found.sample.caption_chars)
            differing = f"the tokens of {each.num_differing:,} of {of:,} captions"
            _say(console, f"{each.folder}: {differing} are NOT what its tokenizer makes of them")


def _print_dropped(console: "Console", found: Inspection) -> None:
    manifest = found.manifest
    num_by_reason = found.num_by_reason
    if not num_by_reason:
        _title(console, "dropped")
        _say(console, "nothing")
        return
    table = _table(console, "dropped", "reason", ">items", "such as")
    for reason, num in sorted(num_by_reason.items(), key=lambda pair: -pair[1]):
        examples = manifest.dropped_examples_by_reason.get(reason, ())
        table.add_row(_plain(reason), f"{num:,}", _plain(", ".join(examples)))
    console.print(table)
    if found.dropped_file:
        _say(console, f"each of them, with its origin: {found.dropped_file}")
    else:
        _say(console, "not listed one by one: an earlier version prepared this store")


def _print_statistics(console: "Console", found: Inspection) -> None:
    sample = found.sample
    table = _table(console, f"statistics of {found.basis}", "", *(f">{name}" for name in SHOWN_QUANTILES))
    rows: dict[str, NDArray[Any]] = {
        "captions a picture": sample.captions_a_picture,
        "characters a caption": sample.caption_chars,
    }
    is_alone = len(sample.tokens) == 1
    for each in sample.tokens:
        rows["tokens a caption" if is_alone else f"tokens a caption, {each.folder}"] = each.lengths
    rows["brightness, 0-255"] = sample.brightness
    if sample.jpeg_bytes is not None:
        rows["bytes a JPEG"] = sample.jpeg_bytes
    for name, values in rows.items():
        found_quantiles = quantiles(values)
        table.add_row(name, *(f"{found_quantiles[key]:,.1f}".removesuffix(".0") for key in SHOWN_QUANTILES))
    console.print(table)
    pairs = zip(("red", "green", "blue"), sample.channel_mean, sample.channel_std, strict=True)
    _say(console, "mean and standard deviation: " + ", ".join(f"{n} {m:.1f} ± {s:.1f}" for n, m, s in pairs))


def _table(console: "Console", title: str, *columns: str) -> "Table":
    """A table without frames, its title printed; a column marked by `>` holds numbers."""
    from rich.table import Table

    _title(console, title)
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for column in columns:
        justify: Any = "right" if column.startswith(">") else "left"
        table.add_column(column.removeprefix(">"), justify=justify, overflow="fold")
    return table


def _title(console: "Console", title: str) -> None:
    from rich.text import Text

    console.print()
    console.print(Text(title, style="bold"))


def _say(console: "Console", line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _plain(value: str) -> "Text":
    """Text of any origin for a terminal, which signs of its own could command."""
    from rich.text import Text

    return Text("".join(char if char.isprintable() else repr(char)[1:-1] for char in value))


def _flat(settings: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value
