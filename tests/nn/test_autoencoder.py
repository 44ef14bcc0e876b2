"""Autoencoders, against closed forms and diffusers' own."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.autoencoder import Autoencoder, KLAutoencoder, VQAutoencoder
from sfumato.parts import AUTOENCODERS

SMALL: dict[str, Any] = {"width": 8, "multipliers": (1, 2), "blocks": 1, "latent": 3}


def kl(**changes: Any) -> KLAutoencoder:
    torch.manual_seed(0)
    return KLAutoencoder(**SMALL | changes)


def vq(**changes: Any) -> VQAutoencoder:
    torch.manual_seed(0)
    return VQAutoencoder(**SMALL | {"codes": 7} | changes)


def awake(network: nn.Module) -> None:
    """Give the parts that begin as nothing something to do."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)


@pytest.mark.parametrize("make", [kl, vq])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch": 4},
        {"attention": False},
        {"multipliers": (1, 2, 2)},
        {"in_channels": 1},
        {"groups": 2, "attend": (1,)},
    ],
)
def test_shapes_and_sizes(make: Any, changes: dict[str, Any]) -> None:
    network: Autoencoder = make(**changes)
    f = network.factor
    assert f == network.patch * 2 ** (len(network.multipliers) - 1)
    x = torch.randn(2, network.in_channels, 2 * f, 3 * f)
    z = network.encode(x)
    assert z.shape == (2, 3, 2, 3)
    assert network.decode(z).shape == x.shape
    made, penalty = network(x, torch.randn_like(z))
    assert made.shape == x.shape and penalty.shape == (2,)
    with pytest.raises(ShapeError, match=f"multiple of {f}; the nearest that fits is {2 * f}×{f}"):
        network.encode(torch.randn(1, network.in_channels, f, 2 * f + 1))


def test_the_divergence_is_that_of_the_gaussians() -> None:
    network = kl()
    awake(network)
    x = torch.randn(2, 3, 8, 8)
    mean, logvar = network.moments(x)
    law = torch.distributions.Normal(mean, (logvar / 2).exp())
    expected = torch.distributions.kl_divergence(law, torch.distributions.Normal(0.0, 1.0)).flatten(1).mean(1)
    _, penalty = network(x, torch.zeros_like(mean))
    assert (penalty - expected).abs().max() <= 1e-5
    assert (network.encode(x) - mean).abs().max() == 0, "what is diffused is the mean"


def test_noise_shifts_latents_by_their_own_deviation() -> None:
    network = kl()
    awake(network)
    x, noise = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    mean, logvar = network.moments(x)
    made, _ = network(x, noise)
    assert (made - network.decode(mean + (logvar / 2).exp() * noise)).abs().max() <= 1e-5
    assert (made - network.decode(mean)).abs().max() > 1e-3


def test_what_is_decoded_has_noise_of_so_many_standard_deviations_of_the_latents() -> None:
    network = kl()
    awake(network)
    x, noise = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    mean, logvar = network.moments(x)
    own = mean.transpose(0, 1).flatten(1).std(1, correction=0)  # of each channel, over the batch
    for level in (torch.zeros(2), torch.tensor([0.3, 2.0])):
        std = (logvar.exp() + (level[:, None] * own).square()[:, :, None, None]).sqrt()
        made, penalty = network(x, noise, level)
        assert (made - network.decode(mean + std * noise)).abs().max() <= 1e-5
        assert torch.equal(penalty, network(x, noise).penalty), "what the latents cost is as before"


def test_codes_are_decoded_by_what_noisy_latents_are_nearest_to() -> None:
    network = vq()
    awake(network)
    x, noise, level = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4), torch.tensor([0.3, 2.0])
    z = network.encode(x)
    own = z.transpose(0, 1).flatten(1).std(1, correction=0)
    noised = z + (level[:, None] * own)[:, :, None, None] * noise
    assert not torch.equal(network.nearest(z), network.nearest(noised))
    made, penalty = network(x, noise, level)
    assert (made - network.decode(noised)).abs().max() <= 1e-5
    assert torch.equal(penalty, network(x, noise).penalty)


@pytest.mark.parametrize("make", [kl, vq])
def test_what_decides_the_latents_is_known(make: Any) -> None:
    network, x = make(), torch.randn(2, 3, 8, 8)
    awake(network)
    z, encoder_parameters = network.encode(x), network.encoder_parameters()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in encoder_parameters:
                parameter.add_(1.0)
        assert torch.equal(network.encode(x), z)
        for parameter in encoder_parameters.values():
            before = parameter.clone()
            parameter.add_(torch.randn_like(parameter))
            assert not torch.equal(network.encode(x), z)
            parameter.copy_(before)


def test_a_place_is_rounded_to_the_nearest_code() -> None:
    network = vq()
    awake(network)
    z = torch.randn(2, 3, 4, 4)
    distance = ((z[:, None] - network.book[None, :, :, None, None]) ** 2).sum(2)
    assert torch.equal(network.nearest(z), distance.argmin(1))
    rounded = network.round(z)
    assert (rounded - network.round(rounded)).abs().max() == 0
    assert (network.decode(z) - network.decode(rounded)).abs().max() <= 1e-6, "the decoder rounds"


def test_codes_are_found_in_full_precision() -> None:
    network = vq(codes=1024)
    z = torch.randn(8, 3, 8, 8) / 1024
    expected = network.nearest(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.nearest(z), expected)


def test_the_penalty_pulls_codes_and_latents_together_and_gradients_pass_straight() -> None:
    network = vq(commitment=0.3)
    awake(network)
    x = torch.randn(2, 3, 8, 8)
    z = network.encode(x)
    expected = 1.3 * ((z - network.round(z)) ** 2).flatten(1).mean(1)
    made, penalty = network(x, torch.zeros_like(z))
    assert (penalty - expected).abs().max() <= 1e-6
    (straight,) = torch.autograd.grad(made.sum(), network.to_codes.weight)
    assert straight.abs().max() > 0, "through the rounding, to the encoder"
    made, _ = network(x, torch.zeros_like(z))
    (none,) = torch.autograd.grad(made.sum(), network.book, allow_unused=True)
    assert none is None or none.abs().max() == 0, "codes learn by the penalty alone"


@pytest.mark.parametrize("make", [kl, vq])
def test_every_weight_gets_a_gradient(make: Any) -> None:
    network = make()
    awake(network)
    x = torch.randn(2, 3, 8, 8)
    made, penalty = network(x, torch.randn(2, 3, 4, 4))
    (((made - x) ** 2).mean() + penalty.mean()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


@pytest.mark.parametrize("make", [kl, vq])
def test_json_there_and_back(make: Any) -> None:
    network = make(patch=2, attention=False)
    again = AUTOENCODERS.load(AUTOENCODERS.dump(network))
    assert type(again) is type(network) and AUTOENCODERS.dump(again) == AUTOENCODERS.dump(network)
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"latent": 0}, "latent must be from 1"),
        ({"width": 0}, "width must be from 1"),
        ({"multipliers": ()}, "multipliers must be"),
        ({"blocks": 99}, "blocks must be from 1 to 16"),
        ({"patch": 0}, "patch must be from 1"),
        ({"groups": 3}, "groups must divide the 8 channels of each level, and 3 do not"),
        ({"groups": 0}, "groups must divide"),
        ({"attend": (1, 2)}, "attend names level 2, but the levels are 0 to 1"),
    ],
)
def test_what_cannot_be_built(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        kl(**changes)
    with pytest.raises(InputError, match="codes must be from 2"):
        vq(codes=1)
    with pytest.raises(InputError, match="hidden must be from 1 to 1,024, not 0"):
        vq(hidden=0)


def test_the_shape_of_stable_diffusion_is_its_own() -> None:
    """The same count of weights, part by part, for the published configuration."""
    with torch.device("meta"):
        mine = KLAutoencoder()
        theirs = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        )
    for part in ("encoder", "decoder"):
        counts = [sum(p.numel() for p in getattr(network, part).parameters()) for network in (mine, theirs)]
        assert counts[0] == counts[1]
    assert sum(p.numel() for p in mine.parameters()) == sum(p.numel() for p in theirs.parameters()) == 83_653_863
