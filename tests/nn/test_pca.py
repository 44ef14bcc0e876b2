"""The autoencoder in closed form: principal components of patches."""

import pytest
import torch

from sfumato.codec import Latent
from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.pca import PCA


def pictures() -> torch.Tensor:
    return torch.rand(6, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_all_components_lose_nothing():
    network = PCA(3, 48, 4).fit(pictures())
    assert torch.allclose(network.decode(network.encode(pictures())), pictures(), atol=1e-5)


def test_fewer_lose_the_least_that_any_linear_map_can():
    network = PCA(3, 5, 4).fit(pictures())
    found = (network.decode(network.encode(pictures())) - pictures()).square().sum()
    centred = pictures() - pictures().mean((0, 2, 3))[:, None, None]
    rows = torch.nn.functional.unfold(centred, 4, stride=4).transpose(1, 2).flatten(0, 1)
    assert float(found.detach()) == pytest.approx(float(torch.linalg.svdvals(rows)[5:].square().sum()), rel=1e-4)


def test_latents_are_uncorrelated_and_fall_in_variance():
    z = PCA(3, 6, 4).fit(pictures()).encode(pictures()).detach()
    rows = z.movedim(1, -1).flatten(0, 2).double()
    moments = rows.T @ rows / len(rows)
    assert float((moments - moments.diag().diag()).abs().max()) < 1e-5
    assert bool((moments.diag().diff() < 0).all())


def test_batches_have_the_components_of_all_that_they_hold():
    whole, parts = PCA(3, 5, 4).fit(pictures()), PCA(3, 5, 4).fit(iter(pictures().split(4)))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert whole.leave.bias is not None and torch.allclose(whole.leave.bias, pictures().mean((0, 2, 3)), atol=1e-6)


def test_it_is_a_codec_with_the_shapes_that_it_says():
    codec = Latent(PCA(3, 5, 4).fit(pictures()))
    assert codec.shape((12, 8)) == (5, 2, 3)
    assert codec.decode(codec.encode(pictures())).shape == (6, 3, 8, 12)
    assert set(codec.network.encoder_parameters()) == {"enter.weight", "enter.bias"}


def test_training_sees_the_noise_it_asks_for():
    network, noise = PCA(3, 5, 4).fit(pictures()), torch.randn(6, 5, 2, 3, generator=torch.Generator().manual_seed(1))
    plain, noisy = network(pictures(), noise), network(pictures(), noise, torch.ones(6))
    assert torch.allclose(plain.pictures, network.decode(network.encode(pictures())))
    assert float(plain.penalty.abs().max()) == 0
    z = network.encode(pictures())
    expected = network.decode(z + noise * z.std((0, 2, 3), correction=0, keepdim=True))
    assert torch.allclose(noisy.pictures, expected, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="latent at most"):
        PCA(3, 49, 4)
    with pytest.raises(ShapeError, match="multiple of 4"):
        PCA(3, 5, 4).fit(pictures()[..., :10])
