"""Which parameters are decayed, and that an optimizer's state survives the way to disk."""

import copy

import pytest
import torch
from torch import nn

from clipexp.model.clip import CLIP
from clipexp.spec.load import ResolvedRun
from clipexp.spec.run import OptimSpec
from clipexp.train.checkpoint import flatten_optimizer, restore_optimizer
from clipexp.train.optim import make_optimizer

SPEC = OptimSpec(max_lr=1e-2, weight_decay=0.3, beta1=0.8, beta2=0.95, eps=1e-7)


@pytest.fixture
def model(small_run: ResolvedRun) -> CLIP:
    return CLIP(small_run.spec.model, vocab_size=400)


def names_by_decay(model: CLIP) -> dict[float, set[str]]:
    name_by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = make_optimizer(model.named_parameters(), SPEC).param_groups
    return {group["weight_decay"]: {name_by_id[id(p)] for p in group["params"]} for group in groups}


def test_every_parameter_is_in_exactly_one_group(model: CLIP) -> None:
    groups = make_optimizer(model.named_parameters(), SPEC).param_groups
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())


def test_matrices_are_decayed(model: CLIP) -> None:
    decayed = names_by_decay(model)[0.3]
    matrices = {"attn.qkv.weight", "attn.proj.weight", "fc.weight", "proj.weight"}
    blocks = {f"{tower}.transformer.blocks.0.{name}" for tower in ("vision", "text") for name in matrices}
    assert decayed == blocks | {"vision.patch_embed.weight", "vision.proj.weight", "text.proj.weight"}


def test_gains_biases_embeddings_and_the_logit_scale_are_not_decayed(model: CLIP) -> None:
    free = names_by_decay(model)[0.0]
    assert {"logit_scale", "text.token_embed.weight", "text.pos_embed", "vision.pos_embed"} <= free
    assert {"vision.class_embed", "vision.ln_pre.weight", "vision.ln_pre.bias"} <= free
    assert {name for name, _ in model.named_parameters() if name.endswith("bias")} <= free


def test_the_spec_sets_rate_betas_and_epsilon(model: CLIP) -> None:
    for group in make_optimizer(model.named_parameters(), SPEC).param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (1e-2, (0.8, 0.95), 1e-7)


def test_decay_shrinks_a_matrix_that_has_no_gradient() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = make_optimizer([("fc.weight", weight)], SPEC)
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    assert weight[0, 0].item() == pytest.approx(1 - 1e-2 * 0.3)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def test_a_restored_optimizer_takes_the_same_next_step(model: CLIP) -> None:
    optimizer = make_optimizer(model.named_parameters(), SPEC)
    step(model, optimizer, seed=1)
    step(model, optimizer, seed=2)
    twin = copy.deepcopy(model)
    restored = make_optimizer(twin.named_parameters(), SPEC)
    restore_optimizer(restored, copy.deepcopy(flatten_optimizer(optimizer)))
    step(model, optimizer, seed=3)
    step(twin, restored, seed=3)
    for (name, weight), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(weight, other), name


def test_forgetting_the_state_would_change_the_next_step(model: CLIP) -> None:
    optimizer = make_optimizer(model.named_parameters(), SPEC)
    step(model, optimizer, seed=1)
    twin = copy.deepcopy(model)
    step(model, optimizer, seed=2)
    step(twin, make_optimizer(twin.named_parameters(), SPEC), seed=2)
    assert not torch.equal(model.text.proj.weight, twin.text.proj.weight)


def test_the_state_is_three_tensors_a_parameter(model: CLIP) -> None:
    optimizer = make_optimizer(model.named_parameters(), SPEC)
    assert flatten_optimizer(optimizer) == {}
    step(model, optimizer, seed=1)
    fields = {name.split(".", 1)[1] for name in flatten_optimizer(optimizer)}
    assert fields == {"step", "exp_avg", "exp_avg_sq"}
    assert len(flatten_optimizer(optimizer)) == 3 * len(list(model.parameters()))
