"""`hf`: any set of the library `datasets` with a column of pictures and one of text.

    Hf("data/photos", spec.data.source).read(part)  # what `save_to_disk` wrote, or files that `load_dataset` takes

Pictures are taken as the encoded files that the set holds, never decoded by `datasets`.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clipexp.data.sources import Drop, Pair, Part, tars
from clipexp.data.sources.captions import pair_or_drops
from clipexp.data.sources.folder import ranges
from clipexp.errors import SourceError
from clipexp.spec.sources import HfSource


class Hf:
    """The source; see the module."""

    def __init__(self, path: str | None, spec: HfSource) -> None:
        self.path = path
        self.spec = spec
        self.licence = spec.licence
        self.attribution = spec.attribution

    def parts(self) -> Sequence[Part]:
        """Ranges of rows. Raises SourceError where the set, its split or a column is missing."""
        _load.cache_clear()
        return ranges("rows", len(_load(self.path, self.spec)))

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """The pairs of one range."""
        data = _load(self.path, self.spec)
        for number in range(part.start, part.stop):
            row = data[number]
            key, origin = f"{self.spec.split}-{number:08d}", f"{self.spec.dataset or self.path}, row {number}"
            image, problem = _image(row[self.spec.image_column])
            if problem:
                yield Drop(key, problem, origin)
                continue
            values = [row[column] for column in self.spec.caption_columns]
            found = [text for value in values for text in (value if isinstance(value, list) else [value])]
            yield from pair_or_drops(key, image, found, origin)

    def fingerprint(self, part: Part) -> str:
        """The sizes and times of the files that hold the set."""
        files = sorted(entry["filename"] for entry in _load(self.path, self.spec).cache_files)
        stated = "\0".join(f"{file}\0{tars.fingerprint(Path(file))}" for file in files)
        return hashlib.sha256(stated.encode()).hexdigest()[:32]

    def num_items(self) -> int | None:
        """What the set's own notes say, or its rows; None for one on the hub, which is not asked."""
        if self.path is None or self.spec.dataset is not None:
            return None
        for folder in (Path(self.path), Path(self.path) / self.spec.split):
            try:
                splits = json.loads((folder / "dataset_info.json").read_bytes())["splits"]
                return int(splits[self.spec.split]["num_examples"])
            except (OSError, ValueError, LookupError, TypeError):
                continue  # not noted there
        try:
            return len(_load(self.path, self.spec))
        except SourceError:
            return None


@functools.lru_cache(maxsize=2)  # a process reads many parts of one set
def _load(path: str | None, spec: HfSource) -> Any:
    """The split, its pictures as encoded files. Raises SourceError."""
    import datasets

    datasets.disable_progress_bars()
    data = _on_hub(spec) if spec.dataset is not None else _on_disk(Path(path or ""), spec)
    if isinstance(data, datasets.DatasetDict):
        if spec.split not in data:
            raise SourceError(f"{path} has no split {spec.split}, but {', '.join(data)}; set data.source.split")
        data = data[spec.split]
    missing = [name for name in (spec.image_column, *spec.caption_columns) if name not in data.column_names]
    if missing:
        raise SourceError(
            f"{spec.dataset or path} has no column {', '.join(sorted(missing))}, but {', '.join(data.column_names)};"
            " set data.source.image_column and data.source.caption_columns"
        )
    feature = data.features[spec.image_column]
    data = data.select_columns(list(dict.fromkeys((spec.image_column, *spec.caption_columns))))
    if isinstance(feature, datasets.Image):
        return data.cast_column(spec.image_column, datasets.Image(decode=False))
    if getattr(feature, "dtype", "") in {"binary", "large_binary"}:
        return data
    raise SourceError(
        f"column {spec.image_column} of {spec.dataset or path} holds no pictures, but {feature};"
        " set data.source.image_column"
    )


def _on_disk(path: Path, spec: HfSource) -> Any:
    import datasets
    import pyarrow as pa

    if not path.is_dir():
        raise SourceError(f"data.path {path} is no folder; set it to one that `datasets` can load")
    is_saved = (path / "state.json").exists() or (path / "dataset_dict.json").exists()
    try:
        if is_saved:
            return datasets.load_from_disk(str(path))
        return datasets.load_dataset(str(path), split=spec.split)
    except (OSError, ValueError, LookupError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise SourceError(f"{path}, split {spec.split}, can't be loaded by `datasets`: {_first_line(error)}") from error


def _on_hub(spec: HfSource) -> Any:
    import datasets
    import httpx2

    name = str(spec.dataset)
    try:
        return datasets.load_dataset(name, spec.config, split=spec.split, revision=spec.revision)
    except (OSError, ValueError, LookupError, httpx2.HTTPError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(
            f"{name}, split {spec.split}, can't be loaded by `datasets`: {_first_line(error)};"
            " see that the name, config, split and revision are right, that there is a network,"
            " and `hf auth login` for a gated or private set"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _image(value: Any) -> tuple[bytes, str]:
    """A picture's encoded file, and why there is none; empty where there is."""
    if isinstance(value, bytes):
        return value, ""
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        return b"", "no picture"
    if value.get("bytes"):
        return bytes(value["bytes"]), ""
    try:
        return Path(value["path"]).read_bytes(), ""
    except FileNotFoundError:
        return b"", "picture is missing"
    except OSError:
        return b"", "unreadable picture file"
