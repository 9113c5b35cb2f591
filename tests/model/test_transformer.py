"""Attention and the blocks around it."""

import pytest
import torch
from torch import Tensor

from clipexp.model import transformer
from clipexp.model.transformer import Transformer, attention

both_masks = pytest.mark.parametrize("causal", [False, True])


def random_qkv(num_tokens: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 2, num_tokens, 8, generator=generator, requires_grad=True) for _ in range(3)]


def output_and_gradients(num_tokens: int, *, causal: bool) -> list[Tensor]:
    qkv = random_qkv(num_tokens)
    out = attention(*qkv, causal=causal)
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    return [out.detach(), *(x.grad for x in qkv if x.grad is not None)]


@both_masks
@pytest.mark.parametrize("num_tokens", [1, 7, 256])
def test_explicit_and_fused_attention_agree_forward_and_backward(
    monkeypatch: pytest.MonkeyPatch, num_tokens: int, causal: bool
) -> None:
    explicit = output_and_gradients(num_tokens, causal=causal)
    monkeypatch.setattr(transformer, "SHORT_SEQUENCE_TOKENS", 0)
    fused = output_and_gradients(num_tokens, causal=causal)
    assert len(explicit) == len(fused) == 4
    for a, b in zip(explicit, fused, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@both_masks
def test_attention_agrees_on_either_side_of_the_switch(causal: bool) -> None:
    q, k, v = (x.detach() for x in random_qkv(257))
    long = attention(q, k, v, causal=causal)  # fused
    if causal:
        short = attention(q[..., :256, :], k[..., :256, :], v[..., :256, :], causal=True)  # explicit
        torch.testing.assert_close(long[..., :256, :], short, atol=1e-5, rtol=1e-5)
    else:
        by_hand = ((q @ k.mT) / 8**0.5).softmax(-1) @ v
        torch.testing.assert_close(long, by_hand, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_tokens", [4, 300])
def test_equal_scores_average_the_values(num_tokens: int) -> None:
    zeros = torch.zeros(1, 1, num_tokens, 1)
    v = torch.arange(1.0, num_tokens + 1).view(1, 1, num_tokens, 1)
    assert attention(zeros, zeros, v, causal=False).flatten()[0].item() == pytest.approx((num_tokens + 1) / 2)


@pytest.mark.parametrize("num_tokens", [4, 300])
def test_a_causal_token_averages_what_stands_before_it_and_itself(num_tokens: int) -> None:
    zeros = torch.zeros(1, 1, num_tokens, 1)
    v = torch.arange(1.0, num_tokens + 1).view(1, 1, num_tokens, 1)
    assert attention(zeros, zeros, v, causal=True).flatten()[:4].tolist() == pytest.approx([1, 1.5, 2, 2.5])


def test_scores_are_divided_by_the_root_of_head_dim() -> None:
    one, two = torch.zeros(1, 1, 2, 4), torch.tensor([0.0, 1.0]).view(1, 1, 2, 1)
    one[..., 1, 0] = 2  # scores of token 1: (0, 2 * 2 / sqrt(4)) = (0, 2)
    expected = torch.tensor([0.0, 2.0]).softmax(0)[1].item()
    assert attention(one, one, two, causal=False)[0, 0, 1].item() == pytest.approx(expected)


def test_a_later_token_changes_nothing_before_it_in_a_causal_stack() -> None:
    stack = Transformer(width=16, num_layers=2, num_heads=2, causal=True)
    x = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 3] = x[:, 2]
    before, after = stack(x), stack(changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert (before[:, 3:] - after[:, 3:]).abs().amax(dim=-1).min() > 1e-3


def test_a_stack_whose_output_weights_are_zero_passes_its_input_through() -> None:
    stack = Transformer(width=16, num_layers=2, num_heads=2, causal=False)
    for name, weight in stack.named_parameters():
        if name.endswith("proj.weight"):  # the last of the attention and of the MLP
            torch.nn.init.zeros_(weight)
    x = torch.randn(1, 5, 16)
    assert torch.equal(stack(x), x)


def test_initial_biases_are_zero_and_residual_weights_shrink_with_depth() -> None:
    torch.manual_seed(0)
    weights = Transformer(width=128, num_layers=8, num_heads=2, causal=False).state_dict()
    biases = [weights[f"blocks.0.{name}.bias"] for name in ("attn.qkv", "attn.proj", "fc", "proj")]
    assert not torch.cat(biases).any()
    assert weights["blocks.0.attn.qkv.weight"].std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert weights["blocks.0.proj.weight"].std().item() == pytest.approx(
        128**-0.5 / 4, rel=0.05
    )  # 4 = sqrt(2 * 8 layers)
