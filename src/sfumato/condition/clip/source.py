"""Where CLIP's text encoders and tokenizers come from: folders, here or on the Hub. `clip_file` reads single files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from sfumato import files
from sfumato.condition.clip.checkpoint import TowerFiles
from sfumato.condition.clip.tokenizer import FILES, ClipTokenizer
from sfumato.condition.encoders import hub
from sfumato.condition.encoders.pretrained import check_files, digest
from sfumato.core.defaults import torch_defaults
from sfumato.errors import FormatError, NotFoundError
from sfumato.nn.text.clip_tower import ClipTower
from sfumato.store import FileStamps

Family = Literal["sd", "sdxl", "sdxl-refiner"]
TOWERS: dict[Family, tuple[str, ...]] = {
    "sd": ("text_encoder",),
    "sdxl": ("text_encoder", "text_encoder_2"),
    "sdxl-refiner": ("text_encoder_2",),
}
"""The folders of the text encoders that each family reads by; those of their tokenizers are named likewise."""


class Source(Protocol):
    """What text encoders are read from. Hashes are one for each encoder; where any are given, others are refused."""

    def outlines(self) -> tuple[ClipTower, ...]:
        """The text encoders on the meta device, by their configurations and their weights' names; no weight is read."""
        ...

    def sampled(self) -> str:
        """A digest of encoders and tokenizers that reads a few numbers of each weight."""
        ...

    def towers(self, sha256: Sequence[str] = ()) -> tuple[ClipTower, ...]: ...
    def tokenizers(self, sha256: Sequence[str] = ()) -> tuple[ClipTokenizer, ...]: ...
    def digests(self) -> tuple[str, ...]: ...
    def tokenizer_digests(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Encoders:
    """The text encoders and tokenizers of a source, read when they are first asked for, and then kept; and what they
    gave for the texts of late, by text: the states of one [length, width], and its vector [pooled]."""

    source: Source
    sha256: Sequence[str] = ()
    tokenizer_sha256: Sequence[str] = ()
    recent: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "recent": {**self.recent}}  # another thread may be adding to it

    @cached_property
    @torch_defaults()  # gradients may be wanted through them later
    def towers(self) -> tuple[ClipTower, ...]:
        return self.source.towers(self.sha256)

    @cached_property
    def tokenizers(self) -> tuple[ClipTokenizer, ...]:
        return self.source.tokenizers(self.tokenizer_sha256)


class Folders:
    """The text encoders and tokenizers of a family, each in its folder below `root`; all that is read of them is of the
    files that were there when the first was asked for."""

    def __init__(self, root: Path, family: Family) -> None:
        self.folders = [root / tower for tower in TOWERS[family]]
        self.tokenizer_folders = [root / tokenizer_name(tower) for tower in TOWERS[family]]

    def outlines(self) -> tuple[ClipTower, ...]:
        return tuple(tower.outline() for tower in self._towers)

    def sampled(self) -> str:
        lines = [f"{json.dumps(tower.config, sort_keys=True)} {tower.weights.sampled()}" for tower in self._towers]
        return "\n".join([*lines, *self.tokenizer_digests()])

    def towers(self, sha256: Sequence[str] = ()) -> tuple[ClipTower, ...]:
        for found, expected in zip(self._towers, sha256 or [None] * len(self.folders), strict=True):
            check_files(found.folder, _names(found), expected)
        return tuple(tower.read() for tower in self._towers)

    def tokenizers(self, sha256: Sequence[str] = ()) -> tuple[ClipTokenizer, ...]:
        self._tokenizers.check()
        folders = self.tokenizer_folders
        for folder, expected in zip(folders, sha256 or [None] * len(folders), strict=True):
            check_files(folder, FILES, expected)
        return tuple(ClipTokenizer(folder) for folder in folders)

    def digests(self) -> tuple[str, ...]:
        for tower in self._towers:
            tower.weights.check_same()
        return tuple(digest(tower.folder, _names(tower)) for tower in self._towers)

    def tokenizer_digests(self) -> tuple[str, ...]:
        self._tokenizers.check()
        return tuple(digest(folder, FILES) for folder in self.tokenizer_folders)

    @cached_property
    def _towers(self) -> list[TowerFiles]:
        return [TowerFiles(folder) for folder in self.folders]

    @cached_property
    def _tokenizers(self) -> FileStamps:
        return FileStamps(folder / name for folder in self.tokenizer_folders for name in FILES)


def _names(tower: TowerFiles) -> list[str]:
    return [path.name for path in tower.weights.paths]


def family_of_folder(root: Path, name: str) -> tuple[Family, bool]:
    """The family of the text encoders below `root`, and whether zeros stand for no prompt."""
    index = files.read_json(root / hub.INDEX) if (root / hub.INDEX).is_file() else {}
    here = tuple(tower for tower in TOWERS["sdxl"] if index.get(tower) != [None, None] and (root / tower).is_dir())
    family: Family | None = next((family for family, towers in TOWERS.items() if towers == here), None)
    if family is None:
        raise FormatError(
            f"{name} holds no text_encoder: give the folder of a Stable Diffusion, in the layout of diffusers"
        )
    return family, family != "sd" and index.get("force_zeros_for_empty_prompt", True) is True


def _holds_text(root: Path) -> bool:
    """Whether a text encoder and its tokenizer are there."""
    return any((root / tower).is_dir() and (root / tokenizer_name(tower)).is_dir() for tower in TOWERS["sdxl"])


def tokenizer_name(tower: str) -> str:
    """The folder of an encoder's tokenizer."""
    return tower.replace("text_encoder", "tokenizer")


def found_folder(name: str) -> Path:
    """The folder of that name, or that of the Hub's repository of that name in the cache, filled if need be."""
    if (place := Path(name)).is_dir():
        return place
    if (kept := hub.cached(name)) is not None and _holds_text(kept):
        return kept
    try:
        return hub.fetched(name, [part for part in hub.COMPONENTS if part.startswith(("text_encoder", "tokenizer"))])
    except Exception as error:  # the network's own errors come in many kinds
        raise NotFoundError(
            f"there is no folder {name}, and the Hub gives no such model ({type(error).__name__}): give a folder in the"
            " layout of diffusers, or the name of a repository while the Hub can be reached"
        ) from error
