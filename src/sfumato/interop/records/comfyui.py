"""ComfyUI's `prompt`, the graph that made a picture: its sampler is found, and what it was given along the links."""

from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.interop.records.comfy_graph import (
    Edge,
    Graph,
    ends,
    link_of,
    read_graph,
    upstream,
    value_of_input,
)
from sfumato.interop.records.record import ForeignRecord, pixels_of, real_of, text_of, whole_of
from sfumato.wording import few

_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_PARTS = ("noise", "guider", "sampler", "sigmas")
"""Inputs of a sampler that are nodes of their own and hold a part of its settings."""
_ENCODE, _NOTHING = "TextEncode", "ConditioningZeroOut"
_TEXTS = ("text", "text_g", "text_l", "t5xxl", "clip_l", "prompt")
_MODELS = ("ckpt_name", "unet_name")
_KNOWN = {
    *_SAMPLERS,
    *("KSamplerSelect", "BasicScheduler", "BasicGuider", "CFGGuider", "RandomNoise", "CheckpointLoaderSimple"),
    *("CheckpointLoader", "EmptyLatentImage", "EmptySD3LatentImage", "VAEDecode", "VAEDecodeTiled", "SaveImage"),
    *("PreviewImage", "SaveImageWebsocket", "Reroute", "PrimitiveNode", "CLIPTextEncode", "CLIPTextEncodeSDXL"),
    *("Seed Generator", "PrimitiveInt", "PrimitiveFloat", "PrimitiveString", "PrimitiveStringMultiline", _NOTHING),
}
_BEYOND = {
    "Lora": "LoRA",
    "ControlNet": "ControlNet",
    "CLIPSetLastLayer": "clip skip",
    "LatentUpscale": "a second pass at a higher resolution",
    "VAEEncode": "the picture that it began from",
    "LoadImage": "a picture that it was given",
    "UpscaleModel": "enlarging by a network",
    "ImageUpscale": "enlarging by a network",
    "IPAdapter": "IP-Adapter",
    "VAELoader": "a VAE of its own",
    "UNETLoader": "a model in parts: a single file that holds all of it is opened here",
}
"""Nodes by a part of their kind, and what they ask for."""


def read_comfyui(texts: Mapping[str, str]) -> ForeignRecord | None:
    """The record in `prompt`, or else in the editor's `workflow`; None where neither is a graph. A `FormatError` for a
    damaged one."""
    text = next((texts[name] for name in ("prompt", "workflow") if texts.get(name, "").lstrip().startswith("{")), None)
    if text is None:
        return None
    graph = read_graph(text)
    nodes = list(dict.fromkeys(link.node for link in upstream(graph, ends(graph))))
    samplers = [key for key in nodes if graph[key].kind in _SAMPLERS]
    beyond = tuple(dict.fromkeys(_beyond(graph, nodes)))
    if not samplers:
        return ForeignRecord("ComfyUI", beyond=("its sampler, which is of no kind that is known here", *beyond))
    passes = (f"the passes after the first: {len(samplers)} samplers follow one another",) if len(samplers) > 1 else ()
    return _record(graph, samplers[-1], (*passes, *beyond))


def _record(graph: Graph, key: str, beyond: tuple[str, ...]) -> ForeignRecord:
    """What the first sampler was given."""
    inputs = _settings(graph, key, set())
    number, text = (int, float, str), (str,)
    found = {name: value_of_input(graph, inputs.get(name), number) for name in ("steps", "cfg", "denoise", "width")}
    seed = value_of_input(graph, inputs.get("seed", inputs.get("noise_seed")), number)
    positive, negative = (_texts(graph, inputs.get(name)) for name in ("positive", "negative"))
    positive = positive or _texts(graph, inputs.get("conditioning"))
    unclear = [f"several texts in its {n} prompt" for n, t in (("own", positive), ("negative", negative)) if len(t) > 1]
    if (denoise := real_of(found["denoise"])) is not None and denoise < 1:
        unclear.append(f"the beginning from something else than noise (denoise {denoise:g})")
    return ForeignRecord(
        "ComfyUI",
        "\n".join(positive[:1]),
        "\n".join(negative[:1]),
        whole_of(seed),
        whole_of(found["steps"]),
        text_of(value_of_input(graph, inputs.get("sampler_name"), text)),
        text_of(value_of_input(graph, inputs.get("scheduler"), text)),
        real_of(found["cfg"]),
        _size(graph, inputs.get("latent_image")),
        _model(graph, inputs.get("model")),
        beyond=(*unclear, *beyond),
    )


def _settings(graph: Graph, key: str, seen: set[str]) -> dict[str, Any]:
    """The inputs of a sampler, and of the nodes that hold parts of its settings."""
    seen.add(key)
    own, found = graph[key].inputs, dict[str, Any]()
    for name in _PARTS:
        if (link := link_of(graph, own.get(name))) is not None and link.node not in seen and len(seen) < 20:
            found |= _settings(graph, link.node, seen)
    return {**found, **own}


def _texts(graph: Graph, value: Any) -> list[str]:
    """The texts of the nearest nodes that encode one."""
    found = []
    for link in upstream(graph, _start(graph, value), until=_ENCODE):
        kind, inputs = graph[link.node]
        if kind == _NOTHING:
            return []
        if _ENCODE in kind:
            texts = (text_of(value_of_input(graph, inputs.get(name), (str,))) for name in _TEXTS)
            found.append("\n".join(dict.fromkeys(text for text in texts if text)))
    return list(dict.fromkeys(text for text in found if text))


def _size(graph: Graph, value: Any) -> tuple[int, int] | None:
    """The size of the nearest latents that have one."""
    for link in upstream(graph, _start(graph, value)):
        inputs = graph[link.node].inputs
        if size := pixels_of(*(value_of_input(graph, inputs.get(n), (int, float, str)) for n in ("width", "height"))):
            return size
    return None


def _model(graph: Graph, value: Any) -> str | None:
    """The file of the nearest node that loads a model."""
    for link in upstream(graph, _start(graph, value)):
        inputs = graph[link.node].inputs
        if model := next((text for name in _MODELS if (text := text_of(inputs.get(name)))), None):
            return model
    return None


def _start(graph: Graph, value: Any) -> list[Edge]:
    link = link_of(graph, value)
    return [] if link is None else [link]


def _beyond(graph: Graph, nodes: list[str]) -> Iterator[str]:
    """What the nodes ask for that is not to be had here, and those that are not known."""
    unknown = []
    for kind, inputs in (graph[key] for key in nodes):
        words = next((words for part, words in _BEYOND.items() if part in kind), None)
        names = [text_of(inputs.get(name)) for name in ("lora_name", "stop_at_clip_layer", "vae_name")]
        if words is not None:
            yield " ".join([words, *filter(None, names)])
        elif kind not in _KNOWN:
            unknown.append(kind)
    if unknown:
        yield f"nodes that are not known here: {few(list(dict.fromkeys(unknown)))}"
