"""BERT, the encoder of many published text embeddings: read from their checkpoints, not trained here."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from sfumato.errors import FormatError

RENAMED = (
    (r"^embeddings\.word_embeddings\.", "words."),
    (r"^embeddings\.position_embeddings\.", "positions."),
    (r"^embeddings\.token_type_embeddings\.", "types."),
    (r"^embeddings\.LayerNorm\.", "norm."),
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.self\.", "."),
    (r"\.attention\.output\.dense\.", ".out."),
    (r"\.attention\.output\.LayerNorm\.", ".norm1."),
    (r"\.intermediate\.dense\.", ".widen."),
    (r"\.output\.dense\.", ".narrow."),
    (r"\.output\.LayerNorm\.", ".norm2."),
)
"""The names of the published checkpoints, and ours."""
UNUSED = re.compile(r"^(pooler\.|embeddings\.position_ids$)")


class Bert(nn.Module):
    """Whole numbers that stand for words [b, k] → a vector for each [b, k, width].

    `x = norm(word + position + type)`, then in each layer `x = norm(x + attention(x)); x = norm(x + mlp(x))`: the
    Transformer's encoder as first published, its norms after each sum (arXiv:1706.03762, section 3.1), with learned
    positions and the exact GELU (BERT, arXiv:1810.04805, section 3). Only texts of one part are read: all of type 0.
    Its weights are to be loaded: embeddings start as whatever is in memory.
    """

    def __init__(
        self,
        vocabulary: int = 30522,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        longest: int = 512,
        types: int = 2,
    ) -> None:
        super().__init__()
        self.longest = longest
        self.words, self.positions, self.types = (unset(rows, width) for rows in (vocabulary, longest, types))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(width, heads, hidden) for _ in range(layers))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [b, k], k ≤ longest; true in mask [b, k] counts, and each row has one such."""
        x = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types.weight[0])
        for layer in self.layers:
            x = layer(x, mask)
        return x


class BertLayer(nn.Module):
    """Self-attention and a perceptron, each added and then normalised: [b, k, width] → [b, k, width]."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = self.norm1(x + self.out(mixed.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.narrow(gelu(self.widen(x))))


def unset(rows: int, width: int) -> nn.Embedding:
    """An embedding that draws no weights: on the device meta, drawing would load torch's compiler, in seconds."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


def bert(tensors: Mapping[str, Tensor], heads: int) -> Bert:
    """The BERT of a checkpoint with the published names, in evaluation and without gradients.

    All sizes but the number of heads are those of its tensors. Raises `FormatError` for tensors that are no BERT.
    """
    named = {renamed(name): tensor for name, tensor in tensors.items() if not UNUSED.search(name)}
    try:
        (vocabulary, width), longest = named["words.weight"].shape, len(named["positions.weight"])
        layers = sum(name.endswith(".widen.weight") for name in named)
        hidden, types = len(named["layers.0.widen.weight"]), len(named["types.weight"])
        with torch.device("meta"):
            network = Bert(vocabulary, width, layers, heads, hidden, longest, types)
        network.load_state_dict(named, assign=True)
    except (KeyError, ValueError, RuntimeError) as error:
        raise FormatError(f"these weights are not those of a BERT: {error}; give a checkpoint of one") from error
    return network.eval().requires_grad_(False)


def renamed(name: str) -> str:
    """Our name for a published one."""
    for theirs, ours in RENAMED:
        name = re.sub(theirs, ours, name)
    return name
