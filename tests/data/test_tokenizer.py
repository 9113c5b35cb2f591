"""Tokens: CLIP's own are open_clip's to the last, trained ones say back what they were told."""

import html

import ftfy
import numpy as np
import pytest

from clipexp.data.tokenizer import END, START, Tokenizer
from clipexp.spec.data import ClipTokenizerSpec, TrainedTokenizerSpec
from clipexp.torchvision_import import import_torchvision

CAPTIONS = [
    "a cat on the left and two dogs on the right, on a white background",
    "a dog! is it a dog? it's a dog, we'll say (perhaps).",
    "three lemons at the top: 3 lemons, #1 & 100% yellow",
]
ODD = [
    "",
    " ",
    "!",
    "!!!",
    "A Photo of a CAT",
    "it's, they're, I'll, we've, I'd, don't, I'M, HE'S",
    "it’s “curly” — and – dashed…",
    "3.14 and 1,234,567 and 2nd and H2O and 007",
    "½ ² ③ Ⅷ ٣ 五",
    "snake_case, kebab-case, CamelCase, dots...and???!!!",
    "x &lt; y &amp;&amp; z &amp;gt; 0 &eacute; &#128512; &nbsp;",
    "<b>bold</b> <start> <|endoftext|>",
    "https://example.com/a?b=c&d=e#f user@example.com",
    "😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ☃️ 🇩🇪",
    "naïve café Ångström Straße ẞ ﬁne",
    "e\u0301 as two code points, é as one",
    "Привет, мир! Ελληνικά ΟΔΟΣ Σ",
    "İstanbul ıI",
    "漢字かなカナ 한국어 ภาษาไทย हिन्दी العربية עברית",
    "mojibake: cafÃ© and â€œquotesâ€\x9d",
    "tabs\tand\nnew lines\r\nand\u00a0hard\u2003wide\u3000spaces",
    "zero\u200bwidth\u200djoiners\ufeffmarks",
    "control\x00characters\x07here",
    "ﾊﾝｶｸ ｆｕｌｌｗｉｄｔｈ",
    "𝔣𝔯𝔞𝔨𝔱𝔲𝔯 𝟙𝟚𝟛",
    "supercalifragilisticexpialidocious" * 3,
    "a" * 1000,
    "word " * 500,
    "1234567890" * 20,
    "!" * 300,
]


@pytest.fixture(scope="module")
def clip() -> Tokenizer:
    return Tokenizer.clip(context_length=77)


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return Tokenizer.train(CAPTIONS, vocab_size=320, context_length=40)


@pytest.mark.parametrize("context_length", [77, 32, 3])
def test_clip_tokens_are_open_clips_own(context_length: int) -> None:
    import_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    theirs = SimpleTokenizer()(ODD, context_length).numpy()
    for caption, row, expected in zip(ODD, Tokenizer.clip(context_length).encode(ODD), theirs, strict=True):
        assert row.tolist() == expected.tolist(), caption


def test_clip_tokens_are_open_clips_own_on_random_texts(clip: Tokenizer) -> None:
    import_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    rng = np.random.default_rng(0)
    signs = np.array(list("aAbeEtTs  '.,!?-_<>&;#123éßσΣжЖ漢😀\n\u0301"))
    texts = ["".join(rng.choice(signs, 30)) for _ in range(500)]
    assert np.array_equal(clip.encode(texts), SimpleTokenizer()(texts, 77).numpy())


def test_clip_has_its_known_ids(clip: Tokenizer) -> None:
    assert clip.vocab_size == 49_408
    assert clip.encode(["a photo of a cat"])[0, :8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]


def test_the_end_of_text_has_the_highest_id(clip: Tokenizer, trained: Tokenizer) -> None:
    for tokenizer in (clip, trained):
        tokens = tokenizer.encode(["a cat"])[0]
        assert tokens.max() == tokenizer.vocab_size - 1
        assert tokens[0] == tokenizer.vocab_size - 2


def test_behind_the_end_stand_zeros(trained: Tokenizer) -> None:
    tokens = trained.encode(["a cat"])[0]
    end = int(tokens.argmax())
    assert 2 <= end < 39
    assert not tokens[end + 1 :].any()


def test_an_empty_caption_is_start_and_end(clip: Tokenizer, trained: Tokenizer) -> None:
    for tokenizer in (clip, trained):
        start, end = tokenizer.vocab_size - 2, tokenizer.vocab_size - 1
        assert tokenizer.encode([""])[0, :3].tolist() == [start, end, 0]


def test_a_caption_too_long_is_cut_but_keeps_its_end() -> None:
    long = Tokenizer.train(CAPTIONS, 320, context_length=200).encode(["a cat " * 50])[0]
    short = Tokenizer.train(CAPTIONS, 320, context_length=6).encode(["a cat " * 50])[0]
    assert short[:5].tolist() == long[:5].tolist()
    assert short[5] == long.max()


@pytest.mark.parametrize("text", [*CAPTIONS, "!", "wow!! a cat!", "so: 1 + 1 = 2", "日本語 and 😀", "it's a dog's"])
def test_a_trained_tokenizer_says_back_what_it_was_told(text: str) -> None:
    tokenizer = Tokenizer.train(CAPTIONS, vocab_size=320, context_length=100)
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text


@pytest.mark.parametrize("text", ["a cat on the left", "wow ! two dogs", "un café à 日本 😀"])
def test_clip_says_back_words_between_single_spaces(clip: Tokenizer, text: str) -> None:
    assert clip.decode(clip.encode([text])[0]) == text


def test_case_and_white_space_make_no_difference(trained: Tokenizer) -> None:
    assert np.array_equal(trained.encode(["  A\tCAT \n"]), trained.encode(["a cat"]))


@pytest.mark.parametrize("mark", [END, START, END.upper(), "&lt;end_of_text&gt;", f"<end_of_{END}text>", END * 3])
@pytest.mark.parametrize("kind", ["clip", "trained"])
def test_a_caption_cannot_forge_a_mark(kind: str, mark: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    tokens = tokenizer.encode([f"a cat {mark} on the left"])[0].tolist()
    assert tokens.count(tokenizer.vocab_size - 1) == tokens.count(tokenizer.vocab_size - 2) == 1
    assert tokenizer.decode(tokens).endswith("on the left")


def test_training_twice_gives_the_same_tokenizer() -> None:
    first, second = (Tokenizer.train(CAPTIONS, 320, 40) for _ in range(2))
    assert (first.content, first.hash) == (second.content, second.hash)


def test_the_hash_follows_content_and_context_length(trained: Tokenizer) -> None:
    others = [Tokenizer.train(CAPTIONS, 319, 40), Tokenizer.train(CAPTIONS, 320, 41)]
    assert len({trained.hash, *(other.hash for other in others)}) == 3


def test_a_tokenizer_is_the_same_after_it_was_kept(trained: Tokenizer) -> None:
    again = Tokenizer(trained.content, trained.context_length)
    assert np.array_equal(again.encode(ODD), trained.encode(ODD))


@pytest.mark.parametrize("vocab_size", [258, 300, 5000])
def test_no_more_entries_are_learnt_than_asked_for(vocab_size: int) -> None:
    tokenizer = Tokenizer.train(CAPTIONS, vocab_size, 40)
    assert 258 <= tokenizer.vocab_size <= vocab_size
    assert tokenizer.encode(ODD).max() < vocab_size


def test_tokens_hold_the_largest_vocabulary_that_a_spec_may_ask_for() -> None:
    assert TrainedTokenizerSpec(kind="trained", vocab_size=65_536).vocab_size - 1 == np.iinfo(np.uint16).max


def test_a_spec_gets_the_tokenizer_that_it_asks_for(clip: Tokenizer) -> None:
    assert Tokenizer.from_spec(ClipTokenizerSpec(kind="clip"), 77, []).hash == clip.hash
    assert Tokenizer.from_spec(TrainedTokenizerSpec(kind="trained", vocab_size=300), 8, CAPTIONS).vocab_size == 300


def test_plain_text_needs_no_mending() -> None:
    """What skips ftfy is what ftfy and HTML leave as it is: random printable ASCII without an ampersand."""
    letters = np.array([chr(code) for code in range(32, 127) if chr(code) != "&"])
    for seed in range(300):
        rng = np.random.default_rng(seed)
        text = "".join(rng.choice(letters, size=int(rng.integers(1, 200))))
        assert html.unescape(html.unescape(ftfy.fix_text(text))) == text
