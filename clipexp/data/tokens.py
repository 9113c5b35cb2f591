"""The tokens of a store, beside its pictures: written here, under a hash of the tokenizer and its spec.

write_tokens(store, spec.data.tokenizer, context_length=77)
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np

from clipexp.data.manifest import TOKENIZER_FILE, TOKENS_META, FileSum, Side, TokensMeta, file_sha256
from clipexp.data.store import Store
from clipexp.data.tokenizer import Tokenizer
from clipexp.spec.base import result_fields
from clipexp.spec.data import TokenizerSpec

CAPTIONS_AT_ONCE = 4096
Report = Callable[[int, int], None]  # (captions done, of how many)


def write_tokens(store: Store, spec: TokenizerSpec, context_length: int, report: Report = lambda *_: None) -> None:
    """Tokenize all sides and keep the tokens beside the pictures, under a hash of the tokenizer and its spec.

    Of its spec too, since two vocabulary sizes end in the same tokenizer where the captions offer fewer entries. A
    tokenizer that is trained sees the training side alone.
    """
    num_by_side = {side: _num_captions(store, side) for side in store.sides()}
    num_done, num_all = 0, sum(num_by_side.values())
    report(num_done, num_all)
    tokenizer = Tokenizer.from_spec(spec, context_length, _captions(store, "train"))
    wanted = json.dumps(result_fields(spec), sort_keys=True)
    folder = store.folder / f"tokens-{hashlib.sha256(f'{tokenizer.hash} {wanted}'.encode()).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    for side, num in num_by_side.items():
        captions = _captions(store, side)
        with (folder / f"{side}.npy").open("wb") as file:
            header = {"descr": "<u2", "fortran_order": False, "shape": (num, context_length)}
            np.lib.format.write_array_header_1_0(file, header)
            while some := list(islice(captions, CAPTIONS_AT_ONCE)):
                file.write(tokenizer.encode(some).tobytes())
                num_done += len(some)
                report(num_done, num_all)
    (folder / TOKENIZER_FILE).write_text(tokenizer.content)
    files = [folder / name for name in (TOKENIZER_FILE, *(f"{side}.npy" for side in num_by_side))]
    meta = TokensMeta(
        spec={**result_fields(spec), "context_length": tokenizer.context_length},
        hash=tokenizer.hash,
        files={file.name: FileSum(file.stat().st_size, file_sha256(file)) for file in files},
    )
    tmp = folder / "meta.json.tmp"  # last, since its presence says that the rest is whole
    tmp.write_bytes(meta.to_json().encode())
    tmp.replace(folder / TOKENS_META)


def _num_captions(store: Store, side: Side) -> int:
    return sum(len(batch.column("captions").flatten()) for batch in store.batches(side))


def _captions(store: Store, side: Side) -> Iterator[str]:
    """Every caption of every pair, in order; a shard's at a time in memory."""
    return chain.from_iterable(batch.column("captions").flatten().to_pylist() for batch in store.batches(side))
