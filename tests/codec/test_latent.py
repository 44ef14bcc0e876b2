"""Latents as samples."""

import pytest
import torch
from torch import Tensor

from sfumato.codec import Codec, Latent
from sfumato.errors import InputError, ShapeError
from sfumato.nn.autoencoder import Autoencoder, KLAutoencoder
from sfumato.parts import CODECS


class Halves(Autoencoder):
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
    assert isinstance(codec, Codec) and codec.limit is None and (codec.colours, codec.channels) == (1, 4)
    again = CODECS.load(CODECS.dump(codec))
    assert CODECS.dump(again) == CODECS.dump(codec)


def test_gradients_are_not_kept() -> None:
    codec = Latent(KLAutoencoder(width=8, multipliers=(1, 2), blocks=1))
    z = codec.encode(torch.rand(1, 3, 4, 4))
    assert not z.requires_grad and not codec.decode(z).requires_grad


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(InputError, match="shift must hold 1 or 3 numbers, not 2"):
        Latent(Halves(), shift=(0.0, 1.0))
    with pytest.raises(InputError, match="scale must be above 0"):
        Latent(Halves(), scale=(0.0,))
    with pytest.raises(ShapeError, match="nearest that fits"):
        Latent(Halves()).shape((5, 4))
