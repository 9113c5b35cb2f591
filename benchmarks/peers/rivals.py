"""The other loaders, each as its own documentation has it: two processes, its shuffle, batches stacked by torch.

    next(litdata(by_simplejpeg)(folder)).shape  # (256, 3, 224, 224), uint8

Each takes the files of FOLDER/tars as they are, writes its own format beside them the first time, and runs on from
epoch to epoch without a pause wherever it lets itself be told to.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.sets import BATCH_SIZE, NUM_WORKERS, ROW_SHAPE, tar_jpegs

FOREVER_SAMPLES = 10_000_000


def by_pillow(jpeg: bytes) -> Any:
    """JPEG -> tensor: uint8 (3, height, width)."""
    import torch
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(io.BytesIO(jpeg)).convert("RGB"))).permute(2, 0, 1).contiguous()


def by_simplejpeg(jpeg: bytes) -> Any:
    """JPEG -> tensor: uint8 (3, height, width)."""
    import simplejpeg
    import torch

    return torch.from_numpy(simplejpeg.decode_jpeg(jpeg)).permute(2, 0, 1).contiguous()


def torch_loader(dataset: Any, **settings: Any) -> Any:
    """torch's, with as many processes as we have threads."""
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=NUM_WORKERS, drop_last=True, **settings)


def endless(loader: Iterable[Any]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


def webdataset(folder: Path) -> Iterator[Any]:
    """webdataset, with Pillow and a shuffle buffer of 1,000; shards are drawn again and again."""
    import webdataset as wds

    urls = sorted(str(path) for path in (folder / "tars").glob("*.tar"))
    tars = wds.WebDataset(urls, shardshuffle=len(urls), resampled=True)
    pictures = tars.shuffle(1000).to_tuple("jpg").map(lambda fields: by_pillow(fields[0]))
    return iter(torch_loader(pictures))


def litdata(decode: Callable[[bytes], Any]) -> Callable[[Path], Iterator[Any]]:
    """litdata, the files in chunks of 64 MB."""

    def batches(folder: Path) -> Iterator[Any]:
        from clipexp.torchvision_import import import_torchvision

        import_torchvision()  # litdata imports it
        import litdata as lit

        class Pictures(lit.StreamingDataset):  # type: ignore[misc, name-defined]
            def __getitem__(self, index: Any) -> Any:
                return decode(super().__getitem__(index))

        chunks = folder / "litdata"
        if not (chunks / "index.json").exists():
            jpegs = [jpeg for _, jpeg in tar_jpegs(folder)]
            lit.optimize(bytes, jpegs, str(chunks), chunk_bytes="64MB", num_workers=1, start_method="fork")
        dataset = Pictures(str(chunks), shuffle=True, drop_last=True)
        return endless(lit.StreamingDataLoader(dataset, batch_size=BATCH_SIZE, num_workers=NUM_WORKERS))

    return batches


def mosaic_raw(folder: Path) -> Iterator[Any]:
    """mosaicml-streaming, pictures as arrays; they stay (height, width, 3)."""
    shape = ",".join(map(str, ROW_SHAPE))
    pixels = np.memmap(folder / "pixels.bin", np.uint8, "r").reshape(-1, *ROW_SHAPE)
    return _mosaic(folder / "mosaic-raw", f"ndarray:uint8:{shape}", pixels, _from_numpy)


def mosaic_jpeg(folder: Path) -> Iterator[Any]:
    """mosaicml-streaming, with Pillow."""
    return _mosaic(folder / "mosaic-jpeg", "bytes", (jpeg for _, jpeg in tar_jpegs(folder)), by_pillow)


def _from_numpy(picture: Any) -> Any:
    import torch

    return torch.from_numpy(picture)


def _mosaic(local: Path, column: str, pictures: Iterable[Any], convert: Callable[[Any], Any]) -> Iterator[Any]:
    from clipexp.torchvision_import import import_torchvision

    import_torchvision()  # streaming imports it
    from streaming import MDSWriter, StreamingDataset

    class Pictures(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            return convert(super().__getitem__(index)["image"])

    if not (local / "index.json").exists():
        with MDSWriter(columns={"image": column}, out=str(local)) as writer:
            for picture in pictures:
                writer.write({"image": picture})
    # one long epoch, since between two of them it stands still
    num_rows = len(StreamingDataset(local=str(local), batch_size=BATCH_SIZE, shuffle=False))
    dataset = Pictures(local=str(local), shuffle=True, batch_size=BATCH_SIZE, epoch_size=64 * num_rows)
    return endless(torch_loader(dataset))


def hf(folder: Path) -> Iterator[Any]:
    """Hugging Face datasets: its `Image` column, decoded by Pillow, as tensors; any row at any time."""
    from datasets import Dataset, Features, Image, load_from_disk
    from torch.utils.data import RandomSampler

    if not (folder / "hf").exists():
        files = ({"image": {"bytes": jpeg, "path": None}} for _, jpeg in tar_jpegs(folder))
        rows = Dataset.from_list(list(files), features=Features({"image": Image()}))
        rows.save_to_disk(str(folder / "hf"))
    dataset = load_from_disk(str(folder / "hf")).with_format("torch")
    sampler = RandomSampler(dataset, num_samples=FOREVER_SAMPLES)  # a permutation after the other
    return (batch["image"] for batch in torch_loader(dataset, sampler=sampler))
