"""A checkpoint of diffusers in its folder: which components it has, their configurations, and the files of weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.condition.encoders import hub
from sfumato.condition.encoders.hub import COMPONENTS, INDEX
from sfumato.errors import FormatError, NotFoundError, quoted
from sfumato.keys import Entry
from sfumato.store import MappedWeights, weight_files

_CONFIGS = ("config.json", "scheduler_config.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_IDLE = ("safety_checker", "feature_extractor", "watermark", "image_encoder")
"""Components that draw nothing."""


@dataclass(frozen=True)
class Component:
    """A part of a checkpoint: its name there, the class that wrote it, its folder and its configuration."""

    name: str
    kind: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)

    def weights(self) -> MappedWeights:
        """Its weights. Raises `FormatError` where they are pickled, incomplete or missing."""
        return self._weights

    @cached_property
    def _weights(self) -> MappedWeights:
        return MappedWeights(weight_files(self.folder))

    def entries(self, entries: list[Entry]) -> list[Entry]:
        """The map of a network's names, by the names in these weights."""
        return entries

    def ignored(self, key: str) -> bool:
        """Whether a weight of that name is none of this component's."""
        return False


@dataclass(frozen=True)
class Checkpoint:
    """A folder of components. `pipeline` is the class that they were saved from, `index` all of `model_index.json`.

    `others` are components that are not known here, each with its class: what is drawn there depends on them. Where it
    is a single file, `folder` is that file, and `config` the folder by which it is read, if any.
    """

    where: str
    folder: Path
    pipeline: str
    components: Mapping[str, Component]
    index: Mapping[str, Any]
    config: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def component(self, *names: str) -> Component:
        """The first of these that there is."""
        for name in names:
            if name in self.components:
                return self.components[name]
        raise FormatError(
            f"{self.where} has no {' or '.join(names)}, and a {self.pipeline} needs one; it has"
            f" {', '.join(self.components) or 'nothing'}: copy or fetch it again"
        )


def is_checkpoint(folder: Path) -> bool:
    return (folder / INDEX).is_file()


def read_folder(where: str | Path, fetch: bool = True) -> Checkpoint:
    """The checkpoint in the folder `where`, or in the Hub's repository of that name, which is fetched if need be and
    may be; no weights are read yet."""
    folder = find_folder(where, fetch)
    index = files.read_json(folder / INDEX)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise FormatError(f"{folder / INDEX} names no _class_name: it is no checkpoint of diffusers")
    components: dict[str, Component] = {}
    others: dict[str, str] = {}
    for name, value in index.items():
        if not isinstance(value, list) or name.startswith("_") or name in _IDLE or None in value:
            continue
        if len(value) != 2 or not all(isinstance(word, str) for word in value):
            if (folder / name).is_dir():  # otherwise it is an option that is a list
                raise FormatError(f"{folder / INDEX}: its {quoted(name)} is no component of a library: {quoted(value)}")
            continue
        library, kind = value
        if library not in ("diffusers", "transformers"):
            raise FormatError(
                f"{where}: its {quoted(name)} is {quoted(f'{library}.{kind}')}, which is code of its own; Sfumato runs"
                " no code from checkpoints, and reads classes of diffusers and transformers"
            )
        if name in COMPONENTS:
            components[name] = _component(folder, name, kind)
        else:
            others[name] = kind
    return Checkpoint(str(where), folder, pipeline, components, index, others=others)


def _component(root: Path, name: str, kind: str) -> Component:
    """The component in the folder of its name, or, where it is the only one with weights, in the root itself."""
    folder = root / name if (root / name).is_dir() else root
    for config in _CONFIGS if not name.startswith("tokenizer") else ():
        if (folder / config).is_file() and (config != "config.json" or name != "scheduler"):
            options = files.read_json(folder / config)
            if "auto_map" in options:
                raise FormatError(f"{folder / config} asks for code of its own (auto_map); Sfumato runs none")
            return Component(name, kind, folder, options)
    if folder == root:
        raise FormatError(f"{root} names a component {name}, and has no folder {name}: copy or fetch it again")
    if not name.startswith("tokenizer"):
        raise FormatError(f"{folder} holds no {' or '.join(_CONFIGS)}: copy or fetch it again")
    return Component(name, kind, folder)


# The Hub -----------------------------------------------------------------------------------------------------------


def is_hub_name(where: str | Path) -> bool:
    """Whether this reads as the name of a repository on the Hub, and not as a folder that may be missing."""
    return not Path(where).parent.is_dir() and _HUB_NAME.fullmatch(str(where)) is not None


def find_folder(where: str | Path, fetch: bool = True) -> Path:
    """The folder `where`, or that of the Hub's repository of that name in the cache, filled if need be."""
    folder = Path(where)
    if folder.is_dir():
        if not is_checkpoint(folder):
            raise FormatError(f"{folder} holds no {INDEX}: it is no checkpoint of diffusers")
        return folder.absolute()  # text encoders are read later, when the working folder may be another
    if folder.exists() or not is_hub_name(where):
        raise NotFoundError(f"{where} is neither a folder nor the name of a repository on the Hub, as OWNER/NAME")
    if (kept := hub.cached(str(where))) is not None and (not fetch or _is_whole(kept)):
        return kept
    if not fetch:
        raise NotFoundError(
            f"there is no folder {where}, and it is not in the Hub's cache: open it once where there is a network,"
            f" which fetches what is read of it, or `{_command(where)}`"
        )
    try:
        return hub.fetched(str(where))
    except Exception as error:  # the network's own errors come in many kinds
        raise NotFoundError(
            f"there is no folder {where}, the Hub's cache holds {'no such' if kept is None else 'only a part of that'}"
            f" repository, and the Hub cannot be asked ({type(error).__name__}): give a folder, or fetch it where there"
            f" is a network, by `{_command(where)}`"
        ) from error


def _is_whole(kept: Path) -> bool:
    """Whether all that is read of a checkpoint is there."""
    try:
        for component in read_folder(kept).components.values():
            if not component.name.startswith(("scheduler", "tokenizer")):
                weight_files(component.folder)
    except FormatError:
        return False
    return True


def _command(where: str | Path) -> str:
    return f"hf download {where} --include '*.json' '*.txt' '*.safetensors'"
