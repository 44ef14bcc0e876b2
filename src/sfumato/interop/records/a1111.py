"""`parameters` as Stable Diffusion web UI (AUTOMATIC1111), Forge, and tools that follow them write it."""

import json
import re
from collections.abc import Iterator, Mapping

from sfumato.interop.records.record import ForeignRecord, pixels_of, real_of, text_of, whole_of

_SETTING = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_MOST_LINE, _MOST_LINES = 2**16, 20
"""The longest line of settings, and how many lines from the end it is looked for."""
_NEGATIVE = "Negative prompt:"
_OWN = (
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Seed",
    "Size",
    "Model",
    "Hires prompt",
    "Hires negative prompt",
)
_BEYOND = {
    "Hires": "the second pass at a higher resolution (hires fix)",
    "First pass size": "the second pass at a higher resolution (hires fix)",
    "ControlNet": "ControlNet",
    "Lora hashes": "LoRA",
    "TI hashes": "textual inversion",
    "Hypernet": "a hypernetwork",
    "AddNet": "LoRA",
    "ADetailer": "ADetailer, which paints faces and hands anew",
    "Face restoration": "face restoration",
    "Variation seed": "the noise of a second seed (variation seed)",
    "Seed resize": "the noise of another size (seed resize)",
    "Refiner": "the refiner, a second model for the last steps",
    "Clip skip": "clip skip",
    "Tiling": "tiling",
    "ENSD": "a seed of its own for the sampler's noise (ENSD)",
    "Mask blur": "inpainting: the picture and the mask are not in the file",
    "Token merging": "token merging",
    "VAE": "a VAE of its own",
}
"""Settings by the beginning of their names, and what they ask for."""


def read_a1111(texts: Mapping[str, str]) -> ForeignRecord | None:
    """The record in `parameters`; None unless a line of it is settings."""
    lines = texts.get("parameters", "").strip().split("\n")
    place = next((i for i in list(range(len(lines)))[-1 : -1 - _MOST_LINES : -1] if len(_pairs(lines[i])) >= 3), None)
    if place is None:
        return None
    prompt, negative = _prompts(lines[:place])
    found = {name: _unquoted(value.strip()) for name, value in _pairs(lines[place])}
    width, _, height = found.get("Size", "").partition("x")
    return ForeignRecord(
        _tool(found.get("Version", "")),
        prompt,
        negative,
        whole_of(found.get("Seed")),
        whole_of(found.get("Steps")),
        text_of(found.get("Sampler")),
        text_of(found.get("Schedule type")),
        real_of(found.get("CFG scale")),
        pixels_of(width, height),
        text_of(found.get("Model")),
        {name: value for name, value in found.items() if name not in _OWN and value},
        tuple(dict.fromkeys(_beyond(found))),
    )


def _pairs(line: str) -> list[tuple[str, str]]:
    """The settings of a line, from comma to comma: a search at every character would take the square of its length."""
    found, start = [], 0
    while start < len(line) <= _MOST_LINE:
        if match := _SETTING.match(line, start):
            found.append((match[1], match[2]))
        start = match.end() if match else (line.find(",", start) + 1 or len(line))
    return found


def _prompts(lines: list[str]) -> tuple[str, str]:
    """The prompt and the negative one, which begins with the first line that names it."""
    lines = [line.strip() for line in lines]
    place = next((i for i, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = [lines[place].removeprefix(_NEGATIVE).strip(), *lines[place + 1 :]] if place < len(lines) else []
    return "\n".join(lines[:place]).strip(), "\n".join(negative).strip()


def _unquoted(value: str) -> str:
    if not (len(value) > 1 and value.startswith('"') and value.endswith('"')):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _tool(version: str) -> str:
    if version.startswith("Sfumato"):
        return "Sfumato"
    if version.lower().startswith("comfy"):
        return "ComfyUI"
    return "Forge" if re.match(r"f\d", version) else "A1111"


def _beyond(found: Mapping[str, str]) -> Iterator[str]:
    """What the settings ask for that is not to be had here."""
    for name, value in found.items():
        for start, words in _BEYOND.items():
            if name.startswith(start) and not (name == "Clip skip" and value == "1") and name != "VAE hash":
                yield f"{words} {value}" if name in ("Clip skip", "VAE", "Refiner") else words
    if "Denoising strength" in found and not any(name.startswith(("Hires", "First pass")) for name in found):
        yield f"the picture that it began from (img2img, denoising strength {found['Denoising strength']})"
