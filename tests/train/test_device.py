"""The device that is chosen, and bf16 on processors that stumble over it."""

import subprocess
import sys

import pytest
import torch

from clipexp.errors import RunError
from clipexp.train.device import choose_device, describe_device

has_gpu = torch.cuda.is_available()
# In a process of its own: where bf16 is broken, it ends the process.
BF16_PRODUCT = """
import torch
from clipexp.train.device import require_precision
require_precision("bf16", torch.device("cpu"))
ones = torch.ones(64, 64).bfloat16()
print(torch.nn.functional.linear(ones, ones)[0, 0].item())
"""


def test_cpu_is_the_cpu_even_beside_a_gpu() -> None:
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if has_gpu else "cpu")


@pytest.mark.skipif(has_gpu, reason="there is a GPU, so asking for one is no mistake")
def test_asking_for_a_gpu_that_is_not_there_names_the_remedy() -> None:
    with pytest.raises(RunError, match=r"--set train\.device=cpu"):
        choose_device("cuda")


def test_the_cpu_is_described_with_its_threads() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert describe_device(torch.device("cpu")).endswith(", 1 thread")
        torch.set_num_threads(2)
        assert describe_device(torch.device("cpu")).endswith(", 2 threads")
    finally:
        torch.set_num_threads(threads)


def test_bf16_computes_once_it_was_required() -> None:
    child = subprocess.run([sys.executable, "-c", BF16_PRODUCT], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.strip()) == (0, "64.0"), child.stderr


# In a process of its own: the setting is the process's.
DETERMINISTIC = """
import os
import torch
from clipexp.train.device import make_deterministic
make_deterministic(torch.device("DEVICE"))
cudnn = torch.backends.cudnn
print(torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark, torch.cuda.is_initialized())
print(os.environ.get("CUBLAS_WORKSPACE_CONFIG"))
"""


@pytest.mark.parametrize(
    ("device", "settings"), [("cuda", "True True False False\n:4096:8"), ("cpu", "True False False False\nNone")]
)
def test_deterministic_settings_are_made_before_cuda_is_begun(device: str, settings: str) -> None:
    code = DETERMINISTIC.replace("DEVICE", device)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.strip()) == (0, settings), child.stderr
