"""`invokeai_metadata`, as InvokeAI 3 and later write it."""

from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.files import parse_json
from sfumato.interop.records.record import (
    ForeignRecord,
    pixels_of,
    real_of,
    table_of,
    tables_of,
    text_of,
    whole_of,
)

_FURTHER = ("app_version", "generation_mode", "rand_device", "vae")
_BEYOND = {
    "controlnets": "ControlNet",
    "ipAdapters": "IP-Adapter",
    "ip_adapters": "IP-Adapter",
    "t2iAdapters": "T2I-Adapter",
    "control_layers": "regional guidance (control layers)",
    "ref_images": "reference pictures",
    "hrf_enabled": "the second pass at a higher resolution (high resolution fix)",
    "refiner_model": "the refiner, a second model for the last steps",
    "clip_skip": "clip skip",
    "init_image": "the picture that it began from",
    "seamless_x": "tiling",
    "seamless_y": "tiling",
}


def read_invokeai(texts: Mapping[str, str]) -> ForeignRecord | None:
    """The record in `invokeai_metadata`; None where there is none. A `FormatError` for one that is damaged."""
    if "invokeai_metadata" not in texts:
        return None
    found = parse_json(texts["invokeai_metadata"].encode(), "the record of InvokeAI")
    return ForeignRecord(
        "InvokeAI",
        text_of(found.get("positive_prompt")) or "",
        text_of(found.get("negative_prompt")) or "",
        whole_of(found.get("seed")),
        whole_of(found.get("steps")),
        text_of(found.get("scheduler")),
        None,
        real_of(found.get("cfg_scale")),
        pixels_of(found.get("width"), found.get("height")),
        _name(found.get("model")),
        {name: text for name in _FURTHER if (text := _name(found.get(name)) or text_of(found.get(name)))},
        tuple(dict.fromkeys(_beyond(found))),
    )


def _name(model: Any) -> str | None:
    """The name of a model, which older versions call otherwise."""
    table = table_of(model)
    return text_of(table.get("name")) or text_of(table.get("model_name"))


def _beyond(found: Mapping[str, Any]) -> Iterator[str]:
    for lora in tables_of(found.get("loras")):
        yield f"LoRA {_name(lora.get('model') or lora.get('lora')) or ''}".strip()
    yield from (words for name, words in _BEYOND.items() if found.get(name))
    if rescale := real_of(found.get("cfg_rescale_multiplier")):
        yield f"guidance rescale by itself: give --rescale {rescale:g} too"
    if "img2img" in (mode := str(found.get("generation_mode"))) or "inpaint" in mode or "outpaint" in mode:
        yield f"the picture that it began from ({mode[:40]}, strength {found.get('strength')})"
    for name in ("positive_style_prompt", "negative_style_prompt"):
        if text_of(found.get(name)) not in (None, text_of(found.get(name.replace("_style", "")))):
            yield "a prompt of its own for the second text encoder (style prompt)"
