"""CLIP's text encoders inside a single file of Stable Diffusion, in its original layout."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sfumato import files
from sfumato.condition.clip import checkpoint as clip_checkpoint
from sfumato.condition.clip import open_clip
from sfumato.condition.clip.checkpoint import PLAIN, PROJECTED
from sfumato.condition.clip.source import TOWERS, Family, family_of_folder, tokenizer_name
from sfumato.condition.clip.tokenizer import FILES, MERGES, VOCABULARY, WHOLE, ClipTokenizer
from sfumato.condition.encoders import hub
from sfumato.condition.encoders.pretrained import digest
from sfumato.errors import FormatError, NotFoundError
from sfumato.keys import Entry, check_state, fill, renamed_entries
from sfumato.nn.text.clip_tower import ClipTower
from sfumato.store import FileStamps, MappedWeights

SUFFIX = ".safetensors"
CLIP = "openai/clip-vit-large-patch14"
"""Whose tokenizer all of them read by; no file holds it."""

CLIP_L: dict[str, Any] = {
    "architectures": [PLAIN],
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "eos_token_id": 2,
}
OPEN_CLIP_H: dict[str, Any] = {
    "architectures": [PLAIN],
    "hidden_size": 1024,
    "num_hidden_layers": 23,  # of 24
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "hidden_act": "gelu",
    "eos_token_id": 2,
}
OPEN_CLIP_G: dict[str, Any] = {
    "architectures": [PROJECTED],
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "intermediate_size": 5120,
    "hidden_act": "gelu",
    "projection_dim": 1280,
    "eos_token_id": 2,
}


class Place(NamedTuple):
    """A text encoder in a file: what its names begin with, and its configuration as it was published."""

    prefix: str
    config: dict[str, Any]

    @property
    def open(self) -> bool:
        """Whether its names are those of open_clip, and not of transformers."""
        return self.prefix.endswith(".model.")


SINGLE_FILE_LAYOUTS: tuple[tuple[Family, tuple[Place, ...]], ...] = (
    ("sd", (Place("cond_stage_model.transformer.", CLIP_L),)),
    ("sd", (Place("cond_stage_model.model.", OPEN_CLIP_H),)),
    (
        "sdxl",
        (Place("conditioner.embedders.0.transformer.", CLIP_L), Place("conditioner.embedders.1.model.", OPEN_CLIP_G)),
    ),
    ("sdxl-refiner", (Place("conditioner.embedders.0.model.", OPEN_CLIP_G),)),
)
"""Stable Diffusion 1, 2, XL and its refiner."""


def is_single(name: str | Path) -> bool:
    """Whether this is the name of a file of weights, and not of a folder or a repository."""
    return str(name).lower().endswith(SUFFIX) and not Path(name).is_dir()


def layout(names: Collection[str], where: str) -> tuple[Family, tuple[Place, ...]]:
    """Which text encoders these weights hold. Raises `FormatError` for none that are known."""
    for family, places in SINGLE_FILE_LAYOUTS:
        if all(any(name.startswith(place.prefix) for name in names) for place in places):
            return family, places
    known = ", ".join(f"'{place.prefix}…'" for _, places in SINGLE_FILE_LAYOUTS for place in places)
    raise FormatError(f"{where} holds no text encoder of Stable Diffusion ({known}): take a file that holds the whole")


def family_of_file(path: Path, config: str) -> tuple[Family, bool]:
    """The family of the text encoders in a file, and whether zeros stand for no prompt."""
    family, _ = layout(files.read_shapes(path), str(path))
    return family, family_of_folder(Path(config), config)[1] if config else family == "sdxl"


class SingleFile:
    """The text encoders in the file `path`, and tokenizers from elsewhere.

    Where there is a `config`, configurations and tokenizers are those of this folder, in the layout of diffusers. Else
    they are the published ones: the tokenizer is that of CLIP, from a folder `tokenizer` beside the file or from the
    Hub, and open_clip's encoders have texts filled up by their own rule.
    """

    def __init__(self, path: Path, config: str = "") -> None:
        if not path.is_file():
            raise NotFoundError(
                f"there is no file {path}, which holds the text encoder: put it back, or open the model anew"
            )
        self.path, self.config = path, config
        self.weights = MappedWeights([path])
        family, self.places = layout(self.weights, str(path))
        self.names = TOWERS[family]

    def outlines(self) -> tuple[ClipTower, ...]:
        found = []
        for tower, entries, ignored in self._plans():
            check_state(tower, entries, self.weights.shapes, str(self.path), ignored)
            found.append(tower)
        return tuple(found)

    def sampled(self) -> str:
        """The encoders' weights are in the file, of which all is looked at elsewhere."""
        return "\n".join([json.dumps(self._configs, sort_keys=True), *self.tokenizer_digests()])

    def towers(self, sha256: Sequence[str] = ()) -> tuple[ClipTower, ...]:
        if sha256:
            _check(f"the text encoders in {self.path}", self.digests(), sha256)
        found = []
        for tower, entries, ignored in self._plans():
            fill(tower, entries, self.weights, str(self.path), torch.float32, ignored=ignored)
            found.append(tower.eval().requires_grad_(False))
        return tuple(found)

    def tokenizers(self, sha256: Sequence[str] = ()) -> tuple[ClipTokenizer, ...]:
        self._tokenizers.check()
        if sha256:
            _check(f"the tokenizers of {self.path}", self.tokenizer_digests(), sha256)
        pads = [open_clip.OPEN_CLIP_PAD if place.open and not self.config else None for place in self.places]
        return tuple(ClipTokenizer(folder, pad) for folder, pad in zip(self._tokenizer_folders, pads, strict=True))

    def digests(self) -> tuple[str, ...]:
        """Those of the encoders' own weights: the rest of the file is read and hashed elsewhere."""
        return tuple(
            files.content_sha256(self.weights, [name for name in self.weights if name.startswith(place.prefix)])
            for place in self.places
        )

    def tokenizer_digests(self) -> tuple[str, ...]:
        self._tokenizers.check()
        return tuple(digest(folder, FILES) for folder in self._tokenizer_folders)

    def _plans(self) -> Iterator[tuple[ClipTower, list[Entry], Callable[[str], bool]]]:
        """Each text encoder, on the meta device, the names of its weights, and which names are not its own."""
        for place, name in zip(self.places, self.names, strict=True):
            yield self._plan(place, name)

    def _plan(self, place: Place, name: str) -> tuple[ClipTower, list[Entry], Callable[[str], bool]]:
        where = str(Path(self.config) / name / "config.json") if self.config else f"{self.path}: '{place.prefix}…'"
        with torch.device("meta"):
            tower = clip_checkpoint.read_config(self._configs[name], where)
        if place.open:
            entries = open_clip.open_clip_entries(tower, place.prefix)
        else:
            entries = renamed_entries(clip_checkpoint.clip_entries(tower), f"{place.prefix}{{}}".format)

        def ignored(key: str) -> bool:
            own = key.removeprefix(place.prefix)
            return own == key or (
                open_clip.open_clip_ignores(tower, own) if place.open else clip_checkpoint.clip_ignores(tower, own)
            )

        return tower, entries, ignored

    @cached_property
    def _configs(self) -> dict[str, dict[str, Any]]:
        """The configuration of each text encoder, by its name."""
        if self.config:
            return {name: files.read_json(Path(self.config) / name / "config.json") for name in self.names}
        return {name: place.config for name, place in zip(self.names, self.places, strict=True)}

    @cached_property
    def _tokenizers(self) -> FileStamps:
        return FileStamps(folder / name for folder in self._tokenizer_folders for name in FILES)

    @cached_property
    def _tokenizer_folders(self) -> list[Path]:
        if self.config:
            return [Path(self.config) / tokenizer_name(tower) for tower in self.names]
        return [self._tokenizer()] * len(self.places)

    def _tokenizer(self) -> Path:
        """The folder of CLIP's tokenizer."""
        beside = self.path.parent / "tokenizer"
        if beside.is_dir():
            return beside
        kept = [hub.cached(CLIP, name) for name in (WHOLE, VOCABULARY, MERGES)]
        if (place := kept[0] or (kept[1] and kept[2])) is not None:
            return place
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(CLIP, allow_patterns=[*FILES]))
        except Exception as error:  # the network's own errors come in many kinds
            reason = type(error).__name__
        raise NotFoundError(
            f"{self.path} holds no tokenizer; it reads by that of {CLIP}, which is neither in the folder {beside} nor"
            f" in the Hub's cache, and the Hub cannot be asked ({reason}): fetch it where there is a network, by `hf"
            f" download {CLIP} {VOCABULARY} {MERGES}`, or put these two files into {beside}"
        )


def _check(what: str, found: tuple[str, ...], expected: Sequence[str]) -> None:
    """Raise a `FormatError` unless the hashes are those that are expected."""
    if found != tuple(expected):
        raise FormatError(
            f"{what} changed since the system was made: the SHA-256 should be {', '.join(expected)}, and is"
            f" {', '.join(found)}; take the version that it was made with"
        )
