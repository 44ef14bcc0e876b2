"""A checkpoint of diffusers in its folder: which components it has, their configurations, and the files of weights."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.errors import DataError, FormatError
from sfumato.keys import Entry
from sfumato.store import Weights, choose, weight_files

INDEX = "model_index.json"
CONFIGS = ("config.json", "scheduler_config.json")
CARD = "README.md"
"""Which says the licence."""
HUB = re.compile(r"[\w.-]+/[\w.-]+")
UNUSED = ("safety_checker", "feature_extractor", "watermark", "image_encoder")
"""Components that draw nothing."""


@dataclass(frozen=True)
class Component:
    """A part of a checkpoint: its name there, the class that wrote it, its folder, and what its configuration says."""

    name: str
    kind: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)

    def weights(self) -> Weights:
        """Its weights. Raises `FormatError` where they are pickled, incomplete or missing."""
        return Weights(weight_files(self.folder))

    def entries(self, entries: list[Entry]) -> list[Entry]:
        """The map of a network's names, by the names in these weights."""
        return entries

    def ignored(self, key: str) -> bool:
        """Whether a weight of that name is none of this component's."""
        return False


@dataclass(frozen=True)
class Checkpoint:
    """A folder of components. `pipeline` is the class that they were saved from, `said` all of `model_index.json`.

    Where it is a single file, `folder` is that file, and `config` the folder that it was told to be read by, if any.
    """

    where: str
    folder: Path
    pipeline: str
    components: Mapping[str, Component]
    said: Mapping[str, Any]
    config: str = ""

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


def read(where: str | Path, fetch: bool = True) -> Checkpoint:
    """The checkpoint in the folder `where`, or in the Hub's repository of that name, which is fetched if need be and
    may be; no weights are read yet."""
    folder = find(where, fetch)
    said = files.read_json(folder / INDEX)
    pipeline = said.get("_class_name")
    if not isinstance(pipeline, str):
        raise FormatError(f"{folder / INDEX} names no _class_name: it is no checkpoint of diffusers")
    components: dict[str, Component] = {}
    for name, value in said.items():
        if not isinstance(value, list) or name.startswith("_") or name in UNUSED or None in value:
            continue
        if len(value) != 2 or not all(isinstance(word, str) for word in value):
            continue  # an option that is a list
        library, kind = value
        if library not in ("diffusers", "transformers"):
            raise FormatError(
                f"{where}: its {name} is '{library}.{kind}', which is code of its own; Sfumato runs no code from"
                " checkpoints, and reads classes of diffusers and transformers"
            )
        components[name] = _component(folder, name, kind)
    return Checkpoint(str(where), folder, pipeline, components, said)


def _component(root: Path, name: str, kind: str) -> Component:
    """The component in the folder of its name, or, where it is the only one with weights, in the root itself."""
    folder = root / name if (root / name).is_dir() else root
    for config in CONFIGS if not name.startswith("tokenizer") else ():
        if (folder / config).is_file() and (config != "config.json" or name != "scheduler"):
            said = files.read_json(folder / config)
            if "auto_map" in said:
                raise FormatError(f"{folder / config} asks for code of its own (auto_map); Sfumato runs none")
            return Component(name, kind, folder, said)
    if folder == root:
        raise FormatError(f"{root} names a component {name}, and has no folder {name}: copy or fetch it again")
    if not name.startswith("tokenizer"):
        raise FormatError(f"{folder} holds no {' or '.join(CONFIGS)}: copy or fetch it again")
    return Component(name, kind, folder)


# The Hub -----------------------------------------------------------------------------------------------------------


def is_name(where: str | Path) -> bool:
    """Whether this reads as the name of a repository on the Hub, and not as a folder that may be missing."""
    return not Path(where).parent.is_dir() and HUB.fullmatch(str(where)) is not None


def find(where: str | Path, fetch: bool = True) -> Path:
    """The folder `where`, or that of the Hub's repository of that name in the cache, filled if need be."""
    folder = Path(where)
    if folder.is_dir():
        if not is_checkpoint(folder):
            raise FormatError(f"{folder} holds no {INDEX}: it is no checkpoint of diffusers")
        return folder.absolute()  # text encoders are read later, when the working folder may be another
    if folder.exists() or not is_name(where):
        raise DataError(f"{where} is neither a folder nor the name of a repository on the Hub, as OWNER/NAME")
    from huggingface_hub import model_info, snapshot_download

    try:
        kept = Path(snapshot_download(str(where), local_files_only=True))
        read(kept)
        return kept
    except Exception:  # not there, or only in part: the library tells the two apart by kinds that change
        pass
    if not fetch:
        raise DataError(
            f"there is no folder {where}, and it is not in the Hub's cache: fetch it, by `hf download {where}`"
        )
    try:
        listed = model_info(str(where)).siblings or []  # which, unlike a listing, does not try again for half a minute
        wanted = needed([file.rfilename for file in listed])
        return Path(snapshot_download(str(where), allow_patterns=wanted))
    except Exception as error:  # the network's own errors come in many kinds
        raise DataError(
            f"there is no folder {where}, it is not in the Hub's cache, and the Hub cannot be asked"
            f" ({type(error).__name__}): give a folder, or fetch it where there is a network, by"
            f" `hf download {where}`"
        ) from error


def needed(names: Collection[str]) -> list[str]:
    """Of a repository's files, those that a checkpoint is read from."""
    inside: dict[str, list[str]] = {}
    for name in names:
        place, _, base = name.rpartition("/")
        if "/" not in place:
            inside.setdefault(place, []).append(base)
    wanted: list[str] = []
    for place, bases in inside.items():
        if place in UNUSED:
            continue
        tables = [base for base in bases if base.endswith((".json", "merges.txt")) and ".index" not in base]
        tables += [base for base in bases if base == CARD and not place]
        wanted += [f"{place}/{base}" if place else base for base in (*tables, *choose(bases))]
    return sorted(wanted)
