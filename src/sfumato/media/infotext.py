"""A record as the text `parameters` of Stable Diffusion web UI (AUTOMATIC1111), which galleries and many tools read:

a cat
Negative prompt: blurred
Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, …
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.foreign.samplers import SAMPLER_NAMES, SPACING_NAMES, KnownMethod
from sfumato.media.protocol import Record
from sfumato.wording import well_formed

_UNSPOKEN: dict[str, dict[str, Any]] = {
    "euler": {"churn": 0},
    "euler-ancestral": {"eta": 1},
    "heun": {"churn": 0, "along": "sigma"},
    "lms": {"order": 4},
    "ddim": {"eta": 0},
    "dpm++": {"order": 2, "eta": 0, "form": "midpoint"},
    "dpm++2s": {"eta": 0},
    "unipc": {"order": 2, "b": "bh2"},
    "plms": {"order": 4},
    "karras": {"rho": 7},
    "discrete": {"sigmas": "table"},
}
"""The settings of a kind that its name means where it does not name them."""
_VALUES: dict[str, Any] = {"true": True, "false": False} | {str(number): number for number in range(10)}


def infotext(record: Record) -> str:
    """The text of a record; "" if it has nothing that the text could say. Of several stages it says what the last drew
    with, whose the options of a drawing are."""
    stages = record.get("stages")
    stages = [one for one in stages if isinstance(one, Mapping)] if isinstance(stages, list) else []
    last = {**(stages[-1] if stages else {}), **record}
    prompt, negative = (str(last[key]) if last.get(key) is not None else "" for key in ("prompt", "negative"))
    lines = [prompt, f"Negative prompt: {negative}" if negative else "", ", ".join(_settings(last))]
    return well_formed("\n".join(filter(None, lines)).strip())


def _settings(record: Mapping[str, Any]) -> Iterator[str]:
    """The settings of the last line, in the order of that tool."""
    size = record.get("size")
    values = {
        "Steps": record.get("steps"),
        "Sampler": _name(record.get("sampler"), SAMPLER_NAMES),
        "Schedule type": _name(record.get("spacing"), SPACING_NAMES),
        "CFG scale": record.get("guidance"),
        "Seed": record.get("seed"),
        "Size": "x".join(map(str, size)) if isinstance(size, list | tuple) and len(size) == 2 else None,
        "Model hash": record.get("system"),
        "Model": _last(record.get("model")),
        "Version": f"Sfumato {record['sfumato']}" if record.get("sfumato") is not None else None,
    }
    return (f"{name}: {_quoted(value)}" for name, value in values.items() if value is not None)


def _name(part: Any, known: tuple[KnownMethod, ...]) -> str | None:
    """A sampler or a spacing by its name there; by its kind here, where there is none."""
    if not isinstance(part, Mapping):
        return None
    names = (method.a1111[0] for method in known if method.a1111 and _is(part, method.here))
    return next(names, str(part.get("kind")))


def _is(part: Mapping[str, Any], spelled: str) -> bool:
    """Whether a part, as a record holds it, is the one that is spelled so."""
    kind, *settings = spelled.split(",")
    given = dict(setting.split("=") for setting in settings)
    wanted = _UNSPOKEN.get(kind, {}) | {name: _VALUES.get(text, text) for name, text in given.items()}
    return part.get("kind") == kind and all(part.get(name) == value for name, value in wanted.items())


def _last(model: Any) -> str | None:
    """The name of a model without its folders, which are the user's own."""
    return None if model is None else re.split(r"[\\/]", str(model).rstrip("\\/"))[-1].removesuffix(".safetensors")


def _quoted(value: Any) -> str:
    """A value of the last line: JSON, where it holds what would end it."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:\n"') else text
