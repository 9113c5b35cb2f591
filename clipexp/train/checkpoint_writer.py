"""Writes checkpoints behind training: a copy in memory, then a thread.

    with CheckpointWriter(root, spec_hash, keep_last=2, before_publish=journal.sync) as writer:
        writer.begin(state)
        ...  # training goes on
        outcome = writer.take()

One checkpoint is written at a time, since there is one copy. Training waits for that copy alone.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from clipexp.train.checkpoint import TrainState


@dataclass(frozen=True)
class Written:
    """A checkpoint that stands durably under its name."""

    folder: Path
    samples_seen: int
    is_best: bool


class _Copy:
    """Tensors' copy on the CPU, in buffers that are made once: page faults and pinning cost more than copying."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, state: TrainState) -> TrainState:
        """The state as it is now; valid until the next call."""
        model, optimizer = self._copied("model", state.model), self._copied("optimizer", state.optimizer)
        for device in {tensor.device for tensor in state.model.values()}:
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # once for all copies
        return TrainState(model, optimizer, dict(state.progress))

    def _copied(self, section: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._buffer(f"{section}.{name}", t).copy_(t, non_blocking=True) for name, t in tensors.items()}

    def _buffer(self, key: str, like: Tensor) -> Tensor:
        if key not in self._buffers:
            is_pinned = like.device.type == "cuda"  # else a copy from the GPU is not asynchronous
            self._buffers[key] = torch.empty(like.shape, dtype=like.dtype, pin_memory=is_pinned)
        return self._buffers[key]


class CheckpointWriter:
    """Writes one checkpoint at a time, keeps the best's copy and prunes, all in a thread.

    From `begin` on it is busy, until `take` has given a `Written`, or `give_up` was called. Its thread ends with the
    `with` block: an error lets a write end, while Ctrl-C and `close` break it off.
    """

    def __init__(self, root: Path, spec_hash: str, keep_last: int, before_publish: Callable[[], None]) -> None:
        self.root = root
        self._spec_hash = spec_hash
        self._keep_last = keep_last
        self._before_publish = before_publish
        self._copy = _Copy()
        self._state: TrainState | None = None
        self._has_name = False  # of the state at hand: what is left to do is its copy as best, and pruning
        self._outcome: Written | BaseException | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is being written, or is to be."""
        return self._state is not None

    @property
    def num_bytes(self) -> int:
        """The size of the checkpoint at hand."""
        return self._state.num_bytes if self._state is not None else 0

    def begin(self, state: TrainState) -> None:
        """Copy a state, then write it in the thread. Only when not busy."""
        self._state = self._copy.take(state)
        self._has_name = False
        self._start(self._state)

    def retry(self) -> None:
        """Write the same copy once more, after `take` has given an OSError."""
        if self._state is not None:
            self._start(self._state)

    def _start(self, state: TrainState) -> None:
        self._thread = threading.Thread(target=self._write, args=(state,), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until there is something to take."""
        if self._thread is not None:
            self._thread.join()

    def take(self) -> Written | OSError | None:
        """What came of a write; None while it goes on or if there is none. What is no OSError is raised."""
        if self._outcome is None:
            return None
        self.wait()
        outcome, self._outcome, self._thread = self._outcome, None, None
        if isinstance(outcome, Written):
            self._state = None
            return outcome
        if isinstance(outcome, OSError):
            return outcome
        raise outcome

    def give_up(self) -> None:
        """Forget the copy whose write failed."""
        self._state = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._cancelled.set()
        self.wait()

    def _write(self, state: TrainState) -> None:
        try:
            self._outcome = self._written(state)
        except BaseException as error:  # noqa: BLE001 (it is raised by `take`, in the thread that trains)
            self._outcome = error

    def _written(self, state: TrainState) -> Written:
        progress = state.progress
        samples_seen, is_best = int(progress["samples_seen"]), bool(progress["is_best"])
        folder = self.root / checkpoint_names.name_at(samples_seen)
        if not self._has_name:
            checkpoint.save(folder, state, self._spec_hash, self._before_publish, self._cancelled.is_set)
            self._has_name = True
        if is_best:
            checkpoint.keep_as_best(folder)
        checkpoint.prune(self.root, self._keep_last)
        return Written(folder, samples_seen, is_best)
