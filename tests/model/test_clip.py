"""Two towers and the temperature."""

import math

import pytest
import torch

from clipexp.model.clip import CLIP
from clipexp.spec.run import ModelSpec


@pytest.fixture
def model(model_spec: ModelSpec) -> CLIP:
    torch.manual_seed(0)
    return CLIP(model_spec, vocab_size=10)


def test_embeddings_have_unit_norm_and_fp32(model: CLIP) -> None:
    pixels = torch.randint(0, 256, (5, 3, 24, 24), dtype=torch.uint8)
    for embedding in model(pixels, torch.randint(0, 10, (5, 8))):
        assert embedding.shape == (5, 8)
        assert embedding.dtype == torch.float32
        torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(5))


def test_forward_embeds_the_picture_first_and_the_caption_second(model: CLIP) -> None:
    pixels, tokens = torch.zeros(2, 3, 24, 24, dtype=torch.uint8), torch.tensor([[8, 1, 9], [8, 2, 9]])
    image_emb, text_emb = model(pixels, tokens)
    torch.testing.assert_close(image_emb, model.encode_image(pixels))
    torch.testing.assert_close(text_emb, model.encode_text(tokens))


def test_logit_scale_starts_at_a_temperature_of_0_07(model: CLIP) -> None:
    assert model.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert model.logit_scale.exp().item() == pytest.approx(14.2857, abs=1e-3)


@pytest.mark.parametrize(("before", "after"), [(9.0, math.log(100)), (-1.0, 0.0), (3.0, 3.0)])
def test_logit_scale_is_held_between_0_and_ln_100(model: CLIP, before: float, after: float) -> None:
    torch.nn.init.constant_(model.logit_scale, before)
    model.clamp_logit_scale()
    assert model.logit_scale.item() == pytest.approx(after)


def test_towers_share_no_weights(model: CLIP) -> None:
    pointers = [weight.data_ptr() for weight in model.parameters()]
    assert len(set(pointers)) == len(pointers)
