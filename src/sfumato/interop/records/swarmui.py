"""`parameters` as SwarmUI writes it: JSON, of which `sui_image_params` is what was asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.files import parse_json
from sfumato.interop.records.record import ForeignRecord, pixels_of, real_of, table_of, text_of, whole_of

_BEYOND = {
    "initimage": "the picture that it began from",
    "initimagecreativity": "the picture that it began from",
    "maskimage": "inpainting: the picture and the mask are not in the file",
    "refinermodel": "the refiner, a second model for the last steps",
    "refinermethod": "the refiner, a second pass",
    "refinerupscale": "the second pass at a higher resolution",
    "variationseed": "the noise of a second seed (variation seed)",
    "clipstopatlayer": "clip skip",
    "seamlesstileable": "tiling",
    "vae": "a VAE of its own",
    "comfyuicustomworkflow": "a workflow of its own",
}


def read_swarmui(texts: Mapping[str, str]) -> ForeignRecord | None:
    """The record in `parameters`; None unless it is SwarmUI's. A `FormatError` for one that is damaged."""
    text = texts.get("parameters", "").strip()
    if not (text.startswith("{") and "sui_image_params" in text):
        return None
    found = table_of(parse_json(text.encode(), "the record of SwarmUI").get("sui_image_params"))
    named = {name.replace("_", "").lower(): value for name, value in found.items()}
    return ForeignRecord(
        "SwarmUI",
        text_of(named.get("prompt")) or "",
        text_of(named.get("negativeprompt")) or "",
        whole_of(named.get("seed")),
        whole_of(named.get("steps")),
        text_of(named.get("sampler") or named.get("comfyuisampler")),
        text_of(named.get("scheduler") or named.get("comfyuischeduler")),
        real_of(named.get("cfgscale")),
        pixels_of(named.get("width"), named.get("height")),
        text_of(named.get("model")),
        {"swarm_version": version} if (version := text_of(named.get("swarmversion"))) else {},
        tuple(dict.fromkeys(_beyond(named))),
    )


def _beyond(named: Mapping[str, Any]) -> Iterator[str]:
    loras = named.get("loras")
    for lora in loras if isinstance(loras, list) else [loras]:
        if name := text_of(lora):
            yield f"LoRA {name}"
    yield from (
        f"ControlNet {named[name]}" for name in named if name.startswith("controlnet") and name.endswith("model")
    )
    yield from (words for name, words in _BEYOND.items() if named.get(name) not in (None, "", 0, False, "None"))
