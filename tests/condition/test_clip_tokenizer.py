"""CLIP's tokenizer beside that of transformers, over odd texts and over all forms of its folder."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_clip import END, LENGTH, MERGES, START, mark, tokenizer_folder, vocabulary
from transformers import CLIPTokenizer

from sfumato.condition.clip.tokenizer import ClipTokenizer
from sfumato.errors import FormatError

REAL = Path(__file__).parents[3] / "shared" / "data" / "text" / "bpe_simple_vocab_16e6.txt.gz"
ODD = (
    "",
    "A photo of THE cat's hat, isn't it?",
    "  two\t\n  spaces\u3000and a\u00a0hard one\u2028 ",
    "they'll I'D we'Ve 'tis ''s",
    "猫 一只猫坐在垫子上 ねこ",
    "🐱🐈‍⬛ 👩🏽‍🚀♥️",
    "e\u0301 é Å \u212b İstanbul ß ﬁ",
    "123 4x5 ½ ٣ x²",
    f"a {START} b {END}c{END.upper()} !!! a!b ! <|end|>",
    "the " * 40,
    "\x00\x7f\ufeff\u200b a\u0300\u0301",
    "<toy> <TOY> a<toy>b  <toy>",
)
TEXTS = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=8)), max_size=4).map("".join)


def legacy(folder: Path) -> Path:
    return tokenizer_folder(folder)


def second(folder: Path) -> Path:
    return tokenizer_folder(folder, pad="!")


def whole(folder: Path) -> Path:
    """One tokenizer.json, as transformers saves it now."""
    CLIPTokenizer.from_pretrained(second(folder.with_name("before"))).save_pretrained(folder)
    return folder


def decoder(folder: Path) -> Path:
    """What transformers 4 saves, with a token that was learned later."""
    tokenizer_folder(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    numbers = vocabulary()
    tokens = {numbers[START]: {**mark(START), "special": True}, numbers[END]: {**mark(END, False), "special": True}}
    tokens[len(numbers)] = {**mark("<toy>"), "special": False}
    for token in tokens.values():
        del token["__type"]
    config |= {"added_tokens_decoder": tokens, "bos_token": START, "eos_token": END, "unk_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def added(folder: Path) -> Path:
    """What transformers 3 saved, with a token that was learned later."""
    second(folder)
    (folder / "added_tokens.json").write_text(json.dumps({"<toy>": len(vocabulary())}))
    return folder


def bare(folder: Path) -> Path:
    tokenizer_folder(folder)
    (folder / "special_tokens_map.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": LENGTH}))
    return folder


Pair = tuple[ClipTokenizer, Any]


@pytest.fixture(scope="module", params=[legacy, second, whole, decoder, added, bare])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = request.param(tmp_path_factory.mktemp("clip") / "tokenizer")
    return ClipTokenizer(folder), CLIPTokenizer.from_pretrained(folder)


def check(pair: Pair, text: str, length: int) -> None:
    ours, theirs = pair
    wanted = theirs(text, padding="max_length", max_length=length, truncation=True).input_ids
    assert ours.ids(text, length) == wanted, text


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_have_the_same_numbers(pair: Pair, text: str) -> None:
    for length in (LENGTH, 200):
        check(pair, text, length)


@given(text=TEXTS)
def test_any_text_has_the_same_numbers(pair: Pair, text: str) -> None:
    check(pair, text, LENGTH)
    check(pair, text, 60)


def test_sizes(pair: Pair) -> None:
    ours, theirs = pair
    assert (ours.length, ours.vocabulary, ours.pad) == (LENGTH, len(theirs), theirs.pad_token_id)


def test_the_truncated_part_is_returned(tmp_path: Path) -> None:
    ours = ClipTokenizer(legacy(tmp_path / "tokenizer"))
    assert ours.truncated("the  Cat in the hat", 7) == "" and ours.truncated("the  Cat in the hat", 5) == "the hat"
    assert ours.ids("the cat in the hat", 5)[-1] == vocabulary()[END]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's own vocabulary in a folder such as those of Stable Diffusion."""
    if not REAL.exists():
        pytest.skip("needs CLIP's vocabulary, which is not part of the repository")
    merges = gzip.decompress(REAL.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    return tokenizer_folder(tmp_path_factory.mktemp("real") / "tokenizer", pad="!", merges=merges, length=77)


def test_the_real_vocabulary_gives_the_published_numbers(real: Path) -> None:
    ours = ClipTokenizer(real)
    assert ours.vocabulary == 49408 and ours.length == 77
    assert ours.ids("A photo of a  cat", 77) == [49406, 320, 1125, 539, 320, 2368, 49407, *[0] * 70]
    theirs = CLIPTokenizer.from_pretrained(real)
    for text in ODD:
        check((ours, theirs), text, 77)


def test_transformers_is_not_imported(tmp_path: Path) -> None:
    folder = legacy(tmp_path / "tokenizer")
    code = (
        "import sys, pathlib; from sfumato.condition.clip.tokenizer import ClipTokenizer\n"
        f"ClipTokenizer(pathlib.Path({str(folder)!r})).ids('a cat', 8)\n"
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("merges.txt", None, "holds no tokenizer: it should have vocab.json and merges.txt, or tokenizer.json"),
        ("merges.txt", "#version: 0.2\nt h e\n", "join pairs of tokens, and does not"),
        ("merges.txt", "#version: 0.2\nq zz\n", "join pairs of tokens, and does not"),
        ("vocab.json", '{"a": "b"}', "map tokens to whole numbers"),
        ("vocab.json", "[1]", "should hold a JSON object"),
        (
            "tokenizer_config.json",
            '{"tokenizer_class": "T5Tokenizer"}',
            "names a 'T5Tokenizer'; known .* CLIPTokenizer",
        ),
        ("tokenizer_config.json", '{"model_max_length": 2}', "model_max_length should be 3 or more, not 2"),
        ("tokenizer_config.json", '{"added_tokens_decoder": [1]}', "adds tokens without their numbers"),
        ("tokenizer_config.json", '{"model_max_length": NaN}', "model_max_length should be 3 or more, not nan"),
        ("added_tokens.json", '{"<toy>": [1]}', "adds tokens without their numbers"),
        ("vocab.json", '{"\\ud83d": 1}', "half of a surrogate pair"),
        ("special_tokens_map.json", '{"pad_token": 3}', "names a token 3, which is no text"),
        ("tokenizer.json", '{"model": {"type": "WordPiece"}}', "no tokenizer of CLIP: its words should end in </w>"),
        ("tokenizer.json", '{"added_tokens": 1.5}', "added_tokens should be a list, not 1.5|no tokenizer of CLIP"),
    ],
)
def test_folders_that_hold_no_such_tokenizer_are_refused(
    file: str, content: str | None, text: str, tmp_path: Path
) -> None:
    folder = legacy(tmp_path / "tokenizer")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(FormatError, match=text):
        ClipTokenizer(folder).ids("the cat", 8)


def test_small_and_real_vocabularies_are_laid_out_alike() -> None:
    assert vocabulary()["!"] == 0 and vocabulary()["!</w>"] == 256 and len(vocabulary()) == 512 + len(MERGES) + 2
