"""A sound as a picture: its waveform above its log-mel spectrogram, with axes."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool1d

from sfumato.media.audio.mel import hz_to_mel, log_mel
from sfumato.media.image.plot import Row, Ticks, envelope, figure, heat_map, nice_step

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH, _WAVE, _BANDS = 400, 48, 128
"""Columns of a picture, rows of a waveform, and bands (each a row) of a spectrogram."""
_RANGE = 80.0
"""Decibels from the brightest to the darkest."""
_QUIET = -80.0
"""The loudest of a sound is bright, but no noise below so many decibels is."""
_WINDOW = 0.046
"""Seconds of the spectrogram's window."""
_HERTZ = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


def sound_picture(sound: Tensor, rate: int) -> "Image":
    """One sound [channels, samples] in [−1, 1]: a waveform a channel, and the spectrogram of their mean."""
    sound = sound.detach().double().cpu()
    waves = [Row(envelope(channel, _WIDTH, _WAVE)) for channel in sound]
    return figure([*waves, Row(heat_map(_spectrogram(sound.mean(0), rate)), _pitches(rate))], _seconds(sound, rate))


def _spectrogram(sound: Tensor, rate: int) -> Tensor:
    """The log-mel spectrogram as brightness [_BANDS, _WIDTH], high frequencies first; each column holds the loudest of
    its time."""
    window = max(2 ** round(math.log2(_WINDOW * rate)), 16)
    hop = min(max(len(sound) // _WIDTH, 1), window)
    decibels = adaptive_max_pool1d(log_mel(sound, rate, _BANDS, window, hop)[:, : max(len(sound) // hop, 1)], _WIDTH)
    loudest = max(float(decibels.max()), _QUIET)
    return ((decibels - loudest) / _RANGE + 1).clamp(0, 1).flip(0)


def _pitches(rate: int) -> Ticks:
    """Marks of frequencies below half the rate, in kilohertz from 1,000 on."""
    shown = [hertz for hertz in _HERTZ if hertz < 0.95 * rate / 2]
    places = hz_to_mel(torch.tensor([*shown, rate / 2], dtype=torch.float64, device="cpu"))
    kept: list[tuple[float, str]] = []
    for hertz, place in zip(shown, (places[:-1] / places[-1]).tolist(), strict=True):
        if not kept or place - kept[-1][0] > 0.09:  # else the words would touch
            kept.append((place, f"{hertz // 1000} kHz" if hertz >= 1000 else f"{hertz} Hz"))
    return kept


def _seconds(sound: Tensor, rate: int) -> Ticks:
    """Marks of time from 0 on; in milliseconds where the sound is shorter than a second."""
    length = sound.shape[-1] / rate
    unit, words = (1.0, "s") if length >= 1 else (1e-3, "ms")
    step = nice_step(length / unit, 6)
    return [(i * step * unit / length, f"{i * step:g} {words}") for i in range(int(length / unit / step + 1e-9) + 1)]
