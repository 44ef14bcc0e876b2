"""MiniLM: the text encoder of systems that are trained here, by default."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files as resources
from pathlib import Path

import torch

from sfumato import files
from sfumato.condition.encoders.int8 import restored
from sfumato.condition.encoders.protocol import is_read, mean, padded
from sfumato.condition.encoders.tokenizer import Tokenizer
from sfumato.core.condition import Condition
from sfumato.core.defaults import torch_defaults
from sfumato.errors import FormatError, InputError, quoted
from sfumato.nn.text.bert import Bert, bert

WORDS_FILE, LAYERS_FILE, TOKENIZER_FILE = "words.safetensors", "layers.safetensors", "tokenizer.json"
SHA256 = {
    WORDS_FILE: "b5d3d12f6d1884c7ed41e45340131f11c454ef46e160f3a2557197a7ac2cfb3b",
    LAYERS_FILE: "0b763de65f4b18a40f75a103cc1eac9d42ef8ae37ee26416f879f8645d12eac3",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""The files in `models/minilm/`, as `examples/minilm.py` makes them."""
SHIPPED = hashlib.sha256("".join(f"{name} {sha256}\n" for name, sha256 in SHA256.items()).encode()).hexdigest()
"""What all of them are known by."""


@dataclass(frozen=True)
class MiniLM:
    """all-MiniLM-L6-v2, six layers of BERT trained to put sentences of like meaning side by side (MiniLM,
    arXiv:2002.10957; Sentence-BERT, arXiv:1908.10084).

    Tokens are the last hidden states, and the whole text is their mean, at unit length, as sentence-transformers has
    it. It reads English best. The weights ship with Sfumato, 24 MB in int8, and are read as float32: see
    `models/minilm/README.md`. `sha256` is that of the files (`SHIPPED`), so that a system's table says by which it
    reads: others are refused.
    """

    sha256: str = SHIPPED

    width = 384
    pooled = 384
    longest = 512

    def __post_init__(self) -> None:
        if self.sha256 != SHIPPED:
            raise InputError(
                f"the text encoder minilm was another when this was made, of the SHA-256 {quoted(self.sha256)}, and is"
                f" {SHIPPED[:12]}… in this version of Sfumato: take the version that it was made with"
            )

    @torch.no_grad()
    def __call__(self, ids: Sequence[Sequence[int]]) -> Condition:
        device = self._network.words.weight.device
        numbers, mask = padded([torch.tensor(row, device=device) for row in ids])
        states = self._network(numbers, mask) * mask[..., None]
        return Condition(torch.nn.functional.normalize(mean(states, mask), dim=1), states, mask)

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(verified(TOKENIZER_FILE).read_text(encoding="utf-8"))

    @cached_property
    @torch_defaults()
    def _network(self) -> Bert:
        small = {**files.read_tensors(verified(WORDS_FILE))[0], **files.read_tensors(verified(LAYERS_FILE))[0]}
        return bert(restored(small), heads=12)

    def fingerprint(self) -> str:
        return f"minilm {self.sha256}"

    def check(self) -> None:
        """Nothing to check: only the files that are meant are ever read."""

    def to(self, device: torch.device | str) -> "MiniLM":
        if is_read(self, device):
            self._network.to(device)
        return self


def folder() -> Path:
    """The folder that holds the weights and the tokenizer."""
    return Path(str(resources("sfumato.models"))) / "minilm"


def verified(name: str) -> Path:
    """The path of a file, if it is the one that is meant; else a `FormatError`."""
    path = folder() / name
    if files.sha256(path) != SHA256[name]:
        raise FormatError(
            f"{path} is damaged: its SHA-256 should be {SHA256[name]};"
            " `pip install --force-reinstall --no-deps sfumato`"
        )
    return path
