"""The U-Net and the transformer over sequences: the mathematics of those over pictures, kernels along one axis."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato import parts
from sfumato.errors import InputError, ShapeError
from sfumato.nn.audio.dit import DiT1D
from sfumato.nn.audio.unet import UNet1D
from sfumato.nn.blocks import shuffled, unshuffled
from sfumato.nn.dropout import sample_seeds
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.unet import UNet

INPUTS: dict[str, Any] = {"vector": 3, "context": 5, "concat": 2}
UNETS: dict[str, dict[str, Any]] = {
    "ddpm": {},
    "adm": {"scale_shift": True, "resample": "residual", "head_width": 8},
    "patched": {"patch": 4},
    "latent": {"depth": (1, 2), "heads": (4, 2), "attention": (0, 1), "cosine_first": True, "vector_mlp": True},
    "converted": {"depth": (1, 1), "heads": (4, 2), "projection": "convolution", "padding": "end", "groups": 8},
}
DITS: dict[str, dict[str, Any]] = {
    "patched": {},
    "unpatched": {"patch": 1},
    "published": {"modulation": "block", "qk_norm": False, "base_size": 8},
}
T = torch.tensor([10.0, 700.0])
Build = Callable[..., Any]


def awake(network: Any) -> Any:
    """The network with its zeros replaced, since at its start it answers nothing but zero."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def unet(kind: str = "ddpm", **arguments: Any) -> UNet1D:
    torch.manual_seed(0)
    small = {"width": 40, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "in_channels": 2, "out_channels": 2}
    return UNet1D(**{**small, **UNETS[kind], **arguments})


def dit(kind: str = "patched", **arguments: Any) -> DiT1D:
    torch.manual_seed(0)
    small = {"width": 32, "depth": 2, "head_width": 8, "in_channels": 2, "out_channels": 2}
    return DiT1D(**{**small, **DITS[kind], **arguments})


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def given(b: int = 2, n: int = 16) -> dict[str, Tensor]:
    """Something for every conditioning input; the last two tokens are masked."""
    mask = torch.arange(4).expand(b, 4) < 2
    return {"vector": drawn(b, 3, seed=1), "context": drawn(b, 4, 5, seed=2), "mask": mask, "concat": drawn(b, 2, n)}


def gap(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


both = pytest.mark.parametrize("build", [unet, dit])
each = pytest.mark.parametrize(
    ("build", "kind"),
    [pytest.param(build, kind, id=kind) for build, kinds in ((unet, UNETS), (dit, DITS)) for kind in kinds],
)


@each
def test_the_start_is_exactly_zero(build: Build, kind: str) -> None:
    network = build(kind, **INPUTS)
    assert torch.equal(network(drawn(2, 2, 16), T, **given()), torch.zeros(2, 2, 16))


@each
def test_every_parameter_learns(build: Build, kind: str) -> None:
    network = awake(build(kind, **INPUTS))
    (network(drawn(2, 2, 16), T, **given()) * drawn(2, 2, 16, seed=9)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@each
def test_a_sample_does_not_depend_on_its_batch(build: Build, kind: str) -> None:
    network, inputs = awake(build(kind, **INPUTS)), given()
    with torch.no_grad():
        together = network(drawn(2, 2, 16), T, **inputs)
        alone = network(drawn(2, 2, 16)[1:], T[1:], **{name: value[1:] for name, value in inputs.items()})
    assert gap(together[1:], alone) < 1e-5


@pytest.mark.parametrize("padding", ["both", "end"])
@pytest.mark.parametrize("length", [5, 9, 13, 64])
def test_odd_lengths_are_halved_and_doubled_again(length: int, padding: str) -> None:
    network = awake(unet(multipliers=(1, 2, 2), padding=padding))
    out = network(drawn(2, 2, length), T)
    assert out.shape == (2, 2, length) and out.std(2).min() > 1e-3


@pytest.mark.parametrize("kind", ["ddpm", "latent", "converted"])
def test_a_picture_of_one_row_is_answered_alike_by_the_same_weights(kind: str) -> None:
    """Zeros above and below leave of each kernel its middle row: the network over pictures is that over sequences."""
    flat = awake(unet(kind, padding="both", **INPUTS))
    over = UNet(**{name: getattr(flat, name) for name in parts.NETWORKS.dump(flat) if name != "kind"}).eval()
    with torch.no_grad():
        weights = over.state_dict()
        for name, value in flat.state_dict().items():
            weights[name].copy_(drawn(*weights[name].shape))  # rows that count for nothing
            if weights[name].ndim == 4:
                weights[name][:, :, weights[name].shape[2] // 2] = value
            else:
                weights[name].copy_(value)
        inputs = given()
        wanted = over(drawn(2, 2, 16)[:, :, None], T, **{**inputs, "concat": inputs["concat"][:, :, None]})
        assert wanted.std() > 0.05
        assert gap(flat(drawn(2, 2, 16), T, **inputs), wanted[:, :, 0]) < 1e-5 * wanted.abs().max()


def test_a_picture_of_one_column_is_answered_alike_by_the_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of one place are the same vectors; only the places are written otherwise."""
    flat = awake(dit("unpatched", **INPUTS))
    over = DiT(**{name: getattr(flat, name) for name in parts.NETWORKS.dump(flat) if name != "kind"}).eval()
    over.load_state_dict(flat.state_dict())
    monkeypatch.setattr(over, "positions", lambda size, device: flat.positions((size[0] * size[1],), device))
    inputs = given()
    with torch.no_grad():
        wanted = over(drawn(2, 2, 16)[..., None], T, **{**inputs, "concat": inputs["concat"][..., None]})
        assert wanted.std() > 0.05
        assert gap(flat(drawn(2, 2, 16), T, **inputs), wanted[..., 0]) < 1e-5 * wanted.abs().max()


def test_a_network_of_convolutions_sees_as_far_as_its_kernels_reach() -> None:
    """Norms, which look at the whole length, are left out here."""
    network = awake(unet(multipliers=(1,), attention=(), bottom="none"))
    for name, module in network.named_modules():
        if isinstance(module, nn.GroupNorm):
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.Identity())
    x = drawn(1, 2, 64)
    changed = x.clone()
    changed[..., 30] += 1
    with torch.no_grad():
        seen = (network(changed, T[:1]) - network(x, T[:1])).abs().amax((0, 1)).nonzero()[:, 0]
        reach = 1 + 3 * 2 + 1  # the first and last convolutions, and two in each of the residual blocks
        assert (seen.min(), seen.max()) == (30 - reach, 30 + reach)
        rolled = network(x.roll(8, -1), T[:1]).roll(-8, -1)
        assert gap(rolled[..., 12:40], network(x, T[:1])[..., 12:40]) < 1e-5  # away from the ends, wherever it stands


def test_a_patch_stays_in_its_place() -> None:
    network = awake(dit(depth=1, patch=4))
    for tensor in (network.modulate.weight, network.modulate.bias, network.blocks[0].table):
        nn.init.zeros_(tensor)
    x = drawn(1, 2, 24)
    changed = x.clone()
    changed[..., 8:12] += drawn(2, 4, seed=1)
    with torch.no_grad():
        seen = (network(changed, T[:1]) - network(x, T[:1])).abs().amax((0, 1)) > 1e-4
    assert seen[8:12].all() and seen.sum() == 4


def test_positions_of_a_sequence_are_distinguished() -> None:
    network, x = awake(dit()), drawn(1, 2, 16)
    with torch.no_grad():
        assert gap(network(x.roll(4, -1), T[:1]), network(x, T[:1]).roll(4, -1)) > 1e-2


def test_patches_of_a_sequence_come_apart_and_together() -> None:
    x = torch.arange(12.0).reshape(1, 2, 6)
    assert unshuffled(x, 3).tolist() == [[[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8, 11]]]
    assert torch.equal(shuffled(unshuffled(x, 3), 3), x)


def test_kernels_over_pictures_have_three_times_the_weights() -> None:
    with torch.device("meta"):
        flat, over = UNet1D(), UNet()
    kernels = sum(p.numel() for p in flat.parameters() if p.ndim == 3 and p.shape[-1] == 3)
    assert count(over) == count(flat) + 2 * kernels


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@both
def test_it_is_built_on_the_meta_device_and_in_float64(build: Build) -> None:
    with torch.device("meta"):
        assert build()(torch.empty(2, 2, 16), torch.empty(2)).shape == (2, 2, 16)
    torch.set_default_dtype(torch.float64)
    try:
        network = awake(build(**INPUTS))
        inputs = {name: value if name == "mask" else value.double() for name, value in given().items()}
        out = network(drawn(2, 2, 16).double(), T, **inputs)
    finally:
        torch.set_default_dtype(torch.float32)
    assert out.dtype == torch.float64 and out.isfinite().all()


@both
def test_dropout_of_a_sample_is_its_own(build: Build) -> None:
    network, x = awake(build(dropout=0.5)).train(), drawn(2, 2, 16)
    with torch.no_grad(), sample_seeds(torch.tensor([5, 9])):
        together = network(x, T)
    with torch.no_grad(), sample_seeds(torch.tensor([9])):
        assert gap(network(x[1:], T[1:]), together[1:]) < 1e-5
    with torch.no_grad(), sample_seeds(torch.tensor([6])):
        assert gap(network(x[1:], T[1:]), together[1:]) > 1e-3


@both
def test_time_scale_multiplies_time(build: Build) -> None:
    x = drawn(1, 2, 16)
    with torch.no_grad():
        one = awake(build(time_scale=1000.0))(x, torch.tensor([0.25]))
        assert gap(one, awake(build())(x, torch.tensor([250.0]))) < 1e-6


@both
@pytest.mark.parametrize("name", INPUTS)
def test_a_conditioning_input_that_is_missing_is_named(name: str, build: Build) -> None:
    inputs = {key: value for key, value in given().items() if key != name}
    with pytest.raises(InputError, match=f"`{name}`"):
        build(**INPUTS)(drawn(2, 2, 16), T, **inputs)


@pytest.mark.parametrize(
    ("network", "length", "message"),
    [
        (unet(resample="residual"), 9, "a sequence of length 9 does not fit a U-Net of 2 levels: its length must be a"),
        (unet(patch=4), 30, "a multiple of 4; the nearest that fits is 32$"),
        (unet(multipliers=(1, 2, 2), padding="end"), 3, "of 1 and 4 or more; the nearest that fits is 4$"),
        (dit(patch=8), 1, "a transformer of patch 8: its length must be a multiple of 8; the nearest that fits is 8$"),
    ],
)
def test_a_length_that_does_not_fit_names_the_nearest_that_does(network: Any, length: int, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        network(torch.zeros(1, 2, length), T[:1])


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (unet(), (1, 2, 8, 8), r"takes sequences \[b, c, length\], not samples of 2 axes"),
        (dit(), (1, 2, 8, 8), r"takes sequences \[b, c, length\], not samples of 2 axes"),
        (DiT(width=32, depth=1, head_width=8), (1, 3, 8), r"takes pictures \[b, c, height, width\], not .* of 1 axes"),
    ],
)
def test_a_sample_of_another_number_of_axes_is_refused(network: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        network(torch.zeros(shape), T[:1])


@pytest.mark.parametrize(("build", "kind"), [(unet, "unet-1d"), (dit, "dit-1d")])
def test_they_are_kinds_of_networks(build: Build, kind: str) -> None:
    data = parts.NETWORKS.dump(build(dropout=0.25))
    assert data["kind"] == kind and data["dropout"] == 0.25
    assert parts.NETWORKS.dump(parts.NETWORKS.load(data)) == data
