"""Files of a set on its hub: which there are, and each of them whole on the disk, or as a stream.

    files = list_files("jackyhate/text-to-image-2M", "main", "data_512_2M/*.tar")
    download(files[0], Path("data/text-to-image-2M"))

A file gets its name when its size and checksum are what the hub says, and the tar ends whole. What a cut download
left stays beside it as `NAME.partial`, and goes on from there.
"""

import contextlib
import fnmatch
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from filelock import FileLock

from clipexp.data.sources import tars
from clipexp.errors import SourceError

SPARE_BYTES = 256 << 20  # stays free beside what is downloaded
KEPT = "data.source.fetch: local reads what lies in data.path"


@dataclass(frozen=True)
class HubFile:
    """A file of a set at one commit. sum: `sha256:` or `git:` and the checksum in hexadecimal."""

    repo: str
    commit: str
    path: str
    num_bytes: int
    sum: str

    def __str__(self) -> str:
        return f"{self.repo}/{self.path}"


def list_files(repo: str, revision: str, pattern: str) -> list[HubFile]:
    """A set's files that match a pattern, by name. Raises SourceError for none, or where the hub can't be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=_endpoint())
    folder = _fixed_folder(pattern)
    with _told(f"{repo} at {revision}"):
        commit = api.repo_info(repo, repo_type="dataset", revision=revision, files_metadata=False).sha or revision
        tree = list(api.list_repo_tree(repo, folder, recursive=True, revision=commit, repo_type="dataset"))
    files = [
        HubFile(repo, commit, file.path, file.size, f"sha256:{file.lfs.sha256}" if file.lfs else f"git:{file.blob_id}")
        for file in tree
        if isinstance(file, RepoFile) and fnmatch.fnmatchcase(file.path, pattern)
    ]
    if not files:
        raise SourceError(f"{repo} at {revision} has no file {pattern}; set data.source.files")
    return sorted(files, key=lambda file: PurePosixPath(file.path).name)


def require_disk(folder: Path, files: Sequence[HubFile]) -> None:
    """See that what is missing fits into a folder, which is made. Raises SourceError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SourceError(f"can't write to data.path {folder} ({error.strerror})") from error
    missing = sum(max(0, file.num_bytes - _num_bytes_there(file, folder)) for file in files)
    if missing and missing + SPARE_BYTES > free:
        raise SourceError(
            f"{missing / 1e9:,.1f} GB are to be downloaded into {folder}, but {free / 1e9:,.1f} GB are free there;"
            " make room, set data.source.num_shards, or fetch: stream"
        )


def download(file: HubFile, folder: Path) -> Path:
    """A file in a folder, whole and checked; what is there already is not sent again.

    Raises:
        SourceError: the hub can't be reached, or gives something else than it says; or another file of that name is
            there.
    """
    path = folder / PurePosixPath(file.path).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{path.name}.lock"):
            if path.exists():
                _check_there(file, path)
            if not path.exists():
                _fetch_checked(file, path)
    except OSError as error:
        raise SourceError(f"can't write {path} ({error.strerror or error}); see data.path and the disk") from error
    return path


def _check_there(file: HubFile, path: Path) -> None:
    """Hold a file to what the hub says; one that is shorter becomes a partial download."""
    num_bytes = path.stat().st_size
    if num_bytes < file.num_bytes:
        path.replace(_partial(path))
        return
    if _stamp(path).exists() and _stamp(path).read_text() == _stamped(file, path):
        return
    problem = _problem(file, path)
    if problem:
        raise SourceError(f"{path} is not what {file} is ({problem}); remove it, or: {KEPT}")
    _write_stamp(file, path)


def _fetch_checked(file: HubFile, path: Path) -> None:
    partial = _partial(path)
    was_begun = partial.exists()
    _fetch(file, partial)
    problem = _problem(file, partial)
    if problem and was_begun:  # what lay there may have been of another version
        partial.unlink()
        _fetch(file, partial)
        problem = _problem(file, partial)
    if problem:
        partial.unlink()
        raise SourceError(f"{file} did not come as the hub says ({problem}); try again")
    with partial.open("rb") as opened:
        try:
            for _ in tars.entries(opened, lambda _: False):
                pass
        except tars.CutShortError as error:
            raise SourceError(
                f"{file} is cut short on the hub itself ({error}); leave it out with data.source.files, or: {KEPT}"
            ) from error
    partial.replace(path)
    _write_stamp(file, path)


def _fetch(file: HubFile, partial: Path) -> None:
    """Bring a partial download to its end, over lost connections."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    url = hf_hub_url(file.repo, file.path, repo_type="dataset", revision=file.commit, endpoint=_endpoint())
    if partial.exists() and partial.stat().st_size > file.num_bytes:
        partial.unlink()
    with partial.open("ab") as out, _told(str(file)):
        http_get(url, out, resume_size=out.tell(), headers=build_hf_headers(), expected_size=file.num_bytes)


@contextlib.contextmanager
def stream(file: HubFile) -> Iterator[IO[bytes]]:
    """A file of the hub, opened through `datasets`. Raises SourceError where it can't be read to its end."""
    from datasets import DownloadConfig
    from datasets.utils.file_utils import xopen
    from huggingface_hub import get_token, hf_hub_url

    url = hf_hub_url(file.repo, file.path, repo_type="dataset", revision=file.commit, endpoint=_endpoint())
    with _told(str(file)):
        opened = xopen(url, "rb", download_config=DownloadConfig(token=get_token()))
        with opened:
            size = opened.seek(0, os.SEEK_END)
            if size != file.num_bytes:
                raise SourceError(f"{file} has {size:,} bytes, not the {file.num_bytes:,} that the hub names")
            opened.seek(0)
            yield opened


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of the hub as SourceErrors with the remedy."""
    import aiohttp
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise SourceError(f"{what} is gated: accept its terms on the hub, then `hf auth login`; or: {KEPT}") from error
    except errors.RevisionNotFoundError as error:
        raise SourceError(f"the hub has no such revision: {what}; set data.source.revision") from error
    except (errors.EntryNotFoundError, FileNotFoundError) as error:
        raise SourceError(f"the hub has no such file or folder: {what}; set data.source.files") from error
    except (errors.HfHubHTTPError, aiohttp.ClientResponseError) as error:
        raise SourceError(f"{what}: {_refusal(error)}") from error
    except errors.HFValidationError as error:
        raise SourceError(f"data.source.repo is no name of a set: {error}") from error
    except (httpx2.HTTPError, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        raise SourceError(
            f"the hub can't be reached for {what} ({error}); try again with a network, or: {KEPT}"
        ) from error


def _refusal(error: Any) -> str:
    status = getattr(getattr(error, "response", None), "status_code", getattr(error, "status", None))
    if status in {401, 403}:
        return (
            f"the hub refuses it ({status}); see that data.source.repo is right, and for a private or gated set"
            " `hf auth login`"
        )
    if status == 404:
        return "the hub has no such set; set data.source.repo"
    return f"the hub answers {status}; try again later, or: {KEPT}"


def _problem(file: HubFile, path: Path) -> str:
    """How a file differs from what the hub says; empty where it doesn't."""
    num_bytes = path.stat().st_size
    if num_bytes != file.num_bytes:
        return f"{num_bytes:,} bytes instead of {file.num_bytes:,}"
    kind, _, expected = file.sum.partition(":")
    begun = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % num_bytes, usedforsecurity=False)
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, lambda: begun).hexdigest()
    return "" if found == expected else f"{kind} checksum differs"


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _num_bytes_there(file: HubFile, folder: Path) -> int:
    path = folder / PurePosixPath(file.path).name
    return max((p.stat().st_size for p in (path, _partial(path)) if p.exists()), default=0)


def _stamp(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _stamped(file: HubFile, path: Path) -> str:
    return f"{file.sum} {tars.fingerprint(path)}\n"


def _write_stamp(file: HubFile, path: Path) -> None:
    beside = path.with_name(f".{path.name}.checked.partial")
    beside.write_text(_stamped(file, path))
    beside.replace(_stamp(path))


def _fixed_folder(pattern: str) -> str | None:
    """The folder that a pattern's files all lie in, so that no more than that is listed."""
    fixed = []
    for part in pattern.split("/")[:-1]:
        if any(mark in part for mark in "*?["):
            break
        fixed.append(part)
    return "/".join(fixed) or None


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None
