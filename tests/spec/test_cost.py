"""Parameters, FLOPs and bytes by arithmetic, held to the model itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from clipexp.model.clip import CLIP
from clipexp.spec import cost
from clipexp.spec.load import load_spec, resolve
from clipexp.spec.run import RunSpec


def spec_of(model: dict[str, Any], vocab_size: int | None = None, **train: Any) -> RunSpec:
    tokenizer = {"kind": "clip"} if vocab_size is None else {"kind": "trained", "vocab_size": vocab_size}
    image_size_px = model.get("image_size_px", {"tiny": 48, "seed": 224}.get(model.get("preset", "")))
    return resolve(
        {
            "name": "costed",
            "data": {
                "source": {"kind": "scenes-v1"},
                "store": "data/none",
                "image_size_px": image_size_px,
                "tokenizer": tokenizer,
            },
            "model": model,
            "optim": {"max_lr": 1e-3},
            "train": {"batch_size": 2, "budget": {"samples": 100}, **train},
        }
    ).spec


ODD: dict[str, Any] = {
    "image_size_px": 30,
    "patch_size_px": 10,
    "embed_dim": 7,
    "context_length": 5,
    "vision": {"width": 12, "layers": 1, "heads": 3, "mlp_ratio": 2.6},
    "text": {"width": 20, "layers": 3, "heads": 5, "mlp_ratio": 1.25},
}


@pytest.mark.parametrize(
    "spec",
    [
        spec_of({"preset": "tiny"}, 1024),
        spec_of({"preset": "tiny", "vision": {"mlp_ratio": 2.5}, "embed_dim": 96}, 300),
        spec_of(ODD, 258),
        spec_of({"preset": "seed"}),
    ],
    ids=["tiny", "tiny amended", "odd sizes", "seed"],
)
def test_the_count_of_parameters_is_the_model_s_own(spec: RunSpec) -> None:
    with torch.device("meta"):
        model = CLIP(spec.model, spec.data.tokenizer.vocab_size)
    assert cost.num_parameters(spec) == sum(parameter.numel() for parameter in model.parameters())
    assert cost.vision_parameters(spec) == sum(parameter.numel() for parameter in model.vision.parameters())


def test_the_seed_model_has_102_million_parameters() -> None:
    assert cost.num_parameters(spec_of({"preset": "seed"})) == pytest.approx(102.4e6, rel=1e-3)


def test_a_pair_costs_the_seed_model_26_gflops_forward_and_79_in_training() -> None:
    forward = cost.forward_flops(spec_of({"preset": "seed"}))
    assert forward == pytest.approx(26.5e9, rel=0.01)
    assert 3 * forward == pytest.approx(79.4e9, rel=0.01)


def test_the_flops_of_a_model_of_ones_can_be_counted_by_hand() -> None:
    tower = {"width": 1, "layers": 1, "heads": 1, "mlp_ratio": 1}
    spec = spec_of(
        {
            "image_size_px": 1,
            "patch_size_px": 1,
            "embed_dim": 1,
            "context_length": 3,
            "vision": tower,
            "text": tower,
        }
    )
    patch_embedding = 2 * 3  # one patch of 3 values
    vision = 2 * 2 * (4 + 2) + 2 * 2 * 2**2  # 2 tokens: 4 + 2 weights each, and two products of 2 x 2
    text = 2 * 3 * (4 + 2) + 2 * 2 * 3**2
    assert cost.forward_flops(spec) == patch_embedding + vision + text + 2 * 2


def test_the_flops_are_those_that_torch_counts() -> None:
    spec = spec_of({"preset": "tiny"}, 1024)
    model = CLIP(spec.model, 1024)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 48, 48, dtype=torch.uint8), torch.zeros(1, 32, dtype=torch.int64))
    assert cost.forward_flops(spec) == counter.get_total_flops()


def test_48_px_in_patches_of_12_are_16_patches() -> None:
    assert cost.num_patches(spec_of({"preset": "tiny"}, 1024)) == 16


def test_memory_is_16_bytes_a_parameter_and_more_with_every_pair() -> None:
    small, large = (spec_of({"preset": "tiny"}, 1024, batch_size=batch) for batch in (2, 200))
    states = 16 * cost.num_parameters(small)
    assert states < cost.memory_bytes(small) < 2 * states < cost.memory_bytes(large)


def test_bf16_needs_less_memory_than_fp32() -> None:
    fp32, bf16 = (spec_of({"preset": "tiny"}, 1024, batch_size=128, precision=name) for name in ("fp32", "bf16"))
    assert cost.memory_bytes(bf16) < cost.memory_bytes(fp32)


def test_run1_is_the_seed_model() -> None:
    assert cost.num_parameters(load_spec(Path(__file__).parents[2] / "experiments/run1.yaml").spec) == 102_354_945
