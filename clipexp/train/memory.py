"""Running out of memory, told apart from other failures, with its remedy.

with telling_exhaustion(spec.train):
    training.step(batch, total)
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clipexp.errors import MemoryExhaustedError
from clipexp.spec.run import TrainSpec, largest_divisor

# What torch says in a plain RuntimeError: its CPU allocator, C++, oneDNN, cuBLAS, and CUDA beyond torch's allocator.
SAYINGS = (
    "can't allocate memory",
    "DefaultCPUAllocator",
    "bad_alloc",
    "could not create a primitive",  # oneDNN
    "could not create a memory object",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


def is_exhaustion(error: BaseException) -> bool:
    """Whether an error says that a device, or the host, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in SAYINGS)


@contextmanager
def telling_exhaustion(spec: TrainSpec) -> Iterator[None]:
    """Turn it into an error that says what to do.

    What the failed step held is let go of, so that who catches the error can try again in the same process.

    Raises:
        MemoryExhaustedError: there is too little memory for what was done inside.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_exhaustion(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the step's activations
        raise MemoryExhaustedError(_message(spec), spec.batch_size, spec.micro_batch) from error


def _message(spec: TrainSpec) -> str:
    at_once = spec.micro_batch or spec.batch_size
    held = f"{at_once:,} pairs held at once" + (f", of batches of {spec.batch_size:,}" if spec.micro_batch else "")
    if at_once == 1:
        return f"out of memory with {held}; make the model or train.batch_size smaller, or free memory"
    smaller = largest_divisor(spec.batch_size, at_once // 2)
    return f"out of memory with {held}; hold fewer with --set train.micro_batch={smaller}, or free memory"
