"""Text towers of open_clip, by the names that single files of Stable Diffusion 2 and XL have kept."""

import re

from sfumato.keys import Entry, layer, renamed_entries, same, transposed
from sfumato.nn.text.clip_tower import ClipTower

LAYERS = {
    "out": "attn.out_proj",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "widen": "mlp.c_fc",
    "narrow": "mlp.c_proj",
}
OPEN_CLIP_PAD = "!"
"""The token of number 0, which open_clip fills texts up with."""


def open_clip_entries(tower: ClipTower, prefix: str) -> list[Entry]:
    """The names of its weights below `prefix`. Query, key and value are one matrix there as they are here, and the
    projection is the transpose of ours."""
    found = [
        same("words", "token_embedding.weight"),
        same("places", "positional_embedding"),
        *layer("norm", "ln_final"),
    ]
    for index in range(tower.layers):
        ours, theirs = f"blocks.{index}", f"transformer.resblocks.{index}"
        found += [
            same(f"{ours}.query_key_value.{kind}", f"{theirs}.attn.in_proj_{kind}") for kind in ("weight", "bias")
        ]
        for own, other in LAYERS.items():
            found += layer(f"{ours}.{own}", f"{theirs}.{other}")
    if tower.projection:
        found.append(transposed("project.weight", "text_projection"))
    return renamed_entries(found, f"{prefix}{{}}".format)


def open_clip_ignores(tower: ClipTower, name: str) -> bool:
    """Whether this tower has no use for the weight of that name, without its prefix: Stable Diffusion 2 leaves out the
    last block, and the projection with it."""
    block = re.match(r"transformer\.resblocks\.(\d+)\.", name)
    beyond = block is not None and int(block[1]) >= tower.layers
    idle = name in ("logit_scale", "attn_mask")
    return beyond or idle or (name == "text_projection" and not tower.projection)
