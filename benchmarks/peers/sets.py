"""The pictures that all contenders of benchmarks/loader.py load, in the forms that more than one of them takes.

    write_sets(folder, num_pictures=16_384)

FOLDER/tars holds the JPEG files. FOLDER/raw and FOLDER/jpeg are our stores of them, `pixels.bin` and `jpegs.bin` with
`offsets.npy` plain files for memory maps.
"""

import ctypes
import io
import json
import mmap
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZE_PX, BATCH_SIZE, NUM_WORKERS = 224, 256, 2
ROW_SHAPE = (SIZE_PX, SIZE_PX, 3)
SHARD_PICTURES = 512
MAX_CROP_PX = 420
QUALITY = 90


def write_sets(folder: Path, num_pictures: int) -> None:
    """Write what is not there yet."""
    from clipexp.data.prepare import prepare

    write_tars(folder / "tars", num_pictures)
    for encoding in ("raw", "jpeg"):
        prepare(own_spec(folder, encoding), context_length=16)
    write_plain(folder)


def write_tars(folder: Path, num_pictures: int) -> None:
    """Tars of KEY.jpg and KEY.json: random crops of two photographs."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from clipexp.data.picture import encode_jpeg

    if folder.exists():
        return
    tmp = folder.with_suffix(".tmp")
    tmp.mkdir(parents=True)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rng = np.random.default_rng(0)
    for start in range(0, num_pictures, SHARD_PICTURES):
        with tarfile.open(tmp / f"{start // SHARD_PICTURES:05d}.tar", "w") as tar:
            for i in range(start, min(num_pictures, start + SHARD_PICTURES)):
                photo, side = photos[i % len(photos)], int(rng.integers(SIZE_PX, MAX_CROP_PX))
                left, upper = rng.integers(0, photo.width - side), rng.integers(0, photo.height - side)
                crop = photo.resize((SIZE_PX, SIZE_PX), box=(left, upper, left + side, upper + side))
                caption = json.dumps({"prompt": f"photograph {i}"}).encode()
                for name, content in (("jpg", encode_jpeg(np.asarray(crop), QUALITY, "420")), ("json", caption)):
                    member = tarfile.TarInfo(f"{i:08d}.{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    tmp.replace(folder)


def write_plain(folder: Path) -> None:
    """The same pictures as pixels in one file, and the JPEG files behind each other in another."""
    import simplejpeg

    if (folder / "offsets.npy").exists():
        return
    lengths = [0]
    with (folder / "pixels.bin").open("wb") as pixels, (folder / "jpegs.bin").open("wb") as jpegs:
        for _, jpeg in tar_jpegs(folder):
            pixels.write(simplejpeg.decode_jpeg(jpeg).data)
            lengths.append(jpegs.write(jpeg))
    np.save(folder / "offsets.npy", np.cumsum(lengths))


def tar_jpegs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Keys and files of the tars."""
    for path in sorted((folder / "tars").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg") and (file := tar.extractfile(member)):
                    yield member.name, file.read()


def own_spec(folder: Path, encoding: str) -> Any:
    """The data section of our store."""
    from clipexp.spec.data import DataSpec

    content = {
        "source": {"kind": "webdataset"},
        "path": str(folder / "tars"),
        "store": str(folder / encoding),
        "image_size_px": SIZE_PX,
        "encoding": encoding,
        "tokenizer": {"kind": "trained", "vocab_size": 300},
        "split": {"num_val": 16},
        "num_threads": NUM_WORKERS,
    }
    jpeg = {"jpeg_quality": QUALITY, "jpeg_subsampling": "420"} if encoding == "jpeg" else {}
    return DataSpec.model_validate({**content, **jpeg})


def cold_files(folder: Path, contender: str) -> list[Path]:
    """What a contender with cold files reads its pictures from."""
    if "-map-" in contender:
        return [folder / ("jpegs.bin" if contender.endswith("jpeg") else "pixels.bin")]
    return sorted((folder / contender.rsplit("-", maxsplit=1)[1]).glob("train-*.arrow"))


def drop_from_memory(paths: Sequence[Path]) -> None:
    """Have the system forget the content of files; no process may have them mapped. Needs no rights.

    Raises:
        RuntimeError: more than a hundredth stayed, so what would be measured is not cold.
    """
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)  # pages that are still to be written are not dropped
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
        if (share := share_in_memory(path)) > 0.01:
            raise RuntimeError(f"{share:.0%} of {path} stays in memory; does another process have it mapped?")


def share_in_memory(path: Path) -> float:
    """The share of a file's pages that the system holds, by mincore(2)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        content = np.frombuffer(mapped, np.uint8)
        address, num_bytes = content.ctypes.data, len(content)
        del content  # a map with a view of it can't be closed
        pages = np.zeros(-(-num_bytes // mmap.PAGESIZE), np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(num_bytes), ctypes.c_void_p(pages.ctypes.data)):
            raise OSError(ctypes.get_errno(), f"mincore of {path}")
    return float((pages & 1).mean())
