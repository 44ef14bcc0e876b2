"""Where the pictures that `composition.py` reads come from: real scenes, codecs, and systems with settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from cells import Prompt, real
from torch import Tensor
from torch.nn.functional import interpolate

from sfumato import load
from sfumato.codec import Latent
from sfumato.errors import InputError
from sfumato.files import tensors_sha256
from sfumato.library import load_codec
from sfumato.system import Cascade, System

SIDE = 128
Draw = Callable[[Sequence[Prompt], Sequence[int]], Tensor]
"""Prompts, and a seed for each → pictures [n, 3, 128, 128] in [−1, 1]."""


@dataclass(frozen=True)
class Source:
    """Where pictures come from: its name in the table, what its readings are kept under, what draws, and
    whether it shows the real scenes."""

    name: str
    key: str
    draw: Draw
    real: bool = False


def sources_of(systems: Sequence[str], codecs: Sequence[str], sweep: Sequence[str]) -> list[Source]:
    """Real scenes, these after each codec, and each system with each combination of the settings."""
    sources = [Source("real", "real", lambda own, seeds: real(own), real=True)]
    for where in codecs:
        codec = load_codec(where)
        name, key = f"real, after the codec of {Path(where).name}", tensors_sha256(codec.state_dict())[:12]
        sources.append(Source(name, key, through(codec), real=True))
    for where in systems:
        system = load(where)
        for settings in settings_of(sweep):
            chosen = " ".join(f"{key}={value}" for key, value in settings.items())
            drawing = arguments(system, settings)
            system.plan("a cat", seeds=[0], **drawing)  # settings that cannot be drawn with stop here
            name, key = f"{Path(where).name} {chosen}".strip(), f"{system.fingerprint()} {chosen}"
            sources.append(Source(name, key, drawn(system, drawing)))
    return sources


def through(codec: Latent) -> Draw:
    @torch.no_grad()
    def draw(own: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        return codec.decode(codec.encode(real(own))).clamp(-1, 1)

    return draw


def drawn(system: System | Cascade, drawing: dict[str, Any]) -> Draw:
    def draw(own: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        every = system.generate([one.text for one in own], seeds=[[seed] for seed in seeds], **drawing)
        pictures = every.data.float().cpu().expand(-1, 3, -1, -1)
        if pictures.shape[-2:] == (SIDE, SIDE):
            return pictures
        return interpolate(pictures, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)

    return draw


def settings_of(sweep: Sequence[str]) -> list[dict[str, Any]]:
    """Every combination of the values, "guidance=1,2 steps=10" say; one of nothing, where there are none."""
    axes = []
    for one in sweep:
        name, equals, values = one.partition("=")
        if not equals:
            raise InputError(f"--sweep takes NAME=VALUE,VALUE…, as in guidance=1,2, not {one}")
        axes.append([(name, value) for value in values.split(",")])
    return [dict(chosen) for chosen in product(*axes)]


def arguments(system: System | Cascade, settings: dict[str, str]) -> dict[str, Any]:
    """The settings as a drawing's arguments; those of a stage, named "0.steps", under `stages`."""
    drawing: dict[str, Any] = {}
    for name, text in settings.items():
        stage, dot, own = name.rpartition(".")
        if dot and not (isinstance(system, Cascade) and stage.isdigit() and int(stage) < len(system.stages)):
            raise InputError(f"the setting {name} is of a stage that the system does not have")
        if dot and isinstance(system, Cascade):
            drawing.setdefault("stages", [{} for _ in system.stages])[int(stage)][own] = _value(own, text)
        else:
            drawing[name] = _value(name, text)
    return drawing


def _value(name: str, text: str) -> Any:
    """A number of steps, an interval "low:high" or "none", any other number, or a name."""
    try:
        if name == "interval":
            return None if text == "none" else tuple(float(end) for end in text.split(":"))
        return int(text) if name == "steps" else float(text)
    except ValueError:
        return text
