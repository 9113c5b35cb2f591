"""The feed on a CUDA device: what arrives is what was loaded, and waiting is the device's own."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from clipexp.data.augment import augment
from clipexp.data.loader import Loader
from clipexp.data.sources import Pixels
from clipexp.train.feed import Feed
from clipexp.train.lane import CudaLane
from tests.data.made import data_spec, pair_table

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="NO GPU HERE: torch finds no CUDA device, so NOTHING ABOUT CUDA IS TESTED; run `make test-gpu` on one",
    ),
]
NUM_BATCHES = 60
SLOW_CYCLES = 50_000_000  # some 30 ms on a GPU of today


def make_loader() -> Loader:
    return Loader(pair_table(200, 4), data_spec(Path("store"), captions="sample"), 64, seed=0)


def cuda() -> torch.device:
    return torch.device("cuda")


def test_what_arrives_is_what_was_loaded_though_the_device_is_slow() -> None:
    kept = []
    with closing(Feed(make_loader(), cuda(), 0, NUM_BATCHES)) as feed:
        for batch in feed:
            if batch.end_position % (64 * 10) == 0:
                torch.cuda._sleep(SLOW_CYCLES)  # type: ignore[no-untyped-call]  # the host runs ahead
            kept.append((batch.pixels.clone(), batch.tokens.clone(), batch.end_position))
    for (pixels, tokens, position), loaded in zip(kept, make_loader().batches(0, NUM_BATCHES), strict=True):
        assert torch.equal(pixels.cpu().permute(0, 2, 3, 1), torch.from_numpy(loaded.pixels))
        assert tokens.cpu().tolist() == loaded.tokens.tolist()
        assert position == loaded.end_position


def test_batches_stay_as_they_were_for_as_long_as_they_are_kept() -> None:
    with closing(Feed(make_loader(), cuda(), 0, NUM_BATCHES)) as feed:
        kept = list(feed)
    for batch, loaded in zip(kept, make_loader().batches(0, NUM_BATCHES), strict=True):
        assert torch.equal(batch.pixels.cpu().permute(0, 2, 3, 1), torch.from_numpy(loaded.pixels))


def test_the_loader_fills_pinned_memory() -> None:
    pixels = CudaLane(cuda()).array((2, 4, 4, 3))
    assert torch.from_numpy(pixels).is_pinned()


def test_a_device_that_is_busy_does_not_wait_for_data() -> None:
    with closing(Feed(make_loader(), cuda(), 0, 20)) as feed:
        next(feed)
        feed.waited_s()
        start_s = time.perf_counter()
        for _ in feed:
            torch.cuda._sleep(SLOW_CYCLES)  # type: ignore[no-untyped-call]
        assert feed.waited_s() < 0.02 * (time.perf_counter() - start_s)


def test_a_device_that_gets_nothing_is_seen_to_wait() -> None:
    loader = make_loader()
    gather = loader.table.gather

    def slowly(rows: Any, out: Pixels) -> None:
        time.sleep(0.2)
        gather(rows, out)

    torch.ones(8, device=cuda()).to(torch.uint8).sum().item()  # kernels are loaded at their first use
    loader.table.gather = slowly  # type: ignore[method-assign]
    with closing(Feed(loader, cuda(), 0, 10)) as feed:
        start_s = time.perf_counter()
        for batch in feed:
            batch.pixels.sum()
        waited_s = feed.waited_s()
        assert waited_s > 0.8 * (time.perf_counter() - start_s)


def test_a_feed_can_be_closed_at_any_batch() -> None:
    for num_taken in range(4):
        with closing(Feed(make_loader(), cuda(), 0, 1_000_000)) as feed:
            for _ in range(num_taken):
                next(feed)


@pytest.mark.parametrize("spec", [{"augment": "random_resized_crop"}, {"colour_jitter": 0.3}], ids=str)
def test_cpu_and_cuda_vary_pictures_alike(spec: dict[str, Any]) -> None:
    pixels = torch.randint(0, 256, (64, 3, 24, 24), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    data = data_spec(Path("store"), **spec)
    on_cpu, on_gpu = (augment(pixels.to(device), data, 16, 0, 64).cpu().int() for device in ("cpu", "cuda"))
    assert (on_cpu - on_gpu).abs().max() <= 1
