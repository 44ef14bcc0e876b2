"""Mel spectrograms, on the scale of Slaney's Auditory Toolbox (1998), which librosa takes unless asked for HTK's."""

import math

import torch
from torch import Tensor

KNEE = 1000.0
"""Below so many hertz the scale is linear, above it is logarithmic."""
_PER_HERTZ = 3 / 200
_PER_LOG = 27 / math.log(6.4)


def hz_to_mel(hertz: Tensor) -> Tensor:
    """m = 3f/200 below 1,000 Hz, 15 + 27·log(f/1000)/log 6.4 above."""
    return torch.where(hertz < KNEE, hertz * _PER_HERTZ, 15 + _PER_LOG * (hertz.clamp_min(KNEE) / KNEE).log())


def mel_to_hz(mel: Tensor) -> Tensor:
    """The inverse of `hz_to_mel`."""
    return torch.where(mel < 15, mel / _PER_HERTZ, KNEE * ((mel.clamp_min(15) - 15) / _PER_LOG).exp())


def filter_bank(rate: int, n_fft: int, bands: int) -> Tensor:
    """Triangular filters [bands, n_fft/2 + 1] from 0 Hz to half the `rate`, in float64, evenly spaced on the mel scale.

    Band k rises from the centre of band k − 1 to its own and falls to that of k + 1; each has the area 1 over hertz
    (Slaney's normalization), so that white noise is as loud in every band.
    """
    like = {"dtype": torch.float64, "device": "cpu"}  # whatever the default is
    nyquist = torch.tensor(rate / 2, **like)
    edges = mel_to_hz(torch.linspace(0, 1, bands + 2, **like) * hz_to_mel(nyquist))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hertz = torch.linspace(0, 1, n_fft // 2 + 1, **like) * nyquist
    triangle = torch.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)).clamp_min(0)
    return triangle * 2 / (high - low)


def log_mel(sound: Tensor, rate: int, bands: int, window: int, hop: int) -> Tensor:
    """A sound [samples] → [bands, 1 + samples // hop] in decibels: 10·log₁₀ of the power that each band holds, of a
    Hann window of `window` samples around every `hop`-th, with silence beyond the ends; at least −160.

    The frequencies are twice as fine as the window's own (it is padded to 2·`window`), so that low bands are not empty.
    """
    shape = torch.hann_window(window, dtype=torch.float64, device=sound.device)
    spectrum = torch.stft(
        sound.double(), 2 * window, hop, window, shape, center=True, pad_mode="constant", return_complex=True
    )
    power = (spectrum.abs() / shape.sum()).square()
    return 10 * (filter_bank(rate, 2 * window, bands).to(sound.device) @ power).clamp_min(1e-16).log10()
