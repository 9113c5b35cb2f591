"""`text-to-image-2m`: tars of `KEY.jpg` beside `KEY.json` with `prompt`, from a folder or from the set's hub.

    TextToImage2M("data/text-to-image-2M", spec.data.source).read(part)

local: the tars in data.path. download: those that are not there come from the hub first, each in `read`, so that parts
run side by side. stream: from the hub, and nothing is kept. All three give the same pairs under the same keys.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from clipexp.data.sources import Drop, Pair, Part, tars
from clipexp.data.sources.hub import HubFile, download, list_files, require_disk, stream
from clipexp.data.sources.webdataset import SampleReader, find_tars, items_in_tars, read_tar
from clipexp.errors import SourceError
from clipexp.spec.sources import TextToImage2MSource


class TextToImage2M:
    """The source; see the module."""

    def __init__(self, path: str | None, spec: TextToImage2MSource) -> None:
        self.folder = Path(path or "")
        self.spec = spec
        self.licence = spec.licence
        self.attribution = spec.attribution
        self.reader = SampleReader()
        self._files: dict[str, HubFile] | None = None

    def parts(self) -> Sequence[Part]:
        """The shards, by name. Raises SourceError where there are none, or the hub can't be asked."""
        if self.spec.fetch == "local":
            return [Part(tar.name) for tar in find_tars(self.folder, self._pattern())[: self.spec.num_shards]]
        files = self._on_hub()
        if self.spec.fetch == "download":
            require_disk(self.folder, list(files.values()))
        return [Part(name) for name in files]

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """The pairs of one shard. Raises SourceError where the hub doesn't give all of it."""
        match self.spec.fetch:
            case "local":
                yield from read_tar(self.folder / part.name, self.reader)
            case "download":
                yield from read_tar(download(self._on_hub()[part.name], self.folder), self.reader)
            case "stream":
                yield from self._streamed(self._on_hub()[part.name])

    def fingerprint(self, part: Part) -> str:
        """What the hub says of the shard; for `local`, its size and time."""
        return (
            tars.fingerprint(self.folder / part.name) if self.spec.fetch == "local" else self._on_hub()[part.name].sum
        )

    def num_items(self) -> int | None:
        """By the sizes of the tars in data.path; None where there are none, or not all."""
        if self.spec.fetch != "local":
            return None
        return items_in_tars(sorted(self.folder.glob(self._pattern()))[: self.spec.num_shards])

    def _pattern(self) -> str:
        return PurePosixPath(self.spec.files).name

    def _on_hub(self) -> dict[str, HubFile]:
        if self._files is None:
            files = list_files(self.spec.repo, self.spec.revision, self.spec.files)[: self.spec.num_shards]
            self._files = {PurePosixPath(file.path).name: file for file in files}
            if len(self._files) < len(files):
                raise SourceError(f"data.source.files {self.spec.files} names two shards alike; name one folder's")
        return self._files

    def _streamed(self, file: HubFile) -> Iterator[Pair | Drop]:
        with stream(file) as opened:
            try:
                yield from self.reader.read(opened, PurePosixPath(file.path).name)
            except tars.CutShortError as error:
                raise SourceError(f"{file} did not come whole ({error}); try again, or set fetch: download") from error
