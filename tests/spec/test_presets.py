"""Named sizes of the model, amended by the keys beside them."""

import pytest

from clipexp.spec.load import resolve
from clipexp.spec.presets import MODEL_BY_PRESET
from clipexp.spec.run import ModelSpec, TowerSpec, spec_hash
from tests.small import small_content


def model_of(tmp_path_factory: pytest.TempPathFactory, image_size_px: int, **model: object) -> ModelSpec:
    content = small_content(tmp_path_factory.getbasetemp() / "store")
    content["data"]["image_size_px"] = image_size_px
    return resolve({**content, "model": model}).spec.model


def test_tiny_is_three_and_two_layers_of_128(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = model_of(tmp_path_factory, 48, preset="tiny")
    assert model.vision == TowerSpec(width=128, layers=3, heads=4)
    assert model.text == TowerSpec(width=128, layers=2, heads=4)
    assert (model.patch_size_px, model.embed_dim, model.context_length) == (12, 128, 32)


def test_seed_sees_224_px_in_196_patches(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = model_of(tmp_path_factory, 224, preset="seed")
    assert (model.image_size_px // model.patch_size_px) ** 2 == 196
    assert (model.vision.width, model.text.width, model.context_length) == (768, 512, 77)


def test_keys_beside_a_preset_amend_it_at_any_depth(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = model_of(tmp_path_factory, 48, preset="tiny", embed_dim=64, text={"layers": 5})
    assert (model.embed_dim, model.text.layers, model.text.width) == (64, 5, 128)


def test_a_preset_spelled_out_is_the_same_experiment(tmp_path_factory: pytest.TempPathFactory) -> None:
    content = small_content(tmp_path_factory.getbasetemp() / "store")
    content["data"]["image_size_px"] = 48
    named = resolve({**content, "model": {"preset": "tiny"}}).spec
    spelled = resolve({**content, "model": MODEL_BY_PRESET["tiny"]}).spec
    assert spelled.model.preset is None
    assert spec_hash(named, "0123") == spec_hash(spelled, "0123")
