"""The sizes that the model's tests share: small enough to check by eye, two layers where one would hide a mistake."""

import pytest

from clipexp.spec.run import ModelSpec


@pytest.fixture
def model_spec() -> ModelSpec:
    """24-px pictures in 2 x 2 patches; captions of at most 8 tokens."""
    tower = {"width": 16, "layers": 2, "heads": 2}
    return ModelSpec.model_validate(
        {
            "image_size_px": 24,
            "patch_size_px": 12,
            "embed_dim": 8,
            "context_length": 8,
            "vision": tower,
            "text": tower,
        }
    )
