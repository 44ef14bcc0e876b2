"""CLIP's text encoder: its formula, and what it refuses. Beside transformers it stands in test_clip_checkpoint.py."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.errors import InputError, ShapeError
from sfumato.nn.text.clip_tower import ClipTower

SIZES = {"vocabulary": 9, "width": 4, "layers": 2, "heads": 1, "hidden": 6, "length": 5}
IDS = torch.tensor([[7, 3, 8, 8], [7, 1, 4, 8]])


def tower(**others: object) -> ClipTower:
    torch.manual_seed(0)
    network = ClipTower(**{**SIZES, **others})  # pyright: ignore
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return network


def written_out(network: ClipTower, ids: Tensor) -> list[Tensor]:
    """The states of one text by their formula, before each layer and after the last."""
    x = network.words[ids] + network.places[: len(ids)]
    states = [x]
    for block in network.blocks:
        q, k, v = block.query_key_value(block.norm1(x)).split(4, dim=-1)  # pyright: ignore
        before = torch.ones(len(ids), len(ids)).tril().log()
        x = x + block.out((q @ k.T / math.sqrt(4) + before).softmax(-1) @ v)  # pyright: ignore
        h = block.widen(block.norm2(x))  # pyright: ignore
        x = x + block.narrow(h / (1 + torch.exp(-1.702 * h)))  # pyright: ignore
        states.append(x)
    return states


def test_it_is_its_formula() -> None:
    network = tower(projection=3)
    with torch.no_grad():
        last, pooled = network(IDS)
        for row, end in ((0, 2), (1, 3)):  # the first of two end marks
            states = written_out(network, IDS[row])
            wanted = network.norm(states[-1])
            assert (last[row] - wanted).abs().max() < 1e-5
            assert (pooled[row] - wanted[end] @ network.project.weight.T).abs().max() < 1e-5  # pyright: ignore
            for skip in range(3):
                assert (network(IDS, skip)[0][row] - states[-1 - skip]).abs().max() < 1e-5
        assert torch.equal(network(IDS, 1)[1], pooled), "the whole text is that of the last layer"


def test_a_place_does_not_see_what_comes_after() -> None:
    network = tower()
    other = IDS.clone()
    other[:, 2:] = torch.tensor([5, 6])
    with torch.no_grad():
        one, two = network(IDS)[0], network(other)[0]
    assert (one[:, :2] - two[:, :2]).abs().max() < 1e-6 and (one[:, 2:] - two[:, 2:]).abs().min(-1)[0].max() > 1e-3


def test_the_end_token_is_where_the_mask_has_it() -> None:
    with torch.no_grad():
        last, highest = tower()(IDS)
        assert torch.equal(highest, torch.stack([last[0, 2], last[1, 3]]))
        assert torch.equal(tower(end=4)(IDS)[1], torch.stack([last[0, 0], last[1, 2]])), (
            "the first place if there is none"
        )


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"heads": 3}, "3 heads do not divide"),
        ({"activation": "relu"}, "activation must be one of gelu, quick_gelu, not 'relu'"),
        ({"hidden": 0}, "hidden must be from 1 to"),
        ({"projection": -1}, "projection must be from 0"),
        ({"layers": 65}, "layers must be from 1 to 64"),
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        tower(**wrong)


def test_texts_that_are_too_long_and_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(ShapeError, match="reads 5 tokens, and was given 6"):
        tower()(torch.zeros(1, 6, dtype=torch.long))
    with pytest.raises(InputError, match="skip must be from 0 to 2"):
        tower()(IDS, 3)
