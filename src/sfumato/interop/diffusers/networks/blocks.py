"""The names of weights in the blocks that the networks of diffusers share."""

from torch import Tensor, nn

from sfumato.keys import Entry, joined, layer
from sfumato.nn.attention import Attention
from sfumato.nn.blocks import Residual

_BEFORE = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
"""Names of the layers of attention over a picture in the first versions of diffusers."""


def residual_entries(block: Residual, ours: str, theirs: str) -> list[Entry]:
    """A `ResnetBlock2D`."""
    pairs = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2"}
    if block.embed is not None:
        pairs["embed"] = "time_emb_proj"
    if not isinstance(block.skip, nn.Identity):
        pairs["skip"] = "conv_shortcut"
    return [entry for own, other in pairs.items() for entry in layer(f"{ours}.{own}", f"{theirs}.{other}")]


def attention_entries(block: Attention, ours: str, theirs: str) -> list[Entry]:
    """An `Attention` over a picture, also by its names of before, when its layers were convolutions of one place."""
    layers = [
        *layer(f"{ours}.query", f"{theirs}.to_q"),
        *joined(f"{ours}.key_value", [f"{theirs}.to_k", f"{theirs}.to_v"]),
        *layer(f"{ours}.out", f"{theirs}.to_out.0"),
    ]
    normed = layer(f"{ours}.norm", f"{theirs}.group_norm") if isinstance(block.norm, nn.GroupNorm) else []
    return [*normed, *(_also_before(entry) for entry in layers)]


def _also_before(entry: Entry) -> Entry:
    def old(name: str) -> str:
        now = next(now for now in _BEFORE if now in name)
        return name.replace(now, _BEFORE[now])

    def flat(tensor: Tensor) -> Tensor:
        return tensor.reshape(tensor.shape[:2]) if tensor.ndim == 4 else tensor

    return entry._replace(
        read=lambda tensors: entry.read([flat(tensor) for tensor in tensors]),
        before=tuple(old(name) for name in entry.theirs),
    )
