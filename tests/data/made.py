"""What the data's tests are made of: specs, tars, pictures and a table of pairs, each small and real."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from clipexp.data.table import PairTable
from clipexp.spec.data import DataSpec

CONTEXT_LENGTH = 32
START, END = 1000, 2000
Members = list[tuple[str, bytes]]


def data_spec(store: Path, source: dict[str, Any] | None = None, **changes: Any) -> DataSpec:
    """A data section: scenes of 16 px, unless told."""
    content = {
        "source": source or {"kind": "scenes-v1", "num_pairs": 60},
        "store": str(store),
        "image_size_px": 16,
        "tokenizer": {"kind": "trained", "vocab_size": 300},
        "split": {"num_val": 8},
    }
    return DataSpec.model_validate({**content, **changes})


def tars_spec(store: Path, path: Path, **changes: Any) -> DataSpec:
    """A data section that reads a folder of tars."""
    return data_spec(store, {"kind": "webdataset"}, path=str(path), **changes)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """A picture as a file's bytes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(seed: int) -> bytes:
    """A picture of noise, another for each seed: as PNG, since JPEG needs torch, which takes seconds to load."""
    return encoded(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)), "PNG")


def sample(key: str, seed: int, caption: object) -> Members:
    """The two files of one pair."""
    return [(f"{key}.jpg", picture(seed)), (f"{key}.json", json.dumps({"prompt": caption}).encode())]


def samples(first: int, num: int) -> Members:
    """Some sound pairs, `caption FIRST` and on."""
    return [member for i in range(first, first + num) for member in sample(f"{i:04d}", i, f"caption {i}")]


def write_tar(path: Path, members: Members) -> Path:
    """A tar of regular files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def pair_table(num_pairs: int, captions_each: int = 1) -> PairTable:
    """Pairs of which row r shows a 4-px picture of value r; its caption c is the one token 10 r + c + 1."""
    captions = [[f"{row}-{c}" for c in range(captions_each)] for row in range(num_pairs)]
    pixels = np.repeat(np.arange(num_pairs, dtype=np.uint8), 48)
    images = pa.FixedSizeBinaryArray.from_buffers(pa.binary(48), num_pairs, [None, pa.py_buffer(pixels)])
    batch = pa.record_batch({"image": images, "captions": pa.array(captions, pa.list_(pa.string()))})
    words = [10 * row + c + 1 for row in range(num_pairs) for c in range(captions_each)]
    return PairTable([batch], np.array([[START, word, END, 0] for word in words], np.uint16), image_size_px=4)


def all_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
