"""The source `text-to-image-2m`: its tars from a folder, as many as are there or asked for."""

from pathlib import Path

from clipexp.data.sources import Pair
from clipexp.data.sources.text_to_image_2m import TextToImage2M
from clipexp.spec.sources import TextToImage2MSource
from tests.data.made import samples, write_tar


def source(folder: Path, num_shards: int | None = None) -> TextToImage2M:
    return TextToImage2M(str(folder), TextToImage2MSource(kind="text-to-image-2m", num_shards=num_shards))


def test_all_tars_are_read_or_the_first_that_are_asked_for(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"data_00000{number}.tar", samples(4 * number, 4 if number else 2))
    whole = source(tmp_path)
    captions = [item.captions[0] for part in whole.parts() for item in whole.read(part) if isinstance(item, Pair)]
    assert captions == [f"caption {number}" for number in (0, 1, 4, 5, 6, 7, 8, 9, 10, 11)]
    assert [part.name for part in source(tmp_path, 2).parts()] == ["data_000000.tar", "data_000001.tar"]


def test_the_number_of_items_is_estimated_from_the_tars_sizes(tmp_path: Path) -> None:
    for number in range(4):
        write_tar(tmp_path / f"data_00000{number}.tar", samples(50 * number, 50))
    assert abs((source(tmp_path).num_items() or 0) - 200) < 20
    assert abs((source(tmp_path, 1).num_items() or 0) - 50) < 5
    assert source(tmp_path / "none").num_items() is None


def test_a_tar_that_changes_has_another_fingerprint(tmp_path: Path) -> None:
    write_tar(tmp_path / "data_000000.tar", samples(0, 2))
    (part,) = source(tmp_path).parts()
    before = source(tmp_path).fingerprint(part)
    write_tar(tmp_path / "data_000000.tar", samples(0, 3))
    assert source(tmp_path).fingerprint(part) != before
