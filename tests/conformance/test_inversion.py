"""DDIM follows a grid in either direction: from data to its noise, and back."""

from collections.abc import Sequence

import pytest
import torch
from matrix import PARAMETERIZATIONS, SCHEDULES, dense, error, network, normal, run
from torch import Tensor

from sfumato.core.grid import UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.schedule import VP
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.oracle import GaussianDenoiser


def oracle(schedule: str) -> GaussianDenoiser:
    return GaussianDenoiser(SCHEDULES[schedule], *torch.tensor([[0.3, -0.5], [0.5, 0.8]], dtype=torch.float64))


def there_and_back(denoiser: DenoiserLike, x: Tensor, path: Sequence[Level]) -> tuple[Tensor, Tensor]:
    """The noise behind x, which stands at the end of the path, and what that noise leads to."""
    noise = run(denoiser, "ddim", x, path[::-1])[-1]
    return noise, run(denoiser, "ddim", noise, path)[-1]


@pytest.mark.parametrize(
    ("schedule", "parameterization"),
    [*((name, "eps") for name in SCHEDULES), *(("linear", name) for name in PARAMETERIZATIONS if name != "eps")],
)
def test_data_is_found_again_through_its_noise(schedule: str, parameterization: str) -> None:
    denoiser = network(oracle(schedule), parameterization)
    path = [level for level in dense(schedule, 100) if level.alpha > 0 and level.sigma > 0]
    x = 0.6 * normal(3, 2, seed=3)
    noise, back = there_and_back(denoiser, x, path)
    assert error(back, x) < 0.12
    assert error(noise, x) > 0.2


def test_inversion_cannot_start_from_clean_data() -> None:
    with pytest.raises(InputError, match=r"cannot start from clean data \(sigma 0\): leave that level out"):
        there_and_back(oracle("linear"), normal(3, 2), levels(SCHEDULES["linear"], UniformSpacing(), 100))


def test_what_inversion_misses_falls_with_the_stride() -> None:
    def miss(steps: int) -> float:
        x = 0.6 * normal(3, 2)
        return error(there_and_back(oracle("vp"), x, levels(VP(), UniformSpacing(), steps + 1)[:-1])[1], x)

    errors = [miss(steps) for steps in (100, 200, 400)]
    assert errors[0] > 1.8 * errors[1] > 1.8**2 * errors[2]


def test_the_noise_behind_gaussian_data_is_standard_normal() -> None:
    """The exact flow carries each quantile of the data to the same quantile of the noise."""
    data = oracle("vp")
    path = levels(VP(), UniformSpacing(), 400)[:-1]
    quantiles = torch.tensor([[-2.0], [0.0], [1.0]], dtype=torch.float64)
    noise = run(data, "ddim", data.mean + quantiles * data.std, path[::-1])[-1]
    assert error(noise, quantiles.expand(3, 2)) < 0.03
