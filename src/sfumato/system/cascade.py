"""A cascade: systems in a row, each conditioned on what the one before it drew."""

import re
import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Unpack

import torch
from pydantic import BaseModel, ConfigDict, Field

from sfumato import files
from sfumato.arguments import listed
from sfumato.condition import Prompt
from sfumato.core.defaults import torch_defaults
from sfumato.errors import FormatError, InputError, NotFoundError, quoted
from sfumato.media import Medium
from sfumato.parts import validate
from sfumato.system import file as system_file
from sfumato.system.cascade_draw import CascadePlan, plan_cascade
from sfumato.system.description import described, line, table
from sfumato.system.drawing import Drawing, asked_for
from sfumato.system.file import CASCADE_FILE
from sfumato.system.links import LINKS, Ground, Link
from sfumato.system.pipeline import Pipeline
from sfumato.system.settings import STRICT
from sfumato.system.system import System

MOST_STAGES = 100
_MOST_READ = 100
_FOLDER = re.compile(r"stage-[0-9a-f]{12}")


class StageFile(BaseModel):
    """A stage as `cascade.json` names it: its folder, and the fingerprint of its system."""

    model_config = STRICT | ConfigDict(frozen=True)

    folder: str
    system: str


class CascadeFile(BaseModel):
    """What `cascade.json` says."""

    model_config = STRICT

    format: int
    stages: Annotated[tuple[StageFile, ...], Field(max_length=MOST_STAGES)]
    links: Annotated[tuple[dict[str, Any], ...], Field(max_length=MOST_STAGES)]
    about: dict[str, Any]


class Cascade(Pipeline):
    """`stages` in a row, and between each two a link: `Upsample`, `Embed`, `Vocode`, `Ground` (cascaded diffusion,
    arXiv:2106.15282; unCLIP, arXiv:2204.06125).

    Drawn with as a system is. Of a drawing's arguments, `prompt`, `seeds` and `batch` are every stage's and the others
    the last one's; `stages` overrides them, a drawing a stage. A stage that reads no prompt is given none.
    Sample i depends on seed i alone: the first stage draws by the seed itself, so that a cascade of one system draws
    what the system does, and every other by one derived from it.
    """

    def __init__(
        self, stages: Sequence[System], links: Sequence[Link] = (), about: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.stages, self.links = tuple(listed("stages", stages)), tuple(listed("links", links))
        self.about = about or {}
        if wrong := [one for one in self.stages if not isinstance(one, System)]:
            raise InputError(f"a stage of a cascade is a System, not {quoted(wrong[0])}")
        if wrong := [one for one in self.links if not isinstance(one, Link)]:
            raise InputError(f"a link of a cascade is an Upsample, Embed, Vocode or Ground, not {quoted(wrong[0])}")
        if len(self.stages) > MOST_STAGES:
            raise InputError(f"a cascade has at most {MOST_STAGES} systems, not {len(self.stages):,}")
        if not self.stages or len(self.links) != len(self.stages) - 1:
            raise InputError(
                f"a cascade has one system or more, and a link between each two: not {len(self.stages)} and"
                f" {len(self.links)}"
            )

    @property
    def medium(self) -> Medium:
        return self.stages[-1].medium

    @property
    def device(self) -> torch.device:
        return self.stages[-1].device

    @property
    def precision(self) -> str:
        return self.stages[-1].precision

    def truncated(self, prompt: Prompt) -> str:
        """The end of a prompt that is too long for some stage to read; "" if all of it is read."""
        return max((stage.truncated(prompt) for stage in self.stages), key=len)

    @torch_defaults()
    def warnings(self, prompts: Sequence[Prompt]) -> list[str]:
        """What these prompts ask for that is not drawn as it is asked for, a line each: `Ground` knows it. The first
        hundred different ones are looked at."""
        asked = [*dict.fromkeys(prompts)][:_MOST_READ]
        links = zip(self.links, self.stages, self.stages[1:], strict=False)
        return [
            text
            for link, before, after in links
            if isinstance(link, Ground)
            for text in link.warnings(asked, after, before)
        ]

    def __repr__(self) -> str:
        name = f"{self.opened['model']}: " if "model" in self.opened else ""
        return f"Cascade({name}{' → '.join(line(stage) for stage in self.stages)})"

    def _repr_html_(self) -> str:
        """What its stages are, for a notebook."""
        return "".join(table({"stage": str(i), **described(stage)}) for i, stage in enumerate(self.stages))

    # Drawing ----------------------------------------------------------------------------------------------------------

    @torch_defaults()
    def plan(self, prompts: Prompt | Sequence[Prompt] = None, /, **drawing: Unpack[Drawing]) -> CascadePlan:
        return plan_cascade(self, asked_for(prompts, drawing))

    # Place, saving and loading ----------------------------------------------------------------------------------------

    def to(self, device: str | torch.device | None = None, precision: str | None = None) -> "Cascade":
        """Move all stages to a device and a precision (float32 or bfloat16); None picks the best that there is."""
        for stage in self.stages:
            stage.to(device, precision)
        return self

    def fingerprint(self) -> str:
        return _fingerprint([stage.fingerprint() for stage in self.stages], [LINKS.dump(link) for link in self.links])

    def save(self, folder: str | Path, shard: int = system_file.SHARD) -> Path:
        """Write the cascade to `folder`: a folder for each system, by its fingerprint, and `cascade.json`, which names
        them and is replaced last, so that a cascade or a system there before stays whole until this one is."""
        folder, names = Path(folder), []
        for stage in self.stages:
            stage.pin()
            name = f"stage-{stage.fingerprint()}"
            if name not in names:
                stage.save(folder / name, shard)
            names.append(name)
        stages = [{"folder": name, "system": name.removeprefix("stage-")} for name in names]
        links = [LINKS.dump(link) for link in self.links]
        spec = {"format": system_file.SYSTEM_FORMAT, "stages": stages, "links": links, "about": self.about}
        files.write_json(folder / CASCADE_FILE, spec)
        system_file.remove_system(folder)
        for old in folder.iterdir():
            if old.name not in names and _is_stage(old):
                shutil.rmtree(old, ignore_errors=True)
        return folder

    @staticmethod
    def load(folder: str | Path, device: str | None = None, precision: str | None = None) -> "Cascade":
        """Read a cascade from `folder`; a system that is several of its stages is read once, and so is a text encoder.

        Raises `FormatError` if it or a stage is missing, damaged, or written in another format.
        """
        folder = Path(folder)
        spec = read_cascade(folder)
        names = dict.fromkeys(stage.folder for stage in spec.stages)
        systems = {name: System.load(folder / name, device, precision) for name in names}
        for one, other in combinations(systems.values(), 2):
            other.conditioner = other.conditioner.sharing(one.conditioner)
        try:
            links = [LINKS.load(link) for link in spec.links]
            return Cascade([systems[stage.folder] for stage in spec.stages], links, spec.about)
        except InputError as error:
            raise FormatError(f"{folder / CASCADE_FILE}: {error}") from error


def read_cascade(folder: Path) -> CascadeFile:
    """What `cascade.json` in a folder says, of stages that are there and are the systems that it names."""
    path = folder / CASCADE_FILE
    table = system_file.read_spec(folder, CASCADE_FILE)
    try:
        spec = validate(CascadeFile, table, "")
    except InputError as error:
        raise FormatError(f"{path}: {error}") from error
    assert isinstance(spec, CascadeFile)
    for stage in dict.fromkeys(spec.stages):
        if not _FOLDER.fullmatch(stage.folder):
            raise FormatError(f"{path} names its stage {quoted(stage.folder)}: it should be a folder stage-… beside it")
        if not (folder / stage.folder / system_file.SYSTEM_FILE).is_file():
            raise FormatError(f"{folder} is not whole: the stage {stage.folder} is missing; copy the folder again")
        if system_file.saved_fingerprint(folder / stage.folder) != stage.system:
            raise FormatError(f"{folder} is damaged: {stage.folder} is another system; copy the folder again")
    return spec


def last_stage(folder: Path) -> Path:
    """The folder of the system that draws last: in that of a cascade the last of its stages, else the folder itself."""
    return folder / read_cascade(folder).stages[-1].folder if (folder / CASCADE_FILE).is_file() else folder


def _is_stage(folder: Path) -> bool:
    """Whether a folder is one that `save` made: it has the name of the system in it."""
    if not _FOLDER.fullmatch(folder.name):
        return False
    try:
        return folder.name == f"stage-{system_file.saved_fingerprint(folder)}"
    except (FormatError, NotFoundError):
        return False


def saved_stages(folder: Path) -> tuple[str, list[Path]]:
    """The fingerprint of the cascade or the system in a folder, by its tables alone, and the folders of its stages."""
    if not (folder / CASCADE_FILE).is_file():
        return system_file.saved_fingerprint(folder), [folder]
    spec = read_cascade(folder)
    found = _fingerprint([stage.system for stage in spec.stages], spec.links)
    return found, [folder / stage.folder for stage in spec.stages]


def _fingerprint(stages: Sequence[str], links: Sequence[dict[str, Any]]) -> str:
    return system_file.fingerprint({"stages": [*stages], "links": [*links]}, "")
