"""Conditions for texts that the network itself learns to read."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sfumato.condition.encoders.protocol import padded
from sfumato.condition.encoders.tokenizer import Tokenizer
from sfumato.condition.normalize import normalize
from sfumato.condition.protocol import Conditioner, Prompt, TrainingFiles
from sfumato.condition.text import SHORTEST
from sfumato.core.condition import Condition
from sfumato.errors import FormatError, InputError
from sfumato.files import parse_json, read_json, write_bytes

PAD, START, END = _SPECIAL_TOKENS = ("<pad>", "<start>", "<end>")
BYTES = 256


@dataclass(frozen=True)
class TokenIds(Conditioner):
    """Token ids [b, k, 1] as the input `context`, for the text encoder of `WithText` to read.

    `tokenizer` is the text of a tokenizer.json that `fit_tokenizer` gave; at most `length` tokens are read. One of
    another make is a `FormatError`: its rules could take a text apart for ever.
    """

    tokenizer: str = field(repr=False)
    length: int = 32
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.length < SHORTEST:
            raise InputError(f"length must be at least {SHORTEST}, not {self.length}")

    @property
    def widths(self) -> dict[str, int]:
        return {"context": 1}

    @property
    def vocabulary(self) -> int:
        return self._tokenizer.vocabulary

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        rows = [self._tokenizer.ids(self.normalize(prompt), self.length) for prompt in prompts]
        ids, mask = padded([torch.tensor(row) for row in rows])
        return Condition(context=ids[..., None], mask=mask)

    def normalize(self, prompt: Prompt) -> str:
        """The prompt as it is taken apart: emoji by their names, single spaces."""
        return normalize(prompt)

    def check_prompt(self, prompt: Prompt) -> None:
        self.normalize(prompt)

    def truncated(self, prompt: Prompt) -> str:
        """The end of the prompt that is lost, because only `length` tokens are read; "" if nothing is."""
        return self._tokenizer.truncated(self.normalize(prompt), self.length)

    def check(self, network: nn.Module) -> None:
        vocabulary, reader = self.vocabulary, getattr(network, "text", None)  # the first reads the tokenizer
        if reader is not None and (vocabulary > reader.vocabulary or self.length > reader.length):
            raise InputError(
                f"the conditioner gives up to {self.length} of {vocabulary:,} tokens, and the network reads"
                f" {reader.length} of {reader.vocabulary:,}"
            )

    def for_training(
        self, files: TrainingFiles, captions: Iterable[Prompt], progress: Callable[[int, int], None]
    ) -> "TokenIds":
        """The conditioner with the run's tokenizer, which is this one's if the run has none yet."""
        if not files.tokenizer.exists():
            write_bytes(files.tokenizer, self.tokenizer.encode())
        return replace(self, tokenizer=read_tokenizer(files.tokenizer))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        parse_json(self.tokenizer.encode(errors="surrogatepass"), "the tokenizer")  # which is bounded
        found = Tokenizer(self.tokenizer)
        if _rules(found) != _rules(Tokenizer(fit_tokenizer(()))):
            raise FormatError(
                "this tokenizer takes texts apart by other rules than those of Sfumato (NFKC, small letters, bytes,"
                " pairs): take one that Sfumato fitted"
            )
        return found


def read_tokenizer(path: Path) -> str:
    """The text of a tokenizer.json. Raises a `FormatError` that names the file, where it is damaged."""
    read_json(path)
    return path.read_text(encoding="utf-8")


def _rules(tokenizer: Tokenizer) -> dict[str, Any]:
    """All that a tokenizer does with a text, but for its tokens and which of them are joined."""
    table = json.loads(tokenizer.to_str())
    return {**table, "model": {key: value for key, value in table["model"].items() if key not in ("vocab", "merges")}}


def fit_tokenizer(captions: Iterable[str], vocabulary: int = 4096) -> str:
    """A tokenizer of at most `vocabulary` tokens for texts like these, as the text of its tokenizer.json.

    Byte-pair encoding (arXiv:1508.07909, section 3.2): beginning with single bytes, so that any text can be written,
    the pair that is seen most often becomes a new token until there are enough. Capitals are read as small letters.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    if vocabulary < (least := BYTES + len(_SPECIAL_TOKENS)):
        raise InputError(
            f"a vocabulary must hold {least} tokens at least, all bytes and the special tokens, not {vocabulary}"
        )
    backend: Any = Backend(models.BPE())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((normalize(caption) for caption in captions), trainer)
    special = [(token, _SPECIAL_TOKENS.index(token)) for token in (START, END)]
    backend.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=special)
    return backend.to_str()
