"""What dense layers draw of a condition at once: its formula, what it learns, and the network that is shown it."""

import copy

import pytest
import torch
from stirring import stirred
from torch import Tensor
from torch.nn.functional import interpolate, one_hot, silu

from sfumato.errors import InputError, ShapeError
from sfumato.nn.embedding import sinusoidal
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.layout import GATE_WIDTH, DenseLayout, WithLayout
from sfumato.nn.image.unet import UNet
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText

TIME = torch.tensor([0.2, 0.9])


def inside(**arguments: int) -> UNet:
    given = {"vector": 5, "context": 4, "concat": 2, **arguments}
    return UNet(2, 2, width=8, multipliers=(1, 2), blocks=1, attention=(), **given)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_it_is_its_formula_in_any_size() -> None:
    layout = stirred(DenseLayout(5, 2, side=4, width=16, time_scale=1000.0))
    assert isinstance(layout, DenseLayout)
    vector = drawn(2, 5)
    found, gate = layout(vector, TIME, 4, 4)
    for row in range(2):
        h = silu(layout.enter.weight @ vector[row] + layout.enter.bias)
        h = silu(layout.inner.weight @ h + layout.inner.bias)
        wanted = (layout.leave.weight @ h + layout.leave.bias).reshape(2, 4, 4)
        assert (found[row] - wanted).abs().max() < 1e-5
        sinusoids = sinusoidal(1000 * TIME[row, None], GATE_WIDTH)[0]
        assert (gate[row, :, 0, 0] - layout.gate.weight @ sinusoids - layout.gate.bias).abs().max() < 1e-5
    wide, _ = layout(vector, TIME, 6, 8)
    assert (wide - interpolate(found, (6, 8), mode="bilinear")).abs().max() < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("more", [0, 3])
def test_the_network_is_shown_the_map_and_it_is_added_by_its_gate(more: int) -> None:
    both = stirred(WithLayout(inside(concat=2 + more), DenseLayout(5, 2, side=4, width=16)))
    assert isinstance(both, WithLayout) and both.concat == more
    x, condition = drawn(2, 2, 8, 6), {"context": drawn(2, 3, 4, seed=1), "mask": torch.ones(2, 3, dtype=torch.bool)}
    vector, concat = drawn(2, 5, seed=2), drawn(2, more, 8, 6, seed=3)
    shown, gate = both.layout(vector, TIME, 8, 6)
    wanted = both.network(x, TIME, vector=vector, concat=torch.cat([concat, shown], 1), **condition) + gate * shown
    assert (both(x, TIME, vector=vector, concat=concat if more else None, **condition) - wanted).abs().max() < 1e-6
    assert (both(x, TIME, vector=-vector, concat=concat if more else None, **condition) - wanted).abs().max() > 1e-2


@torch.no_grad()
def test_its_vector_may_come_from_a_text_encoder() -> None:
    """A text that is learned to be read gives its vector too: the wrappers compose."""
    text = TextTransformer(7, 8, 1, 2, 5)
    both = stirred(WithText(WithLayout(inside(vector=8, context=8), DenseLayout(8, 2, side=4)), text))
    ids, mask = torch.tensor([[1, 5, 3], [1, 2, 0]])[..., None], torch.ones(2, 3, dtype=torch.bool)
    x = drawn(2, 2, 8, 8)
    found = both(x, TIME, context=ids, mask=mask)
    states = text(ids[..., 0], mask)
    wanted = both.network(x, TIME, vector=states.mean(1), context=states, mask=mask)
    assert found.shape == x.shape and (found - wanted).abs().max() < 1e-5


@torch.no_grad()
def test_untrained_it_changes_nothing() -> None:
    network = stirred(inside())
    both = WithLayout(copy.deepcopy(network), DenseLayout(5, 2, side=4))
    condition = {"vector": drawn(2, 5), "context": drawn(2, 3, 4), "mask": torch.ones(2, 3, dtype=torch.bool)}
    x = drawn(2, 2, 8, 8)
    alone = network(x, TIME, concat=torch.zeros(2, 2, 8, 8), **condition)
    assert (both(x, TIME, **condition) - alone).abs().max() < 1e-6


@pytest.mark.parametrize("kind", [UNet, DiT])
def test_what_a_class_looks_like_is_soon_learned_from_noise_alone(kind: type) -> None:
    """Given the class alone, at pure noise, the best estimate is the class mean: here the picture itself. A network
    alone has hardly begun when one with a layout is there."""
    pictures, classes = drawn(4, 1, 8, 8), torch.eye(4)
    sizes = {"width": 8, "multipliers": (1, 2), "attention": ()} if kind is UNet else {"width": 64, "depth": 2}
    errors = {}
    for concat in (1, 0):
        torch.manual_seed(0)
        network = kind(1, 1, vector=4, concat=concat, **sizes)
        whole = WithLayout(network, DenseLayout(4, 1, side=8, width=64)) if concat else network
        optimizer = torch.optim.Adam(whole.parameters(), lr=3e-3)
        for step in range(60):
            noise = drawn(4, 1, 8, 8, seed=1 + step)
            error = (whole(noise, torch.ones(4), vector=classes) - pictures).square().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
        errors[concat] = error.item()
    assert errors[1] < 0.05 and errors[1] < errors[0] / 4, errors


def test_around_it_is_the_network_with_a_narrower_input() -> None:
    both = WithLayout(inside(concat=6), DenseLayout(5, 2, side=4))
    assert (both.in_channels, both.out_channels, both.vector, both.context, both.concat) == (2, 2, 5, 4, 4)
    both.check_size(8, 6)
    with pytest.raises(ShapeError, match="the nearest that fits"):
        both.check_size(0, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vector": 4}, "vector should be 5, as the layout has it, not 4"),
        ({"concat": 1}, "concat should be 2 or more, the layout's channels, not 1"),
    ],
)
def test_a_network_that_it_does_not_fit_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WithLayout(inside(**arguments), DenseLayout(5, 2, side=4))


def test_what_gives_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="out_channels should be 3, as the layout has it, not 2"):
        WithLayout(inside(), DenseLayout(5, 3, side=4))


@pytest.mark.parametrize("wrong", [{"vector": 0}, {"channels": -1}, {"side": 0}, {"width": 2**17}])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="a layout's vector, channels, side and width must be from 1 to 65,536"):
        DenseLayout(**{"vector": 4, "channels": 1, "side": 4, **wrong})


def test_without_its_vector_it_says_so() -> None:
    both = WithLayout(inside(), DenseLayout(5, 2, side=4))
    condition = {"context": drawn(2, 3, 4), "mask": torch.ones(2, 3, dtype=torch.bool)}
    for vector, got in ((None, "nothing"), (one_hot(torch.tensor([1, 2]), 3).float(), "3")):
        with pytest.raises(InputError, match=f"takes 5 numbers in `vector`, and was given {got}"):
            both(drawn(2, 2, 8, 8), TIME, vector=vector, **condition)
