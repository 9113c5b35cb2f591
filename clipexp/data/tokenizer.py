"""Captions to tokens: CLIP's own byte-pair encoding, or one trained on the captions.

    tokenizer = Tokenizer.train(captions, vocab_size=2048, context_length=32)
    tokenizer.encode(["a cat on the left"])  # (1, 32)

In both, the end-of-text token has the highest id and 0 pads, which is what the text tower reads by.
"""

import gzip
import hashlib
import html
import importlib.util
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from clipexp.errors import ClipexpError
from clipexp.spec.data import CLIP_VOCAB_SIZE, TokenizerSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer

START, END = "<start_of_text>", "<end_of_text>"
WORD_END = "</w>"
CLIP_VOCAB_FILE = "bpe_simple_vocab_16e6.txt.gz"
# Radford 2021: English contractions, runs of letters, single digits, runs of anything else.
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class Tokenizer:
    """A byte-pair encoding at a context length. `content` is the JSON that defines it."""

    def __init__(self, content: str, context_length: int) -> None:
        self.content = content
        self.context_length = context_length

    @classmethod
    def clip(cls, context_length: int) -> Self:
        """CLIP's own, from the vocabulary file that open_clip ships."""
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

        found = importlib.util.find_spec("open_clip")
        if found is None or not found.submodule_search_locations:
            raise ClipexpError("tokenizer clip needs the package open_clip_torch: pip install open_clip_torch")
        path = Path(found.submodule_search_locations[0]) / CLIP_VOCAB_FILE
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")
        characters = list(_byte_characters())
        merges = [
            (left, right) for left, right in (line.split() for line in lines[1 : 1 + _num_merges(len(characters))])
        ]
        entries = [*characters, *(c + WORD_END for c in characters), *(a + b for a, b in merges), START, END]
        id_by_entry = {entry: idx for idx, entry in enumerate(entries)}
        fast = Tokenizer(models.BPE(vocab=id_by_entry, merges=merges, end_of_word_suffix=WORD_END))
        fast.normalizer = normalizers.Lowercase()
        fast.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        space = "\u0120"  # as the byte-level alphabet writes it; beside a plain one no bytes would be joined to letters
        fast.decoder = decoders.Sequence([decoders.Replace(WORD_END, space), decoders.ByteLevel()])
        return cls(fast.to_str(), context_length)

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int, context_length: int) -> Self:
        """Learn one from captions; it has fewer entries than `vocab_size` where the captions offer no more."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        fast = Tokenizer(models.BPE())
        fast.normalizer = normalizers.Lowercase()
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        fast.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        fast.train_from_iterator((clean(caption) for caption in captions), trainer)
        fast.add_special_tokens([START, END])  # behind all others: the end has the highest id
        return cls(fast.to_str(), context_length)

    @classmethod
    def from_spec(cls, spec: TokenizerSpec, context_length: int, captions: Iterable[str]) -> Self:
        """The tokenizer that a spec asks for; `captions` are read only by one that is trained."""
        if spec.kind == "clip":
            return cls.clip(context_length)
        return cls.train(captions, spec.vocab_size, context_length)

    @cached_property
    def _fast(self) -> "FastTokenizer":
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.content)

    @cached_property
    def hash(self) -> str:
        """12 hex digits over what decides the tokens."""
        return hashlib.sha256(f"{self.context_length}\n{self.content}".encode()).hexdigest()[:12]

    @property
    def vocab_size(self) -> int:
        """Entries, the two marks included."""
        return int(self._fast.get_vocab_size())

    def encode(self, captions: Sequence[str]) -> NDArray[np.uint16]:
        """Captions as tokens.

        Returns:
            uint16 (captions, context_length): start, the words (cut off where they are too long), end, padding of 0.
        """
        start, end = self._fast.token_to_id(START), self._fast.token_to_id(END)
        tokens = np.zeros((len(captions), self.context_length), np.uint16)
        encodings = self._fast.encode_batch([clean(caption) for caption in captions], add_special_tokens=False)
        for row, encoding in zip(tokens, encodings, strict=True):
            ids = encoding.ids[: self.context_length - 2]
            row[: len(ids) + 2] = np.array([start, *ids, end])
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The words of one row of tokens."""
        ids = [int(token) for token in tokens]
        end = self._fast.token_to_id(END)
        ids = ids[: ids.index(end)] if end in ids else ids  # not all that is 0 is padding: 0 is `!`, too
        return str(self._fast.decode([idx for idx in ids if idx != self._fast.token_to_id(START)])).strip()


def clean(caption: str) -> str:
    """Mend broken encodings and HTML entities and fold white space, as CLIP does; a mark becomes a space."""
    if not _is_plain(caption):
        import ftfy

        caption = html.unescape(html.unescape(ftfy.fix_text(caption)))
    # Lower case here and not by `tokenizers`, which does not know that a sigma at a word's end is another letter.
    caption = caption.lower()
    caption = caption.replace(START, " ").replace(END, " ")  # a caption can't forge the end of text
    return " ".join(caption.split())


def _is_plain(caption: str) -> bool:
    """Whether there is nothing to mend, as in most captions: mending takes longer than all else about a caption."""
    return caption.isascii() and caption.isprintable() and "&" not in caption


def _num_merges(num_characters: int) -> int:
    return CLIP_VOCAB_SIZE - 2 - 2 * num_characters


def _byte_characters() -> list[str]:
    """A printable character for each byte, in the order of GPT-2's table, on which CLIP's ids rest (Radford 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
