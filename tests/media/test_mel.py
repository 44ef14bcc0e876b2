"""The mel scale and its filters, by the formulas that define them."""

import math

import pytest
import torch

from sfumato.media.audio import filter_bank, hz_to_mel, log_mel, mel_to_hz


@pytest.mark.parametrize(("hertz", "mel"), [(0, 0), (200 / 3, 1), (1000, 15), (6400, 42), (1000 * 6.4**2, 69)])
def test_points_of_the_scale(hertz: float, mel: float) -> None:
    """Linear up to 1,000 Hz, then 27 steps for each factor of 6.4."""
    assert float(hz_to_mel(torch.tensor(hertz, dtype=torch.float64))) == pytest.approx(mel, abs=1e-12)
    assert float(mel_to_hz(torch.tensor(mel, dtype=torch.float64))) == pytest.approx(hertz, abs=1e-9)


def test_each_filter_has_the_area_one() -> None:
    """Where the frequencies are fine enough to see its three corners."""
    bank = filter_bank(22050, 2**15, 40)
    assert (bank.sum(1) * 22050 / 2**15 - 1).abs().max() < 1e-3


def test_neighbours_share_every_frequency_between_their_centres() -> None:
    """Triangles that are one high add up to one."""
    rate, n_fft, bands = 16000, 2048, 30
    edges = mel_to_hz(torch.linspace(0, float(hz_to_mel(torch.tensor(8000.0))), bands + 2, dtype=torch.float64))
    total = (filter_bank(rate, n_fft, bands) * (edges[2:] - edges[:-2])[:, None] / 2).sum(0)
    hertz = torch.linspace(0, 8000, n_fft // 2 + 1, dtype=torch.float64)
    between = (hertz >= edges[1]) & (hertz <= edges[-2])
    assert (total[between] - 1).abs().max() < 1e-5 and total[0] == 0


def test_a_tone_is_loudest_in_the_band_of_its_frequency() -> None:
    rate, bands = 22050, 64
    time = torch.arange(rate, dtype=torch.float64) / rate
    centres = mel_to_hz(torch.linspace(0, float(hz_to_mel(torch.tensor(rate / 2))), bands + 2, dtype=torch.float64))
    for band in (5, 20, 50):
        found = log_mel(torch.sin(2 * math.pi * centres[band + 1] * time), rate, bands, 2048, 512)
        assert set(found[:, 4:-4].argmax(0).tolist()) == {band}


def test_ten_times_the_amplitude_is_twenty_decibels() -> None:
    sound = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    loud, quiet = (log_mel(scale * sound, 8000, 20, 256, 64) for scale in (1.0, 0.1))
    assert (loud - quiet - 20).abs().max() < 1e-4 and loud.shape == (20, 1 + 4000 // 64)


def test_silence_is_the_least() -> None:
    assert (log_mel(torch.zeros(100), 8000, 10, 64, 16) == -160).all()
