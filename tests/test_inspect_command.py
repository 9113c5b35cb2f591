"""`clipexp data inspect` on real stores: what it tells, what it draws, and what it refuses."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from clipexp.cli import main
from clipexp.data.manifest import tokens_folders
from clipexp.data.prepare import prepare
from clipexp.data.sample import shown_pairs
from clipexp.data.store import Store
from clipexp.data.tokenizer import Tokenizer
from clipexp.errors import ReportError
from clipexp.inspection import InspectOptions, inspect
from clipexp.plots.contact_sheet import shown_size
from clipexp.spec.load import resolve
from tests.small import small_content

HOSTILE = [
    r"costs $5 and $\frac{1}{0}$ more",
    "<script>alert(1)</script> &amp;\nsecond line",
    "שלום עולם and \u202eturned",
    "一只猫 \U0001f469\u200d\U0001f680",
    "W" * 4_000,
]


@pytest.fixture(scope="session")
def jpeg_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jpegs") / "scenes"
    content = small_content(folder)
    content["data"] |= {"encoding": "jpeg", "source": {"kind": "scenes-v1", "num_pairs": 60}, "split": {"num_val": 8}}
    spec = resolve(content).spec
    prepare(spec.data, spec.model.context_length)
    return folder


@pytest.fixture
def folder_store(tmp_path: Path) -> Path:
    """Pictures with hostile captions, among them one that is no picture."""
    source = tmp_path / "pictures"
    source.mkdir()
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(source / f"$x_{number}$.png")
        caption = f"{HOSTILE[number % len(HOSTILE)]} {number}"
        (source / f"$x_{number}$.txt").write_text(caption, encoding="utf-8")
    (source / "broken.png").write_bytes(b"no picture")
    (source / "broken.txt").write_text("a picture that is none")
    content = small_content(tmp_path / "store")
    content["data"] |= {
        "source": {"kind": "folder"},
        "path": str(source),
        "image_size_px": 24,
        "split": {"num_val": 3},
        "max_drop_frac": 0.1,
    }
    spec = resolve(content).spec
    prepare(spec.data, spec.model.context_length)
    return tmp_path / "store"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["data", "inspect", *map(str, words)])


def told(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))


def contains(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Whether a picture stands somewhere on a sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    starts = np.argwhere((sheet[: 1 - height, : 1 - width] == picture[0, 0]).all(axis=2))
    return any(np.array_equal(sheet[y : y + height, x : x + width], picture) for y, x in starts.tolist())


def test_the_counts_are_those_of_the_store(small_store: Path, workplace: Path) -> None:
    store, found = Store(small_store), told(small_store)
    assert found["num_pairs_by_side"] == {"train": store.manifest.num_train, "val": store.manifest.num_val}
    assert found["settings"] == dict(store.manifest.settings)
    assert found["checksum"] == store.manifest.checksum
    files = [
        f for f in small_store.rglob("*") if f.suffix in (".arrow", ".npy", ".jsonl") or f.name == "tokenizer.json"
    ]
    assert found["num_bytes"] == sum(file.stat().st_size for file in files)
    assert found["tokens"][0]["kind"] == "trained"
    assert found["tokens"][0]["context_length"] == 32
    assert found["written"]["contact_sheet"] == f"reports/inspect/{small_store.name}/contact-sheet.png"
    assert (workplace / found["written"]["contact_sheet"]).exists()


def test_statistics_of_a_small_store_rest_on_all_of_it(small_store: Path, workplace: Path) -> None:
    statistics = told(small_store)["statistics"]
    store = Store(small_store)
    captions = [caption for row in store.all_captions("train") for caption in row]
    spec = resolve(small_content(small_store)).spec
    table = store.table("train", spec.data.tokenizer, spec.model.context_length)
    pixels = table.pixels(np.arange(table.num_pairs))
    assert statistics["num_sampled"] == statistics["num_pairs"] == table.num_pairs
    assert statistics["caption_chars"]["max"] == max(map(len, captions))
    assert statistics["caption_chars"]["median"] == np.median([len(caption) for caption in captions])
    assert statistics["channel_mean_rgb"] == pytest.approx(pixels.mean(axis=(0, 1, 2)))
    assert statistics["channel_std_rgb"] == pytest.approx(pixels.std(axis=(0, 1, 2)))
    assert statistics["jpeg_bytes"] is None
    assert statistics["tokens"][0]["num_differing"] == 0


def test_captions_cut_at_the_context_length_are_counted(small_store: Path, tmp_path: Path, workplace: Path) -> None:
    folder = Path(shutil.copytree(small_store, tmp_path / "own"))
    spec = resolve(small_content(folder)).spec
    prepare(spec.data, 16)
    whole, cut = sorted(told(folder)["statistics"]["tokens"], key=lambda each: -each["context_length"])
    store = Store(folder)
    captions = [caption for row in store.all_captions("train") for caption in row]
    roomy = Tokenizer(store.tokenizer(spec.data.tokenizer, 32).content, context_length=100)
    lengths = roomy.encode(captions).argmax(axis=1) + 1
    assert whole["cut_frac"] == pytest.approx((lengths > 32).mean())
    assert cut["cut_frac"] == pytest.approx((lengths > 16).mean())
    assert 0 < whole["cut_frac"] < cut["cut_frac"] < 1
    assert cut["tokens_a_caption"] == whole["tokens_a_caption"]
    assert cut["tokens_a_caption"]["max"] == lengths.max() > 32


def test_the_contact_sheet_shows_the_pictures(small_store: Path, workplace: Path) -> None:
    result = run(small_store, "--num", 7, "--side", "val", "--seed", 3, "--out", "sheets")
    assert result.exit_code == 0, result.output
    sheet = pixels_of(workplace / "sheets/contact-sheet.png")
    pairs = shown_pairs(Store(small_store), "val", 7, seed=3)
    factor = shown_size(24) // 24
    assert factor > 1
    for pair in pairs:
        assert contains(sheet, pair.pixels.repeat(factor, axis=0).repeat(factor, axis=1))
    elsewhere = shown_pairs(Store(small_store), "train", 1, seed=3)[0].pixels
    assert not contains(sheet, elsewhere.repeat(factor, axis=0).repeat(factor, axis=1))


def test_figures_say_which_command_makes_them_again(small_store: Path, workplace: Path) -> None:
    run(small_store, "--num", 2, "--seed", 5)
    for name in ("contact-sheet.png", "histograms.png"):
        with Image.open(workplace / "reports/inspect" / small_store.name / name) as image:
            assert image.info["Comment"] == f"made by: clipexp data inspect {small_store} --side train --seed 5 --num 2"


def test_another_seed_shows_other_pairs_and_the_same_the_same(small_store: Path, workplace: Path) -> None:
    rows = [told(small_store, "--seed", seed)["shown_rows"] for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    assert len(set(rows[0])) == 24


def test_a_jpeg_store_tells_the_bytes_of_its_pictures(jpeg_store: Path, workplace: Path) -> None:
    found = told(jpeg_store)
    stored = [len(image) for batch in Store(jpeg_store).batches("train") for image in batch.column("image").to_pylist()]
    assert found["statistics"]["jpeg_bytes"]["mean"] == pytest.approx(np.mean(stored))
    assert found["statistics"]["jpeg_bytes"]["max"] == max(stored)
    pair = shown_pairs(Store(jpeg_store), "train", 24, seed=0)[0]
    factor = shown_size(24) // 24
    sheet = pixels_of(Path(found["written"]["contact_sheet"]))
    assert contains(sheet, pair.pixels.repeat(factor, axis=0).repeat(factor, axis=1))


def test_hostile_captions_and_keys_are_drawn_as_text(folder_store: Path, workplace: Path) -> None:
    result = run(folder_store)
    assert result.exit_code == 0, result.output
    found = told(folder_store)
    assert found["num_dropped_by_reason"] == {"unreadable picture": 1}
    assert (folder_store / "dropped.jsonl").samefile(found["dropped_file"])
    assert str(folder_store / "dropped.jsonl") in result.stdout
    assert "broken" in result.stdout
    assert pixels_of(Path(found["written"]["histograms"])).std() > 0


def test_verify_finds_a_flipped_bit(small_store: Path, tmp_path: Path, workplace: Path) -> None:
    folder = Path(shutil.copytree(small_store, tmp_path / "own"))
    result = run(folder, "--verify")
    assert result.exit_code == 0, result.output
    assert "is as it was prepared" in result.stdout
    num_files = len([path for path in folder.rglob("*") if path.is_file()])
    unsealed = 3  # both manifests, which hold checksums of their own, and the licence
    assert told(folder, "--verify")["num_verified_files"] == num_files - unsealed
    shard = folder / "train-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert run(folder).exit_code == 0  # one pixel differs, which only a checksum tells
    result = run(folder, "--verify")
    assert result.exit_code == 2
    assert f"{shard} was changed since it was prepared" in result.stderr


def test_tokens_of_other_captions_are_told(small_store: Path, tmp_path: Path, workplace: Path) -> None:
    folder = Path(shutil.copytree(small_store, tmp_path / "own"))
    (tokens,) = tokens_folders(folder)
    path = tokens / "train.npy"
    stored = np.load(path)
    np.save(path, np.roll(stored, 1, axis=0))
    result = run(folder)
    assert "are NOT what its tokenizer makes of them" in result.stdout
    assert told(folder)["statistics"]["tokens"][0]["num_differing"] > len(stored) / 2


def test_a_store_without_tokens_is_told_as_far_as_it_goes(small_store: Path, tmp_path: Path, workplace: Path) -> None:
    folder = Path(shutil.copytree(small_store, tmp_path / "own", ignore=shutil.ignore_patterns("tokens-*")))
    found = told(folder)
    assert found["tokens"] == []
    assert found["statistics"]["tokens"] == []
    assert found["statistics"]["caption_chars"]["mean"] > 0
    assert "none yet; add them with: clipexp data prepare SPEC" in run(folder).stdout


def test_a_spec_stands_for_its_store(small_store: Path, workplace: Path) -> None:
    (workplace / "spec.yaml").write_text(yaml.safe_dump(small_content(small_store)))
    found = told("spec.yaml")
    assert found["store"] == str(small_store)
    assert found["note"] == ""


def test_a_store_that_is_not_as_its_spec_says_is_told(small_store: Path, workplace: Path) -> None:
    content = small_content(small_store)
    content["data"]["split"] = {"num_val": 41}
    (workplace / "spec.yaml").write_text(yaml.safe_dump(content))
    assert "the spec says {'num_val': 41" in told("spec.yaml")["note"]
    assert "NOT what the spec asks for" in run("spec.yaml").stdout


def test_a_spec_whose_store_is_missing_is_told_with_the_command(workplace: Path) -> None:
    (workplace / "spec.yaml").write_text(yaml.safe_dump(small_content(workplace / "nowhere")))
    result = run("spec.yaml")
    assert result.exit_code == 2
    assert "there is no prepared set at" in result.stderr
    assert "clipexp data prepare spec.yaml" in result.stderr


def test_a_folder_that_is_no_store_is_told_with_the_remedy(workplace: Path) -> None:
    (workplace / "empty").mkdir()
    for name in ("empty", "missing"):
        result = run(name)
        assert result.exit_code == 2
        assert f"there is no prepared set at {name}; prepare it with: clipexp data prepare SPEC" in result.stderr
    assert not (workplace / "reports").exists()


def test_a_folder_of_stores_is_told_with_those_it_holds(small_store: Path) -> None:
    result = run(small_store.parent)
    assert result.exit_code == 2
    assert f"{small_store.parent} is no prepared set; it holds {small_store}" in result.stderr


def test_a_manifest_stands_for_its_store(small_store: Path, workplace: Path) -> None:
    assert told(small_store / "manifest.json")["store"] == str(small_store)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--side", "test-counts"], "has no side test-counts; it has train, val"),
        (["--num", "0"], "--num 0: show 1 to"),
        (["--num", "41", "--side", "val"], "--num 41: show 1 to 40 pictures (as many pairs as val has)"),
    ],
)
def test_what_can_not_be_shown_is_told_with_what_can(
    small_store: Path, workplace: Path, words: list[str], message: str
) -> None:
    result = run(small_store, *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_folder_that_can_not_be_written_is_told(small_store: Path, workplace: Path) -> None:
    (workplace / "file").touch()
    with pytest.raises(ReportError, match=r"can't be written.*name another folder with --out"):
        inspect(small_store, InspectOptions(out=workplace / "file"))
    with pytest.raises(ReportError, match="can't be written"):
        inspect(small_store, InspectOptions(out=workplace / "file" / "below"))


def test_a_picture_that_can_not_be_decoded_is_told_with_the_remedy(
    jpeg_store: Path, tmp_path: Path, workplace: Path
) -> None:
    folder = Path(shutil.copytree(jpeg_store, tmp_path / "own"))
    shard = folder / "train-00000.arrow"
    with pa.memory_map(str(shard)) as mapped:
        first = pa.ipc.open_file(mapped).get_batch(0).column("image")[0].as_py()
    shard.write_bytes(shard.read_bytes().replace(first, bytes(len(first))))
    result = run(folder)
    assert result.exit_code == 2
    assert "can't be read; `clipexp data inspect" in result.stderr
    assert "--verify` tells which file was changed" in result.stderr


def test_the_answer_does_not_change_the_store(small_store: Path, workplace: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small_store.rglob("*")}
    run(small_store, "--verify")
    assert {path: path.stat().st_mtime_ns for path in small_store.rglob("*")} == before
