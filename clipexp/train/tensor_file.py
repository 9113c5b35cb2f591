"""Tensors into a safetensors file, in pieces and hashed on the way.

    sha256 = write(path, {"weight": tensor})

The format is open and simple: the header's length, a JSON header, the numbers. We write it ourselves, since the library
writes in one call, which can't be broken off and needs a second pass over the file for its checksum. Reading is the
library's.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

PIECE_BYTES = 8 << 20
HEADER_ALIGN_BYTES = 8
NAME_BY_DTYPE = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class CancelledWriteError(Exception):
    """The write was broken off because its result is no longer wanted."""


def write(path: Path, tensors: Mapping[str, Tensor], is_cancelled: Callable[[], bool]) -> str:
    """Write tensors so that they stand on the disk itself.

    Args:
        path: where to; what is there is overwritten.
        tensors: by name, contiguous and on the CPU.
        is_cancelled: asked between pieces of 8 MiB.

    Returns:
        The file's sha256.

    Raises:
        OSError: the disk is full or can't be written.
        CancelledWriteError: `is_cancelled` said so.
    """
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        for piece in _pieces(tensors):
            if is_cancelled():
                raise CancelledWriteError
            digest.update(piece)  # it and the write let other threads run
            rest = piece
            while rest:
                rest = rest[file.write(rest) :]  # a disk that fills may take a part
        os.fsync(file.fileno())
    return digest.hexdigest()


def _pieces(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    # the widest numbers first, so that each lies at a multiple of its width
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {}
    offset = 0
    for name in names:
        tensor = tensors[name]
        header[name] = {
            "dtype": NAME_BY_DTYPE[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGN_BYTES)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in names:
        content = memoryview(tensors[name].reshape(-1).view(torch.uint8).numpy().data)  # (bytes,)
        for start in range(0, len(content), PIECE_BYTES):
            yield content[start : start + PIECE_BYTES]
