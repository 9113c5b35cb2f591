"""The source `hf`: sets of the library `datasets`, made here and read back without the hub."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict, Features, Image, Sequence, Value

from clipexp.data.sources import Drop, Pair
from clipexp.data.sources.folder import ITEMS_A_PART
from clipexp.data.sources.hf import Hf
from clipexp.errors import SourceError
from clipexp.spec.sources import HfSource
from tests.data.made import picture


def a_set(captions: list[Any], column: str = "text") -> Dataset:
    several = isinstance(captions[0], list)
    text = Sequence(Value("string")) if several else Value("string")
    images = [{"bytes": picture(number), "path": None} for number in range(len(captions))]
    return Dataset.from_dict({"image": images, column: captions}, features=Features({"image": Image(), column: text}))


def items(folder: Path, **spec: Any) -> list[Pair | Drop]:
    source = Hf(str(folder), HfSource(kind="hf", **spec))
    return [item for part in source.parts() for item in source.read(part)]


def test_a_saved_set_gives_its_pictures_as_they_were_encoded(tmp_path: Path) -> None:
    a_set(["one", "two"]).save_to_disk(tmp_path / "set")
    first, second = items(tmp_path / "set")
    assert first == Pair("train-00000000", picture(0), ("one",), ("caption:one",), f"{tmp_path}/set, row 0")
    assert isinstance(second, Pair)
    assert second.image == picture(1)


def test_a_split_is_taken_from_a_saved_dictionary(tmp_path: Path) -> None:
    DatasetDict(train=a_set(["one"]), test=a_set(["two"])).save_to_disk(tmp_path / "set")
    (found,) = items(tmp_path / "set", split="test")
    assert isinstance(found, Pair)
    assert found.captions == ("two",)
    with pytest.raises(SourceError, match=r"has no split dev, but train, test; set data.source.split"):
        items(tmp_path / "set", split="dev")


def test_a_folder_of_parquet_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    a_set([["a", "b"]], column="captions").to_parquet(tmp_path / "set" / "train.parquet")
    (found,) = items(tmp_path / "set", caption_columns=("captions",))
    assert isinstance(found, Pair)
    assert found.captions == ("a", "b")


def test_a_row_without_picture_or_caption_is_dropped_and_told(tmp_path: Path) -> None:
    images = [{"bytes": picture(0), "path": None}, None]
    features = Features({"image": Image(), "text": Value("string")})
    Dataset.from_dict({"image": images, "text": [None, "x"]}, features=features).save_to_disk(tmp_path / "set")
    found = items(tmp_path / "set")
    assert [item.reason for item in found if isinstance(item, Drop)] == ["caption is no text", "no picture"]


def test_a_missing_column_is_told_beside_those_that_are_there(tmp_path: Path) -> None:
    a_set(["one"]).save_to_disk(tmp_path / "set")
    with pytest.raises(SourceError, match=r"has no column caption, but image, text; set data.source.image_column"):
        items(tmp_path / "set", caption_columns=("caption",))
    with pytest.raises(SourceError, match=r"column text of .* holds no pictures"):
        items(tmp_path / "set", image_column="text")


def test_what_is_no_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is no folder; set it to one that `datasets` can load"):
        items(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"can't be loaded by `datasets`"):
        items(tmp_path / "empty")


def test_parts_cover_every_row(tmp_path: Path) -> None:
    a_set(["x"] * (ITEMS_A_PART + 1)).save_to_disk(tmp_path / "set")
    source = Hf(str(tmp_path / "set"), HfSource(kind="hf"))
    assert [(part.start, part.stop) for part in source.parts()] == [(0, ITEMS_A_PART), (ITEMS_A_PART, ITEMS_A_PART + 1)]
    assert source.num_items() == ITEMS_A_PART + 1
