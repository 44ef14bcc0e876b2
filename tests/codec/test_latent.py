"""Latents as samples."""

import pytest
import torch
from torch import Tensor

from sfumato.codec import Codec, Latent, tiles
from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.autoencoder import ConvolutionalAutoencoder, KLAutoencoder
from sfumato.parts import CODECS


class Halves(ConvolutionalAutoencoder):
    """Latents known in closed form: the first `latent` channels of the picture, each 2×2 square by its mean."""

    def __init__(self) -> None:
        super().__init__(in_channels=3, latent=3, width=8, multipliers=(1, 1), blocks=1, attention=False)

    def encode(self, pictures: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(pictures, 2)

    def decode(self, latents: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(latents, scale_factor=2)


def test_latents_are_moved_and_scaled_channel_by_channel() -> None:
    codec = Latent(Halves(), shift=(0.1, -0.2, 0.3), scale=(2.0, 4.0, 8.0))
    flat = torch.tensor([0.5, 0.25, -0.5])
    x = flat[:, None, None].expand(2, 3, 4, 6)
    z = codec.encode(x)
    assert z.shape[1:] == codec.shape((6, 4)) == (3, 2, 3)
    assert (z[0, :, 0, 0] - torch.tensor([0.8, 1.8, -6.4])).abs().max() <= 1e-6
    assert (codec.decode(z) - x).abs().max() <= 1e-6


def test_one_number_stands_for_all_channels() -> None:
    codec = Latent(Halves(), shift=(0.5,), scale=(3.0,))
    x = torch.rand(1, 3, 2, 2)
    assert (codec.encode(x) - 3 * (torch.nn.functional.avg_pool2d(x, 2) - 0.5)).abs().max() <= 1e-6


def test_pictures_stay_within_their_bounds() -> None:
    assert Latent(Halves()).decode(torch.full((1, 3, 1, 1), 9.0)).max() == 1


def test_it_is_a_codec_and_a_part() -> None:
    codec = Latent(KLAutoencoder(width=8, multipliers=(1, 2), blocks=1, in_channels=1), (0.1,), (2.0,))
    assert isinstance(codec, Codec) and codec.limit is None and (codec.medium.channels, codec.channels) == (1, 4)
    again = CODECS.load(CODECS.dump(codec))
    assert CODECS.dump(again) == CODECS.dump(codec)


def test_gradients_are_not_kept() -> None:
    codec = Latent(KLAutoencoder(width=8, multipliers=(1, 2), blocks=1))
    z = codec.encode(torch.rand(1, 3, 4, 4))
    assert not z.requires_grad and not codec.decode(z).requires_grad


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="shift must hold 1 or 3 numbers, not 2"):
        Latent(Halves(), shift=(0.0, 1.0))
    with pytest.raises(InputError, match="scale must be above 0"):
        Latent(Halves(), scale=(0.0,))
    with pytest.raises(ShapeError, match="nearest that fits"):
        Latent(Halves()).shape((5, 4))
    for x in (torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4)):
        with pytest.raises(ShapeError, match=r"^\[n, 3, h, w\] is wanted, not \["):
            Latent(Halves()).encode(x)
        with pytest.raises(ShapeError, match=r"^\[n, 3, h, w\] is wanted, not \["):
            Latent(Halves()).decode(x)


def test_a_masked_condition_is_the_mask_and_the_latents_outside_it() -> None:
    codec, picture, mask = Latent(Halves()), torch.full((3, 4, 4), 0.5), torch.eye(4)
    plain = codec.masked_condition(picture, mask).given()["concat"]
    assert plain.shape == (1, 1 + codec.channels, 2, 2)
    for same in (mask.bool(), mask.double(), (mask * 255).to(torch.uint8)):
        assert torch.equal(codec.masked_condition(picture, same).given()["concat"], plain)
    bytes_ = (picture + 1) * 127.5
    for wrong in ((bytes_, mask), (bytes_.to(torch.uint8), mask), (picture / 0, mask), (picture, mask / 0)):
        with pytest.raises(InputError, match=r"^a picture holds real numbers in \[−1, 1\].* and a mask no NaN$"):
            codec.masked_condition(*wrong)


def test_autocast_and_inference_mode_around_a_codec_change_nothing() -> None:
    torch.manual_seed(0)
    codec = Latent(KLAutoencoder(width=8, multipliers=(1, 2), blocks=1))
    x = torch.rand(1, 3, 4, 4) * 2 - 1
    z, mask = codec.encode(x), torch.eye(4)
    found = z, codec.decode(z), codec.masked_condition(x[0], mask).given()["concat"]
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        inside = codec.encode(x), codec.decode(z), codec.masked_condition(x[0], mask).given()["concat"]
    assert all(map(torch.equal, inside, found)) and not any(one.is_inference() for one in inside)


# In tiles -------------------------------------------------------------------------------------------------------------


class Seen(Halves):
    """`Halves`, and the sizes of what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def encode(self, pictures: Tensor) -> Tensor:
        self.sizes.append(tuple(pictures.shape[-2:]))
        return super().encode(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        self.sizes.append(tuple(latents.shape[-2:]))
        return super().decode(latents)


@pytest.mark.parametrize("size", [(65, 64), (40, 150), (161, 112)])
def test_tiles_are_put_together_as_they_were(size: tuple[int, int]) -> None:
    """A network that sees one place at a time gives the same in tiles, which are never larger than 64 latents."""
    network = Seen()
    codec = Latent(network, shift=(0.1,), scale=(2.0,))
    x = torch.rand(2, 3, 2 * size[0], 2 * size[1]) * 2 - 1
    z = codec.encode(x)
    made = codec.decode(z)
    assert network.sizes == [(2 * size[0], 2 * size[1]), size], "below the bound, in one piece"
    network.sizes.clear()
    codec.whole = 80
    assert (codec.encode(x) - z).abs().max() <= 1e-6
    assert max(max(sides) for sides in network.sizes) == 128
    network.sizes.clear()
    assert (codec.decode(z) - made).abs().max() <= 1e-6
    assert max(max(sides) for sides in network.sizes) == 64


class Marked(Halves):
    """Every tile in the colour of its number."""

    def decode(self, latents: Tensor) -> Tensor:
        self.nth = getattr(self, "nth", -1) + 1
        return torch.full((len(latents), 3, *(2 * side for side in latents.shape[-2:])), 0.5 * self.nth)


def test_tiles_fade_linearly_into_each_other() -> None:
    codec = Latent(Marked())
    codec.whole = 200
    made = codec.decode(torch.zeros(1, 3, 64, 112))  # tiles at 0 and at 48: 32 pixels shared
    expected = torch.cat([torch.zeros(96), (torch.arange(32) + 0.5) / 64, torch.full((96,), 0.5)])
    assert (made - expected).abs().max() <= 1e-6


def test_a_network_in_tiles_is_near_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = KLAutoencoder(width=4, multipliers=(1, 1), blocks=1, attention=False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    codec = Latent(network)
    across = torch.arange(112) * torch.pi / 8  # waves of 16 latents, so that norms are alike in each tile
    z = (across[:48, None] + across).sin().expand(1, 4, 48, 112)
    made = codec.decode(z)
    codec.whole = 128
    faded = (codec.decode(z) - made).abs() / made.std()
    assert 0 < faded.mean() < 0.01
    monkeypatch.setattr(tiles, "OVERLAP", 1)
    assert faded.max() < (codec.decode(z) - made).abs().max() / made.std() / 5, "than with hard borders"
    with pytest.raises(ShapeError, match="multiple of 2"):
        codec.encode(torch.zeros(1, 3, 301, 300))
