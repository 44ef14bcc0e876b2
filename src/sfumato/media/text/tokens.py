"""Texts as token ids and back, without loss."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sfumato.errors import FormatError, InputError
from sfumato.files import parse_json
from sfumato.wording import shortened

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_SPECIAL = ("<pad>", "<mask>")
PAD_ID, MASK_ID = 0, 1
"""The tokens that stand for no text: what follows its end, and what is yet to be drawn."""
_BYTES = 256


def fit_text_tokenizer(texts: Iterable[str], vocabulary: int = 4096) -> str:
    """A tokenizer of at most `vocabulary` tokens for texts like these, as the text of its tokenizer.json.

    Byte-pair encoding (arXiv:1508.07909, section 3.2) over the bytes of the text as it is: beginning with single bytes,
    so that any text can be written and every text comes back, the pair that is seen most often becomes a new token
    until there are enough. `<pad>` is 0 and `<mask>` 1. With a `vocabulary` of 258, a token is a byte.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocabulary < (least := _BYTES + len(_SPECIAL)):
        raise InputError(f"a vocabulary must hold at least {least} tokens, all bytes and two more, not {vocabulary}")
    backend: Any = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend.to_str()


def open_text_tokenizer(text: str) -> "Backend":
    """The tokenizer that `fit_text_tokenizer` gave. One of another make is a `FormatError`: its rules could lose text,
    or take it apart for ever."""
    from tokenizers import Tokenizer

    parse_json(text.encode(errors="surrogatepass"), "the tokenizer")  # which is bounded
    try:
        backend = Tokenizer.from_str(text)
    except BaseException as error:  # the library panics with an error that is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise FormatError(f"this is no tokenizer that can be read ({shortened(str(error), 160)})") from error
    if _rules(text) != _rules(fit_text_tokenizer(())) or [backend.token_to_id(t) for t in _SPECIAL] != [
        PAD_ID,
        MASK_ID,
    ]:
        raise FormatError(
            "this tokenizer takes texts apart by other rules than those of Sfumato (bytes, pairs): take one that"
            " fit_text_tokenizer gave"
        )
    backend.encode_special_tokens = True  # a text may spell "<pad>"
    return backend


def _rules(text: str) -> dict[str, Any]:
    """All that a tokenizer does with a text, but for its tokens and which of them are joined."""
    found = json.loads(text)
    return {**found, "model": {key: value for key, value in found["model"].items() if key not in ("vocab", "merges")}}
