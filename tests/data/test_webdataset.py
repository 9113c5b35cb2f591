"""`webdataset`: what is in the tars becomes a pair or a drop with its reason; nothing is lost without a word."""

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from clipexp.data.prepare import prepare
from clipexp.data.sources import Drop, Pair, Part, open_source
from clipexp.data.sources.webdataset import WebDataset
from clipexp.data.store import Store
from clipexp.errors import SourceError
from clipexp.spec.sources import WebDatasetSource
from tests.data.made import (
    CONTEXT_LENGTH,
    Members,
    all_bytes,
    data_spec,
    encoded,
    picture,
    sample,
    samples,
    tars_spec,
    write_tar,
)


def read(folder: Path, caption_key: str = "prompt") -> list[Pair | Drop]:
    source = WebDataset(str(folder), WebDatasetSource(kind="webdataset", caption_key=caption_key))
    return [item for part in source.parts() for item in source.read(part)]


def read_members(folder: Path, members: Members) -> list[Pair | Drop]:
    write_tar(folder / "00.tar", members)
    return read(folder)


def outcome(items: list[Pair | Drop]) -> list[tuple[str, str]]:
    """(key, caption or reason) of each item."""
    return [(item.key, item.reason if isinstance(item, Drop) else item.captions[0]) for item in items]


def tar_with(path: Path, *entries: tarfile.TarInfo) -> Path:
    """One sound pair, then entries that are no regular files."""
    write_tar(path, sample("0000", 0, "first"))
    with tarfile.open(path, "a") as tar:
        for entry in entries:
            tar.addfile(entry)
    return path


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_a_picture_and_its_json_become_a_pair(tmp_path: Path) -> None:
    (pair,) = read_members(tmp_path, sample("0000", 7, "  A red\n cat "))
    assert isinstance(pair, Pair)
    assert (pair.key, pair.captions, pair.group_keys) == ("00/0000", ("A red cat",), ("caption:a red cat",))
    assert pair.image == picture(7)


def test_tars_are_read_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_tar(tmp_path / f"{name}.tar", sample("0", 0, name))
    assert outcome(read(tmp_path)) == [("a/0", "a"), ("b/0", "b"), ("c/0", "c")]


def test_the_order_of_a_samples_files_does_not_matter(tmp_path: Path) -> None:
    assert outcome(read_members(tmp_path, sample("0", 0, "first")[::-1])) == [("00/0", "first")]


def test_the_caption_stands_under_the_key_that_the_spec_names(tmp_path: Path) -> None:
    write_tar(tmp_path / "00.tar", [("0.jpg", picture(0)), ("0.json", b'{"text": "here", "prompt": "there"}')])
    assert outcome(read(tmp_path, caption_key="text")) == [("00/0", "here")]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "JPG"])
def test_pictures_go_by_several_suffixes(tmp_path: Path, suffix: str) -> None:
    members = [(f"0.{suffix}", picture(0)), ("0.json", b'{"prompt": "found"}')]
    assert outcome(read_members(tmp_path, members)) == [("00/0", "found")]


def test_files_of_other_kinds_beside_a_pair_do_no_harm(tmp_path: Path) -> None:
    members = [*sample("0", 0, "first"), ("0.txt", b"more"), ("0.seg.png", b"a mask")]
    assert outcome(read_members(tmp_path, members)) == [("00/0", "first")]


@pytest.mark.parametrize("folder", ["./", "part/", "./v1.0/", "..part/"])
def test_folders_in_names_belong_to_the_key(tmp_path: Path, folder: str) -> None:
    members = [*sample(f"{folder}0", 0, "first"), *sample(f"{folder}1", 1, "second")]
    assert outcome(read_members(tmp_path, members)) == [(f"00/{folder}0", "first"), (f"00/{folder}1", "second")]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("0.jpg", picture(0))], "no JSON"),
        ([("0.json", b'{"prompt": "a"}')], "no picture"),
        ([("0.txt", b"a")], "no picture"),
        ([("0.jpg", picture(0)), ("0.json", b'{"prompt": ')], "unreadable JSON"),
        ([("0.jpg", picture(0)), ("0.json", b"")], "unreadable JSON"),
        ([("0.jpg", picture(0)), ("0.json", b"\xff\xfe\xfd")], "unreadable JSON"),
        ([("0.jpg", picture(0)), ("0.json", b'["a", "b"]')], "unreadable JSON"),
        ([("0.jpg", picture(0)), ("0.json", b'"a cat"')], "unreadable JSON"),
        ([("0.jpg", picture(0)), ("0.json", b"null")], "unreadable JSON"),
        ([("0.jpg", picture(0)), ("0.json", b"[" * 200_000)], "unreadable JSON"),
        ([("0.jpg", picture(0)), ("0.json", b"{}")], "no caption under 'prompt'"),
        (sample("0", 0, ""), "no caption under 'prompt'"),
        (sample("0", 0, " \n\t "), "no caption under 'prompt'"),
        (sample("0", 0, None), "no caption under 'prompt'"),
        (sample("0", 0, 42), "no caption under 'prompt'"),
        (sample("0", 0, []), "no caption under 'prompt'"),
        (sample("0", 0, ["", None, 7]), "no caption under 'prompt'"),
        (sample("0", 0, "word " * 2_001), "caption above 10,000 characters"),
        (sample("0", 0, "half of a pair \ud83d"), "caption is no Unicode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sample_that_is_no_pair_is_dropped_with_the_reason(tmp_path: Path, members: Members, reason: str) -> None:
    assert outcome(read_members(tmp_path, [*members, *sample("1", 1, "next")])) == [("00/0", reason), ("00/1", "next")]


@pytest.mark.parametrize("name", ["README", ".hidden", "._0.jpg", "folder/.jpg"])
def test_a_file_without_key_and_suffix_is_dropped_by_its_name(tmp_path: Path, name: str) -> None:
    assert outcome(read_members(tmp_path, [(name, b""), *sample("1", 1, "next")])) == [
        (f"00/{name}", "no key and suffix in its name"),
        ("00/1", "next"),
    ]


def test_two_samples_of_one_key_are_two_pairs(tmp_path: Path) -> None:
    members = [*sample("0", 0, "first"), *sample("0", 1, "second")]
    assert outcome(read_members(tmp_path, members)) == [("00/0", "first"), ("00/0", "second")]


def test_files_of_a_sample_that_lie_apart_are_dropped_one_by_one(tmp_path: Path) -> None:
    (jpg, text), (other_jpg, other_text) = sample("0", 0, "first"), sample("1", 1, "second")
    reasons = [reason for _, reason in outcome(read_members(tmp_path, [jpg, other_jpg, text, other_text]))]
    assert reasons == ["no JSON", "no JSON", "no picture", "no picture"]


def test_links_and_devices_are_dropped_and_never_followed_and_folders_are_no_items(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(picture(1))
    kinds = {"a.jpg": tarfile.SYMTYPE, "b.jpg": tarfile.LNKTYPE, "c.jpg": tarfile.CHRTYPE, "d.jpg": tarfile.FIFOTYPE}
    entries = [entry(name, kind, str(tmp_path / "secret.jpg")) for name, kind in kinds.items()]
    tar_with(tmp_path / "00.tar", *entries, entry("folder", tarfile.DIRTYPE))
    dropped = [(f"00/{name}", "no regular file") for name in kinds]
    assert sorted(outcome(read(tmp_path))) == sorted([("00/0000", "first"), *dropped])


def test_a_name_that_is_no_unicode_is_spelt_out(tmp_path: Path) -> None:
    path = tmp_path / "00.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in sample("\udcff", 0, "first"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert outcome(read(tmp_path)) == [("00/\\udcff", "first")]


def test_of_a_tar_cut_within_a_picture_the_samples_before_it_are_kept(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "00.tar", samples(0, 3))
    with tarfile.open(path) as tar:
        start = tar.getmember("0002.jpg").offset_data
    path.write_bytes(path.read_bytes()[: start + 100])
    assert outcome(read(tmp_path)) == [
        ("00/0000", "caption 0"),
        ("00/0001", "caption 1"),
        ("00.tar", "tar cut short or damaged (unexpected end of data)"),
    ]


@pytest.mark.parametrize("where", ["offset", "offset_data"])
@pytest.mark.parametrize("shift", [-512, -1, 0, 1, 300])
def test_a_tar_cut_anywhere_says_so(tmp_path: Path, where: str, shift: int) -> None:
    path = write_tar(tmp_path / "00.tar", samples(0, 3))
    with tarfile.open(path) as tar:
        at = getattr(tar.getmember("0002.jpg"), where) + shift
    path.write_bytes(path.read_bytes()[:at])
    items = outcome(read(tmp_path))
    assert items[0] == ("00/0000", "caption 0")
    assert items[-1][0] == "00.tar"
    assert "tar cut short or damaged" in items[-1][1]


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "00.tar", samples(0, 3))
    with tarfile.open(path) as tar:
        at = tar.getmember("0001.jpg").offset
    content = bytearray(path.read_bytes())
    content[at + 20] ^= 0xFF
    path.write_bytes(content)
    assert outcome(read(tmp_path)) == [
        ("00/0000", "caption 0"),
        ("00.tar", "tar cut short or damaged (no mark of its end)"),
    ]


@pytest.mark.parametrize("content", [b"", b"no tar at all", bytes(100)])
def test_a_file_that_is_no_tar_is_dropped_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "00.tar").write_bytes(content)
    ((key, reason),) = outcome(read(tmp_path))
    assert key == "00.tar"
    assert "tar cut short or damaged" in reason


def test_a_compressed_tar_cut_short_says_so(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "00.tar", samples(0, 3))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read(tmp_path)) == 3
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "tar cut short or damaged" in outcome(read(tmp_path))[-1][1]


def test_an_empty_tar_has_no_pairs(tmp_path: Path) -> None:
    assert read_members(tmp_path, []) == []


def test_a_missing_folder_is_an_error_that_names_data_path(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"data\.path .*nowhere is no folder"):
        open_source(tars_spec(tmp_path / "store", tmp_path / "nowhere")).parts()


def test_a_folder_without_tars_is_an_error_that_names_data_path(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"data\.path .* has no \*\.tar"):
        open_source(tars_spec(tmp_path / "store", tmp_path)).parts()


def test_licence_and_attribution_go_along_as_the_spec_gives_them(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "00.tar", samples(0, 12))
    source = {"kind": "webdataset", "licence": "CC0", "attribution": "Pictures by Ada."}
    store = prepare(data_spec(tmp_path / "store", source, path=str(tmp_path / "tars")), CONTEXT_LENGTH)
    assert (store.manifest.licence, store.manifest.attribution) == ("CC0", "Pictures by Ada.")


def test_a_part_is_one_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "00.tar", [])
    write_tar(tmp_path / "01.tar", [])
    (tmp_path / "notes.txt").write_text("no tar")
    assert WebDataset(str(tmp_path), WebDatasetSource(kind="webdataset")).parts() == [Part("00.tar"), Part("01.tar")]


QUARTER_TURN = Image.Exif()
QUARTER_TURN[0x0112] = 6
ODD_PICTURES = {
    "cmyk": encoded(Image.new("CMYK", (20, 20), (0, 200, 100, 0))),
    "grey": encoded(Image.new("L", (20, 20), 77)),
    "alpha": encoded(Image.new("RGBA", (20, 20), (10, 200, 30, 90)), "PNG"),
    "turned": encoded(Image.new("RGB", (30, 10), (5, 90, 200)), exif=QUARTER_TURN),
}


@pytest.fixture(scope="module")
def mischief(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    """A folder with all that can go wrong, and what `prepare` makes of it."""
    place = tmp_path_factory.mktemp("mischief")
    tars = place / "in" / "tars"
    write_tar(tars / "00.tar", samples(0, 20))
    odd = [
        member
        for key, content in ODD_PICTURES.items()
        for member in [(f"{key}.{'png' if key == 'alpha' else 'jpg'}", content), (f"{key}.json", caption(key))]
    ]
    twins = [*sample("twin1", 100, "The same words"), *sample("twin2", 101, "the same  words")]
    write_tar(tars / "01.tar", [*odd, *twins, *sample("../../escaped", 102, "outside")])
    write_tar(
        tars / "02.tar",
        [
            *[("cut.jpg", picture(0)[:200]), ("cut.json", caption("cut"))],
            *[("text.jpg", b"<html>404</html>"), ("text.json", caption("text"))],
            ("alone.jpg", picture(1)),
            ("bare.json", caption("bare")),
            *[("list.jpg", picture(2)), ("list.json", b"[]")],
            *sample("empty", 3, ""),
        ],
    )
    tar_with(tars / "03.tar", entry("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), entry("null.jpg", tarfile.CHRTYPE))
    short = write_tar(tars / "04.tar", samples(50, 4))
    short.write_bytes(short.read_bytes()[:4000])
    return place, prepare(tars_spec(place / "out" / "store", tars, max_drop_frac=0.5), CONTEXT_LENGTH)


def caption(text: str) -> bytes:
    return json.dumps({"prompt": text}).encode()


def test_every_reason_is_counted_in_the_manifest(mischief: tuple[Path, Store]) -> None:
    reasons = dict(mischief[1].manifest.num_dropped_by_reason)
    (cut_short,) = [reason for reason in reasons if reason.startswith("tar cut short")]
    assert reasons.pop(cut_short) == 1
    assert reasons == {
        "name climbs out of the tar": 2,
        "no JSON": 1,
        "no caption under 'prompt'": 1,
        "no picture": 1,
        "no regular file": 2,
        "unreadable JSON": 1,
        "unreadable picture": 2,
    }


def test_dropped_items_are_named(mischief: tuple[Path, Store]) -> None:
    assert mischief[1].manifest.dropped_examples_by_reason["unreadable picture"] == ("02/cut", "02/text")


def test_every_item_of_the_source_is_a_pair_left_out_or_dropped(mischief: tuple[Path, Store]) -> None:
    place, store = mischief
    manifest = store.manifest
    num_items = len(read(place / "in" / "tars"))
    num_dropped = sum(manifest.num_dropped_by_reason.values())
    assert manifest.num_train + manifest.num_val + manifest.num_left_out + num_dropped == num_items


def test_odd_but_sound_pictures_become_pairs(mischief: tuple[Path, Store]) -> None:
    captions = {row[0] for side in ("train", "val") for row in mischief[1].all_captions(side)}
    assert set(ODD_PICTURES) <= captions


def test_pairs_of_the_same_words_never_stand_on_both_sides(mischief: tuple[Path, Store]) -> None:
    train, val = ([row[0].lower() for row in mischief[1].all_captions(side)] for side in ("train", "val"))
    assert (train + val).count("the same words") in {1, 2}  # two train, or one validates and one is left out
    assert not set(train) & set(val)


def test_nothing_is_written_outside_the_store(mischief: tuple[Path, Store]) -> None:
    place, store = mischief
    names = {name.split("/")[0] for name in all_bytes(place)}
    assert names == {"in", "out"}
    assert all(name.endswith(".tar") for name in all_bytes(place / "in"))
    assert list((place / "out").iterdir()) == [store.folder]


def test_a_source_of_nothing_but_drops_is_an_error_that_counts_them(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "00.tar", [("0.jpg", picture(0)), ("1.jpg", picture(1))])
    with pytest.raises(SourceError, match=r"gives 0 pairs \(dropped: 2 x no JSON\), too few"):
        prepare(tars_spec(tmp_path / "store", tmp_path / "tars", max_drop_frac=1), CONTEXT_LENGTH)
    assert [path.name for path in tmp_path.iterdir()] == ["tars"]


def test_the_spec_says_which_members_are_picture_and_caption(tmp_path: Path) -> None:
    members = [("0.jpg", picture(0)), ("0.seg.png", picture(1)), ("0.txt", b" a\n cat"), ("0.json", b"{")]
    write_tar(tmp_path / "00.tar", [*members, ("1.seg.png", picture(2)), ("2.seg.png", picture(3)), ("2.txt", b"\xff")])
    spec = WebDatasetSource(kind="webdataset", image_suffixes=(".seg.PNG",), caption_suffix=".txt")
    source = pickle.loads(pickle.dumps(WebDataset(str(tmp_path), spec)))
    items = [item for part in source.parts() for item in source.read(part)]
    assert outcome(items) == [("00/0", "a cat"), ("00/1", "no .txt"), ("00/2", "caption is no UTF-8")]
    assert items[0].image == picture(1)
    assert {item.origin for item in items} == {"00.tar"}


def test_a_list_in_the_json_gives_several_captions_and_tells_of_those_left_out(tmp_path: Path) -> None:
    pair, drop = read_members(tmp_path, sample("0", 0, ["A  cat", "", "One cat"]))
    assert isinstance(pair, Pair)
    assert (pair.captions, pair.group_keys) == (("A cat", "One cat"), ("caption:a cat", "caption:one cat"))
    assert drop == Drop("00/0", "one of its captions: caption is empty", "00.tar")


@pytest.mark.parametrize("name", ["../0.jpg", "a/../../0.jpg", "/0.jpg"])
def test_a_name_that_climbs_out_is_never_read(tmp_path: Path, name: str) -> None:
    assert outcome(read_members(tmp_path, [(name, picture(0)), *sample("1", 1, "next")])) == [
        (f"00/{name}", "name climbs out of the tar"),
        ("00/1", "next"),
    ]
