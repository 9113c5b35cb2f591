"""The source `folder`: pictures with `.txt` files or a table, and every way in which those can be wrong."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clipexp.data.prepare import prepare
from clipexp.data.sources import Drop, Pair
from clipexp.data.sources.folder import ITEMS_A_PART, Folder
from clipexp.errors import SourceError
from clipexp.spec.sources import FolderSource
from tests.data.made import CONTEXT_LENGTH, data_spec, picture


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def items(folder: Path, **spec: Any) -> list[Pair | Drop]:
    source = Folder(str(folder), FolderSource(kind="folder", **spec))
    return [item for part in source.parts() for item in source.read(part)]


def told(found: list[Pair | Drop]) -> list[tuple[str, Any]]:
    return [(item.key, item.captions if isinstance(item, Pair) else item.reason) for item in found]


def test_each_line_beside_a_picture_is_a_caption(tmp_path: Path) -> None:
    write(tmp_path, {"b/two.png": picture(2), "b/two.txt": "one\n\n two \n", "a.jpg": picture(1), "a.txt": "A"})
    first, second = items(tmp_path)
    assert first == Pair("a", picture(1), ("A",), ("caption:a",), "a.jpg")
    assert second == Pair("b/two", picture(2), ("one", "two"), ("caption:one", "caption:two"), "b/two.png")


def test_pictures_without_a_caption_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": picture(1), "b.jpg": picture(1), "b.txt": "\n", "c.jpg": picture(1), "c.txt": b"\xff"})
    reasons = ["no .txt beside the picture", "caption is empty", "caption is no UTF-8"]
    assert told(items(tmp_path)) == list(zip("abc", reasons, strict=True))


TABLES = {
    "t.csv": 'file_name,caption\na.jpg,"one, and more"\nb.jpg,two\n',
    "t.tsv": "file_name\tcaption\na.jpg\tone, and more\nb.jpg\ttwo\n",
    "t.jsonl": '{"file_name": "a.jpg", "caption": "one, and more"}\n{"file_name": "b.jpg", "caption": ["two"]}\n',
}


@pytest.mark.parametrize("table", [*TABLES, "t.parquet"])
def test_a_table_of_any_kind_names_pictures_and_captions(tmp_path: Path, table: str) -> None:
    write(tmp_path, {"a.jpg": picture(1), "b.jpg": picture(2), "not-named.jpg": picture(3)})
    if table in TABLES:
        (tmp_path / table).write_text(TABLES[table])
    else:
        pd.DataFrame({"file_name": ["a.jpg", "b.jpg"], "caption": ["one, and more", "two"]}).to_parquet(
            tmp_path / table
        )
    assert told(items(tmp_path, table=table)) == [("a.jpg", ("one, and more",)), ("b.jpg", ("two",))]


def test_several_columns_and_lists_give_several_captions(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": picture(1)})
    pd.DataFrame({"image": ["a.jpg"], "short": ["x"], "long": [["y", "z"]]}).to_parquet(tmp_path / "t.parquet")
    found = items(tmp_path, table="t.parquet", image_column="image", caption_columns=("short", "long"))
    assert told(found) == [("a.jpg", ("x", "y", "z"))]


def test_no_row_leads_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, {"secret.jpg": picture(1), "in/a.jpg": picture(2)})
    (tmp_path / "in/link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "", "nul\0.jpg", "none.jpg", "a.jpg"]
    rows = [{"file_name": name, "caption": "c"} for name in names] + [{"file_name": 7, "caption": "c"}]
    (tmp_path / "in/t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{cut\n[1]\n")
    reasons = [item.reason for item in items(tmp_path / "in", table="t.jsonl") if isinstance(item, Drop)]
    assert reasons == [
        *["no path within the folder"] * 5,
        "no such picture",
        "no path within the folder",
        "unreadable JSON",
        "unreadable JSON",
    ]


def test_a_missing_column_is_told_beside_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, {"t.csv": "path,text\na.jpg,x\n"})
    with pytest.raises(
        SourceError, match=r"no column caption, file_name, but path, text; set data.source.image_column"
    ):
        items(tmp_path, table="t.csv")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "has no .jpg"),
        ({"table": "none.csv"}, "none.csv is no file"),
        ({"table": "cut.parquet"}, "cut.parquet can't be read as a table"),
        ({"table": "empty.csv"}, "empty.csv can't be read as a table"),
    ],
)
def test_a_folder_that_holds_nothing_to_read_is_told(tmp_path: Path, spec: dict[str, Any], message: str) -> None:
    write(tmp_path, {"cut.parquet": b"PAR1", "empty.csv": b""})
    with pytest.raises(SourceError, match=message):
        items(tmp_path, **spec)
    with pytest.raises(SourceError, match=r"is no folder"):
        items(tmp_path / "none", **spec)


def test_parts_cover_every_item_and_their_fingerprints_follow_the_files(tmp_path: Path) -> None:
    rows = [{"file_name": "a.jpg", "caption": str(n)} for n in range(ITEMS_A_PART + 1)]
    write(tmp_path, {"a.jpg": picture(1)})
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Folder(str(tmp_path), FolderSource(kind="folder", table="t.jsonl"))
    assert [(part.start, part.stop) for part in source.parts()] == [(0, ITEMS_A_PART), (ITEMS_A_PART, ITEMS_A_PART + 1)]
    assert source.num_items() == ITEMS_A_PART + 1
    before = source.fingerprint(source.parts()[1])
    (tmp_path / "a.jpg").write_bytes(picture(2) + b"more")
    assert source.fingerprint(source.parts()[1]) != before


def test_a_folder_becomes_a_store(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {}
    for number in range(12):
        files |= {f"{number}.jpg": picture(number), f"{number}.txt": f"caption {number}"}
    write(tmp_path / "in", {**files, "bad.jpg": b"no picture", "bad.txt": "bad"})
    spec = data_spec(tmp_path / "store", {"kind": "folder"}, path=str(tmp_path / "in"), max_drop_frac=0.5)
    manifest = prepare(spec, CONTEXT_LENGTH).manifest
    assert manifest.num_train + manifest.num_val == 12
    assert sum(manifest.num_dropped_by_reason.values()) == 1
