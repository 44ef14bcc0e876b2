"""Texts as numbers: a tokenizer fitted to captions, and the conditioner that uses it."""

import json
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend

from sfumato import files
from sfumato.condition import Conditioner, TokenIds, fit_tokenizer
from sfumato.errors import FormatError, InputError
from sfumato.nn.image.unet import UNet
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText
from sfumato.train.denoise_recipe import MOST_TOKENS

CAPTIONS = ["a cat in a hat", "a Cat in a house", "the cat sat", "grinning 🐱"] * 5
FITTED = fit_tokenizer(CAPTIONS, 300)


def test_fitting_is_repeatable_and_the_marks_come_first() -> None:
    assert fit_tokenizer(iter(CAPTIONS), 300) == FITTED
    vocabulary = json.loads(FITTED)["model"]["vocab"]
    assert [vocabulary[token] for token in ("<pad>", "<start>", "<end>")] == [0, 1, 2]
    assert 270 < TokenIds(FITTED).vocabulary == len(vocabulary) <= 300
    assert "Ġcat" in vocabulary, "what is seen often is one piece"


def test_the_first_piece_is_the_pair_seen_most_often() -> None:
    merges = json.loads(fit_tokenizer(["xyxy xyz zz"], 260))["model"]["merges"]
    assert merges == [["x", "y"]]


@pytest.mark.parametrize("text", ["a cat in a hat", "quite other words: 12 € & кошка 猫", ""])
def test_any_text_comes_back(text: str) -> None:
    ids = TokenIds(FITTED, length=64)([text]).context
    assert ids is not None and ids.dtype == torch.int64 and ids.shape == (1, ids.shape[1], 1)
    assert ids[0, 0, 0] == 1 and ids[0, -1, 0] == 2
    assert Backend.from_str(FITTED).decode(ids[0, :, 0].tolist()).strip() == text


def test_it_is_a_conditioner_of_numbers_and_a_mask() -> None:
    ids = TokenIds(FITTED, length=6)
    assert isinstance(ids, Conditioner) and ids.widths == {"context": 1} and ids.dropout == 0.1
    condition = ids(["a cat in a house in a house", None, "", "CAT"])
    assert condition.context is not None and condition.mask is not None and condition.vector is None
    assert condition.context.shape == (4, 6, 1) and condition.mask.sum(1).tolist() == [6, 2, 2, 3]
    assert (condition.context[~condition.mask] == 0).all()
    assert ids.truncated("a cat in a house in a house") and not ids.truncated("a cat")
    kept = "a cat in a house in a house".removesuffix(ids.truncated("a cat in a house in a house"))
    again = ids([kept]).context
    assert again is not None and torch.equal(condition.context[:1], again)
    assert ids.normalize("🐱") == "cat face" and "vocab" not in repr(ids)


def test_a_network_reads_them() -> None:
    ids = TokenIds(FITTED, length=8)
    unet = UNet(1, 1, width=8, multipliers=(1, 2), blocks=1, attention=(1,), context=8)
    network = WithText(unet, TextTransformer(ids.vocabulary, 8, 1, 2, 8))
    condition = ids(["a cat", ""])
    assert network(torch.randn(2, 1, 8, 8), torch.zeros(2), **condition.given()).shape == (2, 1, 8, 8)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="must hold 259 tokens at least, all bytes and the special tokens, not 258"):
        fit_tokenizer(CAPTIONS, 258)
    with pytest.raises(InputError, match="length must be at least 4, not 3"):
        TokenIds(FITTED, length=3)
    with pytest.raises(InputError, match="in words, not 3"):
        TokenIds(FITTED)([3])


BOMB = {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 26}
ENDLESS = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"normalizer": BOMB}, "by other rules than those of Sfumato"),
        ({"pre_tokenizer": ENDLESS}, "by other rules than those of Sfumato"),
        ({"normalizer": None}, "by other rules than those of Sfumato"),
        ({"added_tokens": []}, "by other rules than those of Sfumato|no tokenizer that can be read"),
        ({"model": 3}, "no tokenizer that can be read"),
        ({"odd": [[{}] * 300_001]}, "holds more than 300,000 values"),
        ({"odd": "\ud83d"}, "half of a surrogate pair"),
    ],
)
def test_a_tokenizer_of_another_make_is_refused_before_it_reads_a_text(change: dict[str, Any], text: str) -> None:
    ids = TokenIds(json.dumps({**json.loads(FITTED), **change}))
    with pytest.raises(FormatError, match=text) as caught:
        ids(["a" * 40 + "!"])
    assert len(str(caught.value)) < 400


def test_tokens_numbered_beyond_all_count_as_so_many() -> None:
    tokenizer = json.loads(FITTED)
    tokenizer["model"]["vocab"]["a"] = 4_000_000_000
    assert TokenIds(json.dumps(tokenizer)).vocabulary == 4_000_000_001


def test_the_largest_vocabulary_of_a_recipe_can_be_read_back() -> None:
    """As its tokenizer.json spells it: each token with its number, each merge of two."""
    tokens = {f"t{i}": i for i in range(MOST_TOKENS)}
    model = {"vocab": tokens, "merges": [["a", "b"]] * MOST_TOKENS}
    assert files.parse_json(json.dumps({"model": model}).encode(), "tokenizer.json")["model"]["vocab"] == tokens
