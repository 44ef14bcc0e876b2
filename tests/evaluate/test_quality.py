"""PSNR and SSIM, in closed form and beside their definition written out window by window."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato.errors import ShapeError
from sfumato.evaluate.quality import psnr, ssim


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def by_definition(a: Tensor, b: Tensor) -> float:
    """SSIM of two pictures [c, h, w], every window on its own, each statistic from its definition."""
    x, y = a.double().numpy(), b.double().numpy()
    i, j = np.mgrid[-5:6, -5:6]
    window = np.exp(-(i**2 + j**2) / (2 * 1.5**2))
    window /= window.sum()
    c_1, c_2, values = 0.02**2, 0.06**2, []
    for channel, top, left in np.ndindex(x.shape[0], x.shape[1] - 10, x.shape[2] - 10):
        p, q = (z[channel, top : top + 11, left : left + 11] for z in (x, y))
        m_p, m_q = (window * p).sum(), (window * q).sum()
        v_p, v_q = (window * (p - m_p) ** 2).sum(), (window * (q - m_q) ** 2).sum()
        cov = (window * (p - m_p) * (q - m_q)).sum()
        luminance = (2 * m_p * m_q + c_1) / (m_p**2 + m_q**2 + c_1)
        values.append(luminance * (2 * cov + c_2) / (v_p + v_q + c_2))
    return float(np.mean(values))


def test_psnr_of_a_shift() -> None:
    a = noise(3, 3, 4, 4)
    shift = torch.tensor([0.0, 0.02, 2.0]).reshape(3, 1, 1, 1)
    assert psnr(a.double(), a.double() + shift.double()).tolist() == pytest.approx([math.inf, 40, 0], abs=1e-4)


def test_psnr_is_one_figure_a_picture_over_all_its_pixels() -> None:
    a, b = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    b[0, 0, 0, 0] = 1  # a mean squared error of a quarter
    b[1] = 1
    assert psnr(a, b).tolist() == pytest.approx([10 * math.log10(16), 10 * math.log10(4)])


def test_ssim_is_its_definition() -> None:
    a = 0.5 + 0.5 * noise(2, 3, 14, 13)
    b = 0.1 + 0.7 * a + 0.2 * noise(2, 3, 14, 13, seed=1)
    expected = [by_definition(one, other) for one, other in zip(a, b, strict=True)]
    assert 0.3 < min(expected) < 0.95
    assert ssim(a, b).tolist() == pytest.approx(expected, abs=1e-12)


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    a = noise(2, 3, 16, 16)
    assert ssim(a, a).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("one", "other"), [(0.5, 0.3), (1.0, -1.0), (0.0, 0.8)])
def test_ssim_of_flat_pictures_is_their_luminance(one: float, other: float) -> None:
    """Without variance only `(2·m_a·m_b + C_1)/(m_a² + m_b² + C_1)` is left."""
    a, b = (torch.full((1, 1, 11, 11), value, dtype=torch.float64) for value in (one, other))
    c = 0.02**2
    assert ssim(a, b).item() == pytest.approx((2 * one * other + c) / (one**2 + other**2 + c), abs=1e-9)


def test_pictures_that_do_not_compare() -> None:
    a = torch.zeros(1, 3, 16, 16)
    for measure in (psnr, ssim):
        with pytest.raises(ShapeError, match=r"must have one shape, not \[1, 3, 16, 16\], \[2, 3, 16, 16\]"):
            measure(a, torch.zeros(2, 3, 16, 16))
    with pytest.raises(ShapeError, match="must be at least 11×11, not 16×10"):
        ssim(a[:, :, :10], a[:, :, :10])
