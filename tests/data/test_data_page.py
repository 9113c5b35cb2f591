"""The snippets of docs/data.md, run as they stand there on a store of either encoding."""

import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from clipexp.data.prepare import prepare
from clipexp.data.store import Store
from tests.data.made import CONTEXT_LENGTH, data_spec

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
STORE = "data/scenes-v1-48px"


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def either_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp(request.param) / "store"
    return prepare(data_spec(folder, encoding=request.param), CONTEXT_LENGTH)


def names_after(snippet: str, store: Store) -> dict[str, Any]:
    assert snippet.count(STORE) == 1
    names: dict[str, Any] = {}
    exec(snippet.replace(STORE, str(store.folder)), names)
    return names


def first_picture(store: Store, side: str) -> np.ndarray:
    spec = data_spec(store.folder, encoding=store.manifest.settings["encoding"])
    return store.table(side, spec.tokenizer, CONTEXT_LENGTH).pixels(np.array([0]))[0]


def test_the_page_has_a_snippet_for_each_library() -> None:
    assert len(SNIPPETS) == 3
    for snippet, library in zip(SNIPPETS, ("import pyarrow", "import pandas", "from datasets"), strict=True):
        assert library in snippet


def test_pyarrow_opens_a_shard(either_store: Store) -> None:
    names = names_after(SNIPPETS[0], either_store)
    np.testing.assert_array_equal(names["picture"], first_picture(either_store, "train"))
    assert names["captions"] == either_store.all_captions("train")[0]
    if either_store.manifest.settings["encoding"] == "raw":
        assert names["pictures"].shape == (either_store.manifest.num_train, 16, 16, 3)


def test_pandas_opens_a_shard(either_store: Store) -> None:
    names = names_after(SNIPPETS[1], either_store)
    np.testing.assert_array_equal(np.asarray(names["picture"]), first_picture(either_store, "val"))
    assert names["frame"]["num_captions"].tolist() == [len(row) for row in either_store.all_captions("val")]


def test_datasets_opens_all_shards(either_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    pairs = names_after(SNIPPETS[2], either_store)["pairs"]
    manifest = either_store.manifest
    assert {side: len(rows) for side, rows in pairs.items()} == {"train": manifest.num_train, "val": manifest.num_val}
    assert pairs["train"][0]["captions"] == either_store.all_captions("train")[0]
    image, expected = pairs["train"][0]["image"], first_picture(either_store, "train")
    if manifest.settings["encoding"] == "raw":
        image = np.frombuffer(image, np.uint8).reshape(16, 16, 3)
    np.testing.assert_array_equal(np.asarray(image), expected)
