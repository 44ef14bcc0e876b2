"""How near a picture is to the one that it should be, pixel by pixel: what a codec loses."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from sfumato.errors import ShapeError

RANGE = 2.0
"""From the darkest value of a pixel, −1, to the brightest, 1."""
WINDOW, SPREAD = 11, 1.5
K_1, K_2 = 0.01, 0.03


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """`10·log10(2² / mean((a − b)²))`: the peak signal-to-noise ratio in dB of pictures [n, c, h, w] in [−1, 1], [n].

    Infinite where a and b are equal.
    """
    _check(a, b, 1)
    error = ((a.double() - b.double()) ** 2).flatten(1).mean(1)
    return 10 * (RANGE**2 / error).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """The structural similarity of pictures [n, c, h, w] in [−1, 1], [n], 1 where they are equal:

    `(2·m_a·m_b + C_1)(2·s_ab + C_2) / ((m_a² + m_b² + C_1)(s_a² + s_b² + C_2))`

    (Wang et al., 2004, "Image quality assessment", eq. 13), with means m, variances s² and covariance s_ab in Gaussian
    windows of 11×11 and deviation 1.5, `C_1 = (0.01·2)²`, `C_2 = (0.03·2)²`; the mean over all whole windows, and over
    the channels, which the paper, on grey pictures, does not have.
    """
    _check(a, b, WINDOW)
    a, b = a.double(), b.double()  # variances are differences of large numbers
    m_a, m_b = _blur(a), _blur(b)
    var_a, var_b, cov = _blur(a * a) - m_a**2, _blur(b * b) - m_b**2, _blur(a * b) - m_a * m_b
    c_1, c_2 = (K_1 * RANGE) ** 2, (K_2 * RANGE) ** 2
    similar = (2 * m_a * m_b + c_1) * (2 * cov + c_2) / ((m_a**2 + m_b**2 + c_1) * (var_a + var_b + c_2))
    return similar.flatten(1).mean(1)


def _blur(x: Tensor) -> Tensor:
    """The Gaussian mean in every window that lies inside."""
    offset = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    bell = (-(offset**2) / (2 * SPREAD**2)).exp()
    bell = (bell / bell.sum()).repeat(x.shape[1], 1, 1, 1)
    across = conv2d(x, bell, groups=x.shape[1])
    return conv2d(across, bell.mT, groups=x.shape[1])


def _check(a: Tensor, b: Tensor, side: int) -> None:
    if a.ndim != 4 or a.shape != b.shape:
        raise ShapeError(f"two sets of pictures [n, c, h, w] must have one shape, not {list(a.shape)}, {list(b.shape)}")
    if min(a.shape[-2:]) < side:
        raise ShapeError(f"pictures must be at least {side}×{side}, not {a.shape[3]}×{a.shape[2]}")
