"""ComfyUI's graph: nodes by their ids, with a kind and inputs, which are values or links to outputs of others."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sfumato.errors import FormatError
from sfumato.files import parse_json
from sfumato.interop.records.record import table_of, tables_of

_MOST_NODES, _MOST_INPUTS = 4_000, 250
_MOST_STEPS = 32
"""How far a value is looked for along links."""
_VALUES = ("value", "text", "string", "prompt", "seed", "noise_seed", "int", "float", "number", "populated_text")
"""Inputs of nodes that give one value, whatever they are called, the likeliest first."""
_SAMPLER = ("steps", "cfg", "sampler_name", "scheduler")
_WIDGETS = {
    "KSampler": ("seed", "", *_SAMPLER, "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", "", *_SAMPLER, "start_at_step", "end_at_step"),
    "SamplerCustom": ("add_noise", "noise_seed", "", "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "RandomNoise": ("noise_seed",),
    "CFGGuider": ("cfg",),
    "CLIPTextEncode": ("text",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "EmptyLatentImage": ("width", "height"),
    "EmptySD3LatentImage": ("width", "height"),
    "LoraLoader": ("lora_name",),
    "LoraLoaderModelOnly": ("lora_name",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
}
"""The inputs that the editor keeps as a list, by the kind of their node."""


class Node(NamedTuple):
    kind: str
    inputs: Mapping[str, Any]


class Edge(NamedTuple):
    """A link to an output of a node; whether it is the second, which of two that go through a node is `negative`."""

    node: str
    second: bool = False


Graph = Mapping[str, Node]


def read_graph(text: str) -> Graph:
    """The graph that `prompt` holds, or, as the editor has it, `workflow`. A `FormatError` for what is damaged."""
    found = parse_json(text.encode(), "the graph of ComfyUI")
    if isinstance(found.get("nodes"), list):
        return _bounded(_of_editor(found))
    nodes = {key: table_of(value) for key, value in found.items()}
    return _bounded({key: Node(str(n.get("class_type")), table_of(n.get("inputs"))) for key, n in nodes.items() if n})


def link_of(graph: Graph, value: Any) -> Edge | None:
    """The link that an input is; None if it is a value, or leads nowhere."""
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], int) and str(value[0]) in graph):
        return None
    return Edge(str(value[0]), value[1] == 1)


def links(graph: Graph, link: Edge) -> Iterator[Edge]:
    """The links into a node, as far as they make this output of it: of the two that go through a node together,
    `positive` is the first and `negative` the second."""
    inputs = graph[link.node].inputs
    pair = {"positive", "negative"} <= inputs.keys() and "model" not in inputs
    for name, value in inputs.items():
        other = pair and name == ("negative", "positive")[link.second]
        if not other and (found := link_of(graph, value)) is not None:
            yield found


def upstream(graph: Graph, starts: Iterable[Edge], until: str = "") -> Iterator[Edge]:
    """The nodes from which outputs are made, these first and then by their distance; not beyond one whose kind holds
    `until`."""
    waiting, seen = deque(starts), set[Edge]()
    while waiting:
        link = waiting.popleft()
        if link not in seen:
            seen.add(link)
            yield link
            if not until or until not in graph[link.node].kind:
                waiting.extend(links(graph, link))


def ends(graph: Graph) -> list[Edge]:
    """The nodes from which no other is made, those first that save."""
    used = {link.node for node in graph.values() for value in node.inputs.values() if (link := link_of(graph, value))}
    return [Edge(key) for key in sorted(graph.keys() - used, key=lambda key: "Save" not in graph[key].kind)]


def value_of_input(graph: Graph, value: Any, kind: type | tuple[type, ...]) -> Any:
    """The value of an input, also where a node of one value gives it; None where it is not to be found."""
    for _ in range(_MOST_STEPS):
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        if (link := link_of(graph, value)) is None:
            return None
        inputs = graph[link.node].inputs
        value = next((inputs[name] for name in _VALUES if name in inputs), None)
        if value is None:
            values = [one for one in inputs.values() if isinstance(one, kind) or link_of(graph, one)]
            value = values[0] if len(values) == 1 else None
    return None


def _bounded(graph: Graph) -> Graph:
    if len(graph) > _MOST_NODES:
        raise FormatError(f"the graph of ComfyUI has {len(graph):,} nodes: more than {_MOST_NODES:,} are refused")
    if (most := max((len(node.inputs) for node in graph.values()), default=0)) > _MOST_INPUTS:
        raise FormatError(f"a node of ComfyUI's has {most:,} inputs: more than {_MOST_INPUTS:,} are refused")
    return graph


def _of_editor(found: Mapping[str, Any]) -> Graph:
    """The graph of `workflow`: links are a table of their own, and values a list that their node's kind reads."""
    table = found.get("links")
    rows = [row for row in table if isinstance(row, list) and len(row) > 2] if isinstance(table, list) else []
    sources = {str(row[0]): [str(row[1]), row[2]] for row in rows}
    graph = {}
    for node in tables_of(found.get("nodes")):
        kind, values = str(node.get("type")), node.get("widgets_values")
        listed = values if isinstance(values, list) else []
        inputs = {**table_of(values), **dict(zip(_WIDGETS.get(kind, ()), listed, strict=False))}
        named = {
            str(one.get("name")): sources[str(one["link"])]
            for one in tables_of(node.get("inputs"))
            if str(one.get("link")) in sources
        }
        graph[str(node.get("id"))] = Node(kind, {**inputs, **named})
    return graph
