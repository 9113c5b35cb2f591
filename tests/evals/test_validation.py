"""The frozen validation on a real store."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clipexp.data.store import Store
from clipexp.data.table import PairTable
from clipexp.errors import RunError
from clipexp.evals import validation
from clipexp.evals.metrics import median_rank, ranks, recall_at_k
from clipexp.evals.validation import FrozenValidation, Validated, block_size, loss_metric
from clipexp.model.clip import CLIP
from clipexp.model.loss import info_nce
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.spec.run import RunSpec
from tests.data.made import pair_table
from tests.small import small_content

CPU = torch.device("cpu")


@pytest.fixture
def spec(small_run: ResolvedRun) -> RunSpec:
    return small_run.spec


@pytest.fixture
def table(small_store: Path, spec: RunSpec) -> PairTable:
    return Store(small_store).table("val", spec.data.tokenizer, spec.model.context_length)


@pytest.fixture
def model(spec: RunSpec) -> CLIP:
    torch.manual_seed(0)
    return CLIP(spec.model, spec.data.tokenizer.vocab_size)


def embed(model: CLIP, table: PairTable, start: int, stop: int) -> tuple[Tensor, Tensor]:
    rows = np.arange(start, stop)
    pixels = torch.from_numpy(table.pixels(rows)).permute(0, 3, 1, 2)
    with torch.no_grad():
        image_emb, text_emb = model(pixels, torch.from_numpy(table.tokens(rows)).long())
    return image_emb, text_emb


def evaluated(frozen: FrozenValidation, model: CLIP) -> Validated:
    result = frozen.run(model)
    assert result is not None
    return result


def with_evals(store: Path, **evals: Any) -> RunSpec:
    return resolve({**small_content(store), "evals": evals}).spec


@pytest.mark.parametrize(
    ("num_val_pairs", "name"),
    [(1024, "val/loss"), (5000, "val/loss"), (1023, "val/loss_block_1023"), (290, "val/loss_block_290")],
)
def test_the_loss_carries_its_block_size_unless_it_is_1024(num_val_pairs: int, name: str) -> None:
    assert loss_metric(block_size(num_val_pairs)) == name


def test_metrics_are_named_and_chance_is_ln_of_the_block(table: PairTable, spec: RunSpec, model: CLIP) -> None:
    num = table.num_pairs
    metrics, *_ = evaluated(FrozenValidation(table, spec, CPU), model)
    assert f"val/loss_block_{num}" in metrics
    assert metrics["val/block_size"] == metrics["val/num_pairs"] == num
    assert metrics["val/chance_loss"] == math.log(num)
    assert metrics["val/chance_recall_at_1"] == 1 / num


def test_the_loss_is_info_nce_over_the_whole_set(table: PairTable, spec: RunSpec, model: CLIP) -> None:
    loss = info_nce(*embed(model, table, 0, table.num_pairs), model.logit_scale).item()
    frozen = FrozenValidation(table, spec, CPU)
    assert evaluated(frozen, model)[0][frozen.loss_metric] == pytest.approx(loss, rel=1e-5)


def test_recall_is_measured_both_ways(table: PairTable, spec: RunSpec, model: CLIP) -> None:
    images, texts = embed(model, table, 0, table.num_pairs)
    metrics, *_ = evaluated(FrozenValidation(table, spec, CPU), model)
    found_by_way = {"text_to_image": ranks(texts @ images.T), "image_to_text": ranks(images @ texts.T)}
    for way, found in found_by_way.items():
        assert metrics[f"val/{way}_median_rank"] == median_rank(found)
        for k in (1, 5, 10):
            assert metrics[f"val/{way}_recall_at_{k}"] == recall_at_k(found, k)
    assert not torch.equal(*found_by_way.values())


def test_evaluation_builds_no_graph(table: PairTable, spec: RunSpec, model: CLIP) -> None:
    outputs: list[Tensor] = []
    model.register_forward_hook(lambda _, __, pair: outputs.extend(pair))
    FrozenValidation(table, spec, CPU).run(model)
    assert [output.requires_grad for output in outputs] == [False, False]


def test_several_blocks_are_averaged_and_recall_is_over_all(
    table: PairTable, spec: RunSpec, model: CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "BLOCK_SIZE", 8)
    frozen = FrozenValidation(table, spec, CPU)
    metrics, *_ = evaluated(frozen, model)
    losses = [info_nce(*embed(model, table, at, at + 8), model.logit_scale).item() for at in (0, 8, 16, 24, 32)]
    assert (table.num_pairs, frozen.num_pairs) == (40, 40)
    assert metrics["val/loss"] == pytest.approx(sum(losses) / 5, rel=1e-5)
    assert metrics["val/chance_loss"] == math.log(8)
    assert metrics["val/chance_recall_at_1"] == 1 / 40


def test_a_rest_smaller_than_a_block_is_left_out(
    table: PairTable, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "BLOCK_SIZE", 16)
    assert FrozenValidation(table, spec, CPU).num_pairs == 32


@pytest.mark.parametrize("embed_batch", [3, 16, 1000])
def test_metrics_do_not_depend_on_the_embedding_batch(
    table: PairTable, spec: RunSpec, model: CLIP, monkeypatch: pytest.MonkeyPatch, embed_batch: int
) -> None:
    expected, *_ = evaluated(FrozenValidation(table, spec, CPU), model)
    monkeypatch.setattr(validation, "EMBED_BATCH", embed_batch)
    assert evaluated(FrozenValidation(table, spec, CPU), model)[0] == pytest.approx(expected, rel=1e-5)


def test_metrics_do_not_depend_on_the_training_batch_or_the_seed(
    table: PairTable, small_store: Path, model: CLIP
) -> None:
    specs = [resolve({**small_content(small_store, batch_size=b), "seed": s}).spec for b, s in ((8, 0), (64, 5))]
    first, second = (FrozenValidation(table, spec, CPU).run(model) for spec in specs)
    assert first == second


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_weights_gradients_and_mode_alone(
    table: PairTable, spec: RunSpec, model: CLIP, training: bool
) -> None:
    model.train(training)
    before = copy.deepcopy(model.state_dict())
    FrozenValidation(table, spec, CPU).run(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert {module.training for module in model.modules()} == {training}


def test_an_untrained_model_is_near_chance(table: PairTable, spec: RunSpec, model: CLIP) -> None:
    torch.nn.init.zeros_(model.logit_scale)  # at 1, an embedding's accidents weigh little
    frozen = FrozenValidation(table, spec, CPU)
    metrics, *_ = evaluated(frozen, model)
    assert metrics[frozen.loss_metric] == pytest.approx(math.log(table.num_pairs), abs=0.2)
    assert metrics["val/text_to_image_recall_at_1"] <= 4 / table.num_pairs
    assert metrics["val/text_to_image_median_rank"] == pytest.approx(table.num_pairs / 2, rel=0.5)


def test_examples_hold_the_most_similar_pictures_of_the_first_captions(
    table: PairTable, spec: RunSpec, model: CLIP
) -> None:
    _, examples, _ = evaluated(FrozenValidation(table, spec, CPU), model)
    images, texts = embed(model, table, 0, table.num_pairs)
    assert [example.target_idx for example in examples] == list(range(8))
    for example in examples:
        similarity = (texts[example.target_idx] @ images.T).numpy()
        assert example.caption == table.captions(example.target_idx)[0]
        assert similarity[list(example.found_idx)] == pytest.approx(example.scores, abs=1e-3)
        assert example.scores == pytest.approx(np.sort(similarity)[::-1][:5], abs=1e-3)


def test_no_examples_are_kept_if_none_are_asked_for(table: PairTable, small_store: Path, model: CLIP) -> None:
    metrics, examples, _ = evaluated(FrozenValidation(table, with_evals(small_store, num_examples=0), CPU), model)
    assert examples == ()
    assert "val/text_to_image_recall_at_1" in metrics


def test_the_first_pairs_are_used_where_fewer_are_asked_for(table: PairTable, small_store: Path, model: CLIP) -> None:
    frozen = FrozenValidation(table, with_evals(small_store, num_pairs=10), CPU)
    metrics, examples, _ = evaluated(frozen, model)
    assert frozen.loss_metric == "val/loss_block_10"
    assert metrics["val/text_to_image_recall_at_10"] == 1
    assert max(max(example.found_idx) for example in examples) < 10


def test_a_single_pair_can_not_validate(small_store: Path) -> None:
    with pytest.raises(RunError, match="two pairs at least"):
        FrozenValidation(pair_table(1), with_evals(small_store), CPU)


@pytest.mark.parametrize("num_batches", [0, 1, 4])
def test_a_stop_cuts_an_evaluation_short_before_its_next_batch(
    table: PairTable, spec: RunSpec, model: CLIP, monkeypatch: pytest.MonkeyPatch, num_batches: int
) -> None:
    monkeypatch.setattr(validation, "EMBED_BATCH", 8)  # five batches
    done: list[object] = []
    model.train()
    model.register_forward_hook(lambda *_: done.append(None))
    assert FrozenValidation(table, spec, CPU).run(model, lambda: len(done) == num_batches) is None
    assert len(done) == num_batches
    assert model.training


def test_asking_whether_to_stop_changes_no_bit(table: PairTable, spec: RunSpec, model: CLIP) -> None:
    frozen = FrozenValidation(table, spec, CPU)
    assert frozen.run(model, lambda: False) == frozen.run(model)


def test_strips_average_to_the_metric(
    table: PairTable, spec: RunSpec, model: CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "STRIP", 16)
    assert table.num_pairs == 40
    metrics, _, strips = evaluated(FrozenValidation(table, spec, CPU), model)
    assert set(strips) == {"val/loss_block_40", "val/text_to_image_recall_at_1", "val/image_to_text_recall_at_1"}
    for metric, values in strips.items():
        assert np.average(values, weights=[16, 24]) == pytest.approx(metrics[metric], abs=1e-5)
