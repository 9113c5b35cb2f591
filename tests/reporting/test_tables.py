"""Tables: values as people write them, and only what differs."""

import pytest

from clipexp.reporting.analysis import Analysis
from clipexp.reporting.proof import RunsLedger
from clipexp.reporting.sources import escape
from clipexp.reporting.tables import markdown_table, runs_table, setting, shown_settings
from clipexp.track.records import RunRecord
from tests.reporting.made import made_evidence, made_record, made_run


def with_params(**params: str) -> RunRecord:
    return made_record(params={key.replace("__", "."): value for key, value in params.items()})


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("optim.max_lr", "0.0003", "3e-4"),
        ("optim.max_lr", "0.00025", "2.5e-4"),
        ("optim.weight_decay", "0.2", "0.2"),
        ("train.batch_size", "1024", "1,024"),
        ("schedule.warmup_frac", "0.02", "2%"),
        ("schedule.warmup_frac", "0.0", "0%"),
        ("optim.grad_clip_norm", "None", "–"),
        ("data.shuffle", "none", "none"),
    ],
)
def test_a_setting_is_shown_as_people_write_it(key: str, value: str, shown: str) -> None:
    run = made_run(params={key: value})
    ledger = RunsLedger(Analysis(made_evidence([run])))
    assert ledger.block(setting(ledger, run, key)).text == shown


def test_only_what_differs_is_shown_beside_the_core_settings() -> None:
    one = with_params(optim__beta2="0.98", data__shuffle="none", data__store="x", seed="0")
    two = with_params(optim__beta2="0.98", data__shuffle="full", data__store="y", seed="1")
    assert shown_settings([one, two])[3:] == ["data.shuffle", "seed"]


def test_of_different_kinds_only_the_kind_is_shown() -> None:
    scenes = with_params(data__source__kind="scenes-v1", data__source__num_pairs="42000")
    tars = with_params(data__source__kind="webdataset", data__source__caption_key="prompt")
    assert shown_settings([scenes, tars])[3:] == ["data.source.kind"]


def test_two_settings_of_one_name_are_shown_with_their_sections() -> None:
    run = made_run(params={"model.text.width": "8", "model.vision.width": "9"})
    ledger = RunsLedger(Analysis(made_evidence([run])))
    header = runs_table(ledger, [run], ["model.text.width", "data.text.width", "optim.max_lr"]).splitlines()[0]
    assert "| model.text.width | data.text.width | max_lr |" in header


@pytest.mark.parametrize("text", ["<b>x</b>", "a | b", "*x*", "`x`", "[x](y)", "_x_", "line\nbreak"])
def test_markup_in_a_text_is_taken_out_of_force(text: str) -> None:
    shown = escape(text)
    assert not set(shown) & set("<>|*`[]\n")
    assert "_x" not in shown


def test_names_with_underscores_inside_stay_readable() -> None:
    assert escape("val/loss_block_40 & more") == "val/loss_block_40 &#38; more"


def test_a_table_says_how_its_columns_are_aligned() -> None:
    assert markdown_table(["run", "loss"], [["a", "1.5"]]) == "| run | loss |\n| --- | ---: |\n| a | 1.5 |"
