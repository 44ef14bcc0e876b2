"""The options of a cascade's stages, as the command line spells them."""

from collections.abc import Sequence

from sfumato.errors import InputError, nearest, quoted
from sfumato.parts import value_of
from sfumato.system.cascade import Cascade
from sfumato.system.drawing import Drawing
from sfumato.system.settings import Overrides
from sfumato.system.system import System

STAGE_OPTIONS = (*Overrides.__annotations__, "negative")


def stage_drawings(settings: Sequence[str], system: System | Cascade) -> list[Drawing]:
    """The drawing of each stage that settings such as "0.steps=10" spell; an `InputError` for what no stage has."""
    if not isinstance(system, Cascade):
        raise InputError("--set is for the stages of a cascade, and this is one system: give the options themselves")
    drawings = [Drawing() for _ in system.stages]
    for setting in settings:
        place, sign, text = setting.partition("=")
        stage, dot, name = place.partition(".")
        if not (sign and dot and stage.isdecimal() and len(stage) < 5 and int(stage) < len(drawings)):
            numbers = f"0 to {len(drawings) - 1}"
            raise InputError(f"--set wants STAGE.OPTION=VALUE, STAGE from {numbers}, not {quoted(setting)}")
        if name not in STAGE_OPTIONS:
            raise InputError(f"a stage has no option {quoted(name)}; {nearest(name, STAGE_OPTIONS)}")
        drawings[int(stage)][name] = _value(name, text, system.stages[int(stage)])
    return drawings


def _value(name: str, text: str, system: System) -> object:
    if name == "size":
        return system.medium.parse_size(text)
    if name in ("sampler", "spacing", "negative"):
        return text
    return value_of(f"[{text}]" if name == "interval" else text)
