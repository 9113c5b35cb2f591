"""What benchmarks/prepare.py measures ours beside: webdataset and Pillow, a process a core.

    .venv-peers/bin/python benchmarks/peers/pillow_prepare.py TARS TARGET SIZE_PX NUM_WORKERS

Decodes in full, squashes by Pillow's bicubic, and writes each tar's rows to an Arrow file: key, captions, pixels.
Prints the seconds this took, without the imports.
"""

import multiprocessing
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import webdataset as wds
from PIL import Image


def write_tar(path: Path, target: Path, size_px: int) -> int:
    """Write the rows of one tar, and tell how many they are."""
    keys, captions, pixels = [], [], []
    for sample in wds.WebDataset(str(path), shardshuffle=False).decode("pilrgb", handler=wds.reraise_exception):
        image: Image.Image = sample["jpg"].resize((size_px, size_px), Image.Resampling.BICUBIC)
        keys.append(sample["__key__"])
        captions.append([sample["json"]["prompt"]])
        pixels.append(image.tobytes())
    table = pa.table({"key": keys, "captions": captions, "pixels": pa.array(pixels, pa.binary(3 * size_px**2))})
    with pa.OSFile(str(target / f"{path.stem}.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return len(keys)


def main() -> None:
    """Write all tars, and print the seconds."""
    tars, target, size_px, num_workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    target.mkdir(parents=True)
    start_s = time.perf_counter()
    with multiprocessing.Pool(num_workers) as pool:
        num = sum(pool.imap_unordered(partial(write_tar, target=target, size_px=size_px), sorted(tars.glob("*.tar"))))
    print(num, time.perf_counter() - start_s)


if __name__ == "__main__":
    main()
