"""How far pictures are apart, against sums by hand."""

import torch

from sfumato.loss.reconstruction import absolute_error, discriminator_loss, edge_error, tone_error


def test_a_picture_is_at_no_distance_from_itself() -> None:
    x = torch.rand(2, 3, 9, 11)
    for term in (absolute_error, edge_error, tone_error):
        assert term(x, x).tolist() == [0, 0]


def test_the_absolute_error_is_a_mean() -> None:
    x = torch.zeros(2, 1, 2, 2)
    y = torch.tensor([[1.0, -2.0], [0.0, 5.0]]).reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)
    y[1] *= -0.5
    assert absolute_error(x, y).tolist() == [2.0, 1.0]


def test_edges_see_no_shift_of_the_whole_and_a_ramp_at_its_slope() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert edge_error(x, x + 0.3).abs().max() <= 1e-6
    ramp = 0.1 * torch.arange(8.0).expand(1, 3, 8, 8)
    assert abs(float(edge_error(x, x + ramp)) - 0.1) <= 1e-6, "0.1 across and nothing down"


def test_tones_see_a_shift_and_no_stripes() -> None:
    x = torch.rand(1, 1, 16, 24)
    assert abs(float(tone_error(x, x - 0.2)) - 0.2) <= 1e-6
    stripes = torch.tensor([0.5, -0.5]).repeat(12).expand(1, 1, 16, 24)
    assert tone_error(x, x + stripes).abs().max() <= 1e-6


def test_a_discriminator_loses_nothing_when_it_is_sure_and_right() -> None:
    real, made = torch.full((2, 1, 3, 3), 1.5), torch.full((2, 1, 3, 3), -1.0)
    assert discriminator_loss(real, made).tolist() == [0, 0]
    assert discriminator_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).tolist() == [2]
    assert discriminator_loss(made[:1], real[:1]).tolist() == [4.5]
