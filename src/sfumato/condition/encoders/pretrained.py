"""Any text encoder of transformers."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sfumato import files
from sfumato.condition.encoders import hub
from sfumato.condition.encoders.protocol import is_read, mean, padded
from sfumato.condition.encoders.tokenizer import Tokenizer
from sfumato.core.condition import Condition
from sfumato.core.defaults import torch_defaults
from sfumato.errors import FormatError, InputError, NotFoundError, SfumatoError, quoted
from sfumato.wording import shortened

WEIGHT_FILES = ("model.safetensors", "model-*-of-*.safetensors")
TOKENIZER = ("tokenizer*.json", "vocab.*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json")
OTHERS = ("config.json", "model.safetensors.index.json")
HERE: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""Nothing but what is in the folder, and no code: left to itself, transformers asks on standard input whether to run
it."""
ENDLESS = 2**16
"""The most tokens of a model that names no bound of its own."""


@dataclass(frozen=True)
class Pretrained:
    """The text encoder `name` of transformers: a name on the Hub, or a folder. `Pretrained.open` fills in the rest.

    Tokens are the last hidden states. The whole text is what the model itself pools (for CLIP the state of the last
    token, arXiv:2103.00020, section 2.4; for BERT that of the first, through a layer), or their mean where it does not.
    `sha256` is that of the weights and `tokenizer_sha256` that of the tokenizer's files: others are refused. Only
    safetensors are read, and no code of the Hub is run.
    """

    name: str
    width: int
    pooled: int
    longest: int
    sha256: str | None = None
    tokenizer_sha256: str | None = None

    def __post_init__(self) -> None:
        vars(self)["_place"] = files.absolute(self.name)  # the files are read later

    @classmethod
    def open(cls, name: str) -> "Pretrained":
        """The encoder of that name, with its sizes and hashes as they are found.

        Raises `DataError` where it is not to be had, and `FormatError` where it is no text encoder in safetensors.
        """
        opened = cls(files.absolute(name), 0, 0, ENDLESS)
        network = opened._network
        bounds = (
            getattr(network.model.config, "max_position_embeddings", None),
            opened._fast.model_max_length,
            ENDLESS,
        )
        longest = min(int(bound) for bound in bounds if bound)
        encoded = network([opened.tokenizer.ids("", longest)])
        assert encoded.vector is not None and encoded.context is not None
        hashes = [digest(opened._folder, names) for names in (WEIGHT_FILES, TOKENIZER)]
        found = cls(opened.name, encoded.context.shape[-1], encoded.vector.shape[-1], longest, *hashes)
        vars(found)["_network"] = network  # the weights need not be read twice
        return found

    def __call__(self, ids: Sequence[Sequence[int]]) -> Condition:
        encoded = self._network(ids)
        assert encoded.vector is not None and encoded.context is not None
        found, expected = (encoded.context.shape[-1], encoded.vector.shape[-1]), (self.width, self.pooled)
        if found != expected:
            raise FormatError(
                f"{self.name} gives vectors of {found[0]} for a token and {found[1]} for a text, and {expected[0]} and"
                f" {expected[1]} were expected: make it by Pretrained.open({quoted(self.name)})"
            )
        return encoded

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        check_files(self._folder, TOKENIZER, self.tokenizer_sha256)
        return Tokenizer(self._fast.backend_tokenizer.to_str())

    @cached_property
    def _fast(self) -> Any:
        """The tokenizer as transformers has it."""
        from transformers import AutoTokenizer

        with reading(self.name):
            _refuse_elsewhere(self._folder)
            fast = AutoTokenizer.from_pretrained(self._folder, **HERE)
        if not hasattr(fast, "backend_tokenizer"):
            raise FormatError(f"{self.name} has no tokenizer that the library tokenizers reads; take another encoder")
        return fast

    @cached_property
    @torch_defaults()
    def _network(self) -> "_Network":
        check_files(self._folder, WEIGHT_FILES, self.sha256)
        return _Network(self.name, self._folder)

    @cached_property
    def _folder(self) -> Path:
        return encoder_folder(vars(self)["_place"])

    def fingerprint(self) -> str:
        known = (self.sha256, WEIGHT_FILES), (self.tokenizer_sha256, TOKENIZER)
        return " ".join(["transformers", *(sha256 or digest(self._folder, names) for sha256, names in known)])

    def check(self) -> None:
        check_pinned(self.name, self.sha256, self.tokenizer_sha256)

    def to(self, device: torch.device | str) -> "Pretrained":
        if is_read(self, device):
            self._network.model.to(device)
        return self


class _Network:
    """A model of transformers in the place of ours: ids → condition."""

    def __init__(self, name: str, folder: Path) -> None:
        from transformers import AutoConfig, AutoModelForTextEncoding, CLIPTextModel

        with reading(name):
            _refuse_elsewhere(folder)
            config = AutoConfig.from_pretrained(folder, **HERE)
            # the text half of a CLIP that holds both; others are distinguished by their configuration
            kind: Any = CLIPTextModel if config.model_type == "clip" else AutoModelForTextEncoding
            self.model, report = kind.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **HERE
            )
        absent = sorted(report["missing_keys"])
        if other := [key for key in absent if "pooler." not in key]:
            raise FormatError(f"{name} is not whole: '{other[0]}' is missing from its weights ({len(other)} such)")
        self.pools = not absent  # a pooler that was not saved would be a random one
        self.model.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, ids: Sequence[Sequence[int]]) -> Condition:
        numbers, mask = padded([torch.tensor(row, device=self.model.device) for row in ids])
        out = self.model(input_ids=numbers, attention_mask=mask.long())
        states = out.last_hidden_state * mask[..., None]
        pooled = getattr(out, "pooler_output", None) if self.pools else None
        return Condition(mean(states, mask) if pooled is None else pooled, states, mask)


def encoder_folder(name: str) -> Path:
    """The folder of that name, or that of the Hub's repository of that name in the cache, filled if need be."""
    if (place := Path(name)).is_dir():
        return _whole(place, name)
    if (kept := hub.cached(name, "config.json")) is not None and _files(kept, WEIGHT_FILES):
        return _whole(kept, name)
    from huggingface_hub import snapshot_download

    try:
        return _whole(Path(snapshot_download(name, allow_patterns=[*WEIGHT_FILES, *TOKENIZER, *OTHERS])), name)
    except FormatError:
        raise
    except Exception as error:  # the network's own errors come in many kinds
        raise NotFoundError(
            f"there is no folder {name}, and the Hub gives no such text encoder ({type(error).__name__}): give a folder"
            " that transformers saved, or the name of a repository while the Hub can be reached"
        ) from error


def _whole(place: Path, name: str) -> Path:
    """The folder, if a model in safetensors is in it."""
    if not (place / "config.json").is_file() or not _files(place, WEIGHT_FILES):
        raise FormatError(
            f"{name} holds no config.json with model.safetensors beside it: give a text encoder saved by transformers;"
            " older weights, as pytorch_model.bin, could run code and are not read"
        )
    return place


def _refuse_elsewhere(place: Path) -> None:
    """Raise a `FormatError` for a folder that has transformers load more from elsewhere: the model that it adapts, or
    kernels, which are code."""
    if (place / "adapter_config.json").exists():
        raise FormatError(
            f"{place} adapts a model that is elsewhere (adapter_config.json): give one with its own weights"
        )
    tables: list[Any] = [files.read_json(place / "config.json")]
    while tables:
        one = tables.pop()
        for key, value in one.items() if isinstance(one, dict) else enumerate(one):
            if isinstance(value, dict | list):
                tables.append(value)
            elif str(key).endswith("_implementation") and "/" in str(value):
                raise FormatError(f"{place / 'config.json'} asks for code by {key}, {quoted(value)}; Sfumato runs none")


def digest(place: Path, names: Sequence[str]) -> str:
    """The SHA-256 of the only file of these names, or of all their names and hashes."""
    hashes = {path.name: files.sha256(path) for path in _files(place, names)}
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("".join(f"{name} {sha256}\n" for name, sha256 in hashes.items()).encode()).hexdigest()


def _files(place: Path, names: Sequence[str]) -> list[Path]:
    return sorted({path for name in names for path in place.glob(name)})


def check_files(place: Path, names: Sequence[str], expected: str | None) -> None:
    """Raise a `FormatError` unless the files are those that are expected, where any are."""
    if expected is not None and (found := digest(place, names)) != expected:
        raise FormatError(
            f"{', '.join(path.name for path in _files(place, names))} in {place} changed since the system was made:"
            f" the SHA-256 should be {expected}, and is {found}; take the version that it was made with"
        )


def check_pinned(name: str, *hashes: object) -> None:
    """Raise an `InputError` for a conditioner that was saved without the hashes of what it reads by."""
    if not all(hashes):
        raise InputError(
            f"its conditioner reads by {quoted(name)} without the SHA-256 of what it was made with (sha256 and"
            " tokenizer_sha256), so that anything could be there by now: save the system with `System.save`"
        )


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """What transformers raises for a folder that it cannot read becomes a `FormatError`; its bars stay away."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except (SfumatoError, MemoryError):
        raise
    except Exception as error:  # of a folder that is not right, transformers and safetensors raise every kind
        raise FormatError(f"{name} is no text encoder that transformers reads: {shortened(str(error), 160)}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
