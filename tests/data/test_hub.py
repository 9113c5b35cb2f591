"""Shards from the hub, which a server on this machine plays: whole and checked, or a clear error."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from clipexp.data.sources import Pair, hub
from clipexp.data.sources.text_to_image_2m import TextToImage2M
from clipexp.errors import SourceError
from clipexp.spec.sources import TextToImage2MSource
from tests.data.made import samples, write_tar

COMMIT = "c" * 40
REPO = "ada/pictures"


@dataclass
class PlayedHub:
    """What the hub holds, and how it fails."""

    files: dict[str, bytes] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    status: int = 200
    cut_after: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    played: PlayedHub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, played = urlsplit(self.path).path, self.played
        if played.status != 200:
            self.answer(played.status, b"{}")
        elif path.startswith(f"/api/datasets/{REPO}/tree/"):
            tree = self.listed(list(played.files))
            self.answer(200, json.dumps(tree).encode())
        elif path in {f"/api/datasets/{REPO}/revision/{name}" for name in ("main", COMMIT)}:
            self.answer(200, json.dumps({"id": REPO, "sha": COMMIT, "siblings": []}).encode())
        elif path.startswith(f"/datasets/{REPO}/resolve/{COMMIT}/"):
            self.give(played.files[path.split(COMMIT + "/")[1]])
        else:
            self.answer(404, b"{}")

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        names = [name for name in self.played.files if name in asked.replace("%2F", "/")]
        self.answer(200, json.dumps(self.listed(names)).encode())

    def listed(self, names: list[str]) -> list[dict[str, object]]:
        return [
            {
                "type": "file",
                "path": name,
                "size": len(content),
                "oid": "0" * 40,
                "lfs": {
                    "size": len(content),
                    "oid": self.played.sums.get(name, hashlib.sha256(content).hexdigest()),
                    "pointerSize": 130,
                },
            }
            for name in names
            for content in [self.played.files[name]]
        ]

    def give(self, content: bytes) -> None:
        asked = self.headers.get("Range")
        start, stop = 0, len(content)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1 if last else len(content)
        body = content[start:stop]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.played.ranges.append(asked)
        if self.played.cut_after is not None and len(body) > self.played.cut_after:
            self.wfile.write(body[: self.played.cut_after])
            self.played.cut_after = None
            self.close_connection = True
            return
        self.wfile.write(body)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedHub]:
    """A hub with two shards."""
    for number in range(2):
        write_tar(tmp_path / "made" / f"data_{number}.tar", samples(20 * number, 20))
    found = PlayedHub({f"data_512_2M/{path.name}": path.read_bytes() for path in sorted((tmp_path / "made").iterdir())})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Played", (Handler,), {"played": found}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def source(folder: Path, fetch: str, **changes: object) -> TextToImage2M:
    spec = TextToImage2MSource.model_validate({"kind": "text-to-image-2m", "repo": REPO, "fetch": fetch, **changes})
    return TextToImage2M(str(folder), spec)


def pairs(found: TextToImage2M) -> list[Pair]:
    items = [item for part in found.parts() for item in found.read(part)]
    assert all(isinstance(item, Pair) for item in items)
    return [item for item in items if isinstance(item, Pair)]


def test_downloaded_local_and_streamed_pairs_are_the_same(played: PlayedHub, tmp_path: Path) -> None:
    local = pairs(source(tmp_path / "made", "local"))
    assert len(local) == 40
    assert pairs(source(tmp_path / "tars", "download")) == local
    assert pairs(source(tmp_path / "none", "stream")) == local
    assert not (tmp_path / "none").exists()


def test_a_cut_connection_is_tried_again(played: PlayedHub, tmp_path: Path) -> None:
    played.cut_after = 10_000
    assert len(pairs(source(tmp_path / "tars", "download", num_shards=1))) == 20
    assert len(played.ranges) == 2


def test_a_partial_download_is_resumed(played: PlayedHub, tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    whole = played.files["data_512_2M/data_0.tar"]
    (tmp_path / "tars" / "data_0.tar.partial").write_bytes(whole[:7000])
    assert len(pairs(source(tmp_path / "tars", "download", num_shards=1))) == 20
    assert str(played.ranges[0]).startswith("bytes=7000-")


def test_a_partial_download_of_something_else_begins_anew(played: PlayedHub, tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "data_0.tar.partial").write_bytes(b"x" * 7000)
    assert len(pairs(source(tmp_path / "tars", "download", num_shards=1))) == 20
    assert (tmp_path / "tars" / "data_0.tar").read_bytes() == played.files["data_512_2M/data_0.tar"]


def test_what_is_there_is_not_sent_again_and_a_shard_cut_short_is_completed(played: PlayedHub, tmp_path: Path) -> None:
    found = source(tmp_path / "made", "download")
    assert len(pairs(found)) == 40
    assert played.ranges == []
    path = tmp_path / "made" / "data_1.tar"
    path.write_bytes(path.read_bytes()[:9000])
    assert len(pairs(source(tmp_path / "made", "download"))) == 40
    assert len(played.ranges) == 1


def test_another_file_of_a_shards_name_is_told_and_left_as_it_is(played: PlayedHub, tmp_path: Path) -> None:
    path = tmp_path / "made" / "data_0.tar"
    other = bytes(path.stat().st_size)
    path.write_bytes(other)
    with pytest.raises(SourceError, match="checksum differs"):
        pairs(source(tmp_path / "made", "download"))
    assert path.read_bytes() == other


def test_a_wrong_checksum_leaves_no_shard(played: PlayedHub, tmp_path: Path) -> None:
    played.sums["data_512_2M/data_0.tar"] = "0" * 64
    with pytest.raises(SourceError, match="did not come as the hub says"):
        pairs(source(tmp_path / "tars", "download"))
    assert not list((tmp_path / "tars").glob("data_0.tar*"))


@pytest.mark.parametrize("fetch", ["download", "stream"])
def test_a_shard_that_the_hub_itself_has_cut_short_is_an_error(played: PlayedHub, tmp_path: Path, fetch: str) -> None:
    played.files["data_512_2M/data_0.tar"] = played.files["data_512_2M/data_0.tar"][:9000]
    message = {"download": "is cut short on the hub", "stream": "did not come whole"}[fetch]
    with pytest.raises(SourceError, match=message):
        pairs(source(tmp_path / "tars", fetch))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_tells_the_remedy(played: PlayedHub, tmp_path: Path, status: int) -> None:
    played.status = status
    with pytest.raises(SourceError, match=r"hf auth login|set data\.source\.repo"):
        source(tmp_path, "download").parts()


def test_no_such_revision_or_file_is_told(played: PlayedHub, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the hub has no such"):
        source(tmp_path, "download", revision="none").parts()
    with pytest.raises(SourceError, match=r"no file none/\*\.tar"):
        source(tmp_path, "download", files="none/*.tar").parts()


def test_no_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"can't be reached .*data\.source\.fetch: local"):
        source(tmp_path, "download").parts()


def test_a_disk_without_room_is_told_before_anything_is_sent(
    played: PlayedHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SPARE_BYTES", 1 << 60)
    with pytest.raises(SourceError, match="are free there"):
        source(tmp_path / "tars", "download").parts()
    assert played.ranges == []
