"""The device a run computes on, its name, and what is wrong with it.

device = choose_device("auto")
"""

import ctypes
import os
import subprocess
import sys
from typing import Literal

import torch

from clipexp.errors import RunError
from clipexp.track.processor import cpu_name

# The child's whole work: a bf16 product through oneDNN, which picks AMX where the processor names it.
BF16_PROBE = "import torch; torch.nn.functional.linear(torch.ones(64, 64).bfloat16(), torch.ones(64, 64).bfloat16())"
PROBE_TIMEOUT_S = 60
WITHOUT_AMX = "AVX512_CORE_FP16"


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to train on. Raises RunError if `cuda` is asked for and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RunError(
            "train.device is cuda, but torch finds no GPU; see `clipexp doctor`, or run with --set train.device=cpu"
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def require_precision(precision: Literal["fp32", "bf16"], device: torch.device) -> None:
    """See that bf16 works before a run is made.

    Some virtual machines name AMX among the processor's features but stop the program at its first instruction. So a
    child process tries; where it dies, oneDNN is told to leave AMX alone.

    Raises:
        RunError: bf16 does not work on this processor at all.
    """
    if precision != "bf16" or device.type != "cpu" or "ONEDNN_MAX_CPU_ISA" in os.environ or _bf16_works({}):
        return
    setting = {"ONEDNN_MAX_CPU_ISA": WITHOUT_AMX}
    if not _bf16_works(setting):
        raise RunError("bf16 stops the program on this processor; use --set train.precision=fp32")
    os.environ.update(setting)
    if sys.platform == "linux":  # oneDNN reads the C environment, at its first use
        ctypes.CDLL(None).setenv(b"ONEDNN_MAX_CPU_ISA", WITHOUT_AMX.encode(), 1)


def _bf16_works(setting: dict[str, str]) -> bool:
    child = subprocess.run(  # noqa: S603 (our own interpreter and text)
        [sys.executable, "-c", BF16_PROBE],
        env={**os.environ, **setting},
        capture_output=True,
        timeout=PROBE_TIMEOUT_S,
        check=False,
    )
    return child.returncode == 0


def make_deterministic(device: torch.device) -> None:
    """Have every operation give the same bits each time, for `train.deterministic`; all of this process is slower.

    To be called before anything is computed on the device: cuBLAS reads its setting once. On a CPU the loop's
    operations are deterministic anyway, at a fixed number of threads.

    Source: https://pytorch.org/docs/stable/notes/randomness.html
    """
    if device.type == "cuda":
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def describe_device(device: torch.device) -> str:
    """The device's name as reports and time estimates use it: the GPU's, or the processor's with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"
