"""The transformer over tokens: its shape, what it depends on, what it can learn, and what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato.core.condition import Condition
from sfumato.core.noise import Noise
from sfumato.core.process import Masking
from sfumato.core.schedule import Flow
from sfumato.denoise import TokenDenoiser
from sfumato.errors import InputError
from sfumato.loss import TokenVLB
from sfumato.nn.text.token_transformer import TokenTransformer

SMALL: dict[str, Any] = {"width": 16, "depth": 1, "head_width": 8}
IDS, TIME = torch.tensor([[0, 3, 1, 2], [4, 4, 0, 1]]), torch.tensor([0.2, 0.9])


def small(awake: bool = True, **arguments: Any) -> TokenTransformer:
    """By default with its zeros replaced, since a network at its start answers nothing but zero."""
    torch.manual_seed(0)
    network = TokenTransformer(5, **{**SMALL, **arguments}).eval()
    for parameter in network.parameters():
        if awake and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network


def gap(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


@torch.no_grad()
def test_each_place_has_logits_that_depend_on_all_places_and_on_the_time() -> None:
    network = small()
    logits = network(IDS, TIME)
    assert logits.shape == (2, 4, 5)
    assert gap(network(IDS[:1], TIME[:1]), logits[:1]) < 1e-6, "and on no other sample"
    assert gap(network(IDS, TIME + 0.05), logits) > 1e-4
    changed = IDS.clone()
    changed[0, 3] = 0
    assert (network(changed, TIME)[0] - logits[0]).abs().amax(-1).min() > 1e-6
    assert gap(network(IDS.flip(1), TIME).flip(1), logits) > 1e-4, "positions are distinguished"
    assert network(IDS.repeat(1, 9), TIME).shape == (2, 36, 5)


@torch.no_grad()
def test_at_its_start_every_token_is_as_likely() -> None:
    assert not small(awake=False)(IDS, TIME).any()


@torch.no_grad()
def test_it_is_conditioned_on_a_vector_and_on_a_context() -> None:
    network = small(vector=3, context=6)
    context, mask = torch.randn(2, 3, 6), torch.tensor([[True, True, False]] * 2)
    given = Condition(torch.randn(2, 3), context, mask).given()
    logits = network(IDS, TIME, **given)
    assert gap(network(IDS, TIME, **{**given, "vector": given["vector"] + 1}), logits) > 1e-4
    assert gap(network(IDS, TIME, **{**given, "context": context + mask[..., None]}), logits) > 1e-5
    assert gap(network(IDS, TIME, **{**given, "context": context + ~mask[..., None]}), logits) < 1e-6
    with pytest.raises(InputError, match="vector"):
        network(IDS, TIME, context=context)


def test_it_learns_a_language_of_one_sequence() -> None:
    denoiser = TokenDenoiser(small(awake=False), Flow(), Masking(4))
    optimizer = torch.optim.Adam(denoiser.parameters(), 0.02)
    x_0, losses = torch.tensor([[2, 0, 1, 3]] * 16), []
    for step in range(40):
        noise = Masking(4).noise(Noise(range(16 * step, 16 * step + 16)).streams, 4)
        level = Flow()((torch.arange(16) + 0.5) / 16)
        loss = TokenVLB()(denoiser(Masking(4).corrupt(x_0, level, noise), level), x_0, Flow()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(2, rel=0.5) and losses[-1] < 0.1, "from 2 bits a token to none"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tokens": 0}, "tokens must be from 1 to 1,048,576, not 0$"),
        ({"width": 12}, "head_width 8 does not divide the width 12$"),
        ({"vector": -1}, "vector must be from 0"),
        ({"mlp": 0.0}, "mlp must be at least"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        TokenTransformer(**{"tokens": 5, **SMALL, **arguments})
