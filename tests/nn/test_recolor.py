"""Colours turned from one hue to another."""

import colorsys

import pytest
import torch

from sfumato.nn.image.recolor import from_hsv, hsv, recolored


def test_hue_saturation_and_value_are_those_of_colorsys():
    colors = torch.rand(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hue, saturation, value = hsv(colors[:, :, None, None])
    for color, *found in zip(colors.tolist(), hue.flatten(), saturation.flatten(), value.flatten(), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*color)
        assert [float(one) for one in found] == pytest.approx([360 * h, s, v], abs=1e-6)


def test_from_hue_saturation_and_value_leads_back():
    colors = torch.rand(4, 3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float((from_hsv(*hsv(colors)) - colors).abs().max()) < 1e-7


@pytest.mark.parametrize("to", [(0.0, 0.8, 0.9), (213.0, 0.76, 0.9), (350.0, 0.3, 0.5)])
def test_a_picture_of_the_old_color_alone_becomes_the_new_one(to: tuple[float, float, float]):
    old, new = torch.tensor([40.0, 0.7, 0.8], dtype=torch.float64), torch.tensor(to, dtype=torch.float64)
    picture = from_hsv(*(one.expand(2, 2) for one in old))
    assert torch.allclose(recolored(picture, old, new), from_hsv(*(one.expand(2, 2) for one in new)), atol=1e-9)


def test_grey_and_other_hues_stay():
    grey, opposite = torch.full((3, 2, 2), 0.4), from_hsv(*(torch.full((2, 2), v) for v in (220.0, 0.7, 0.8)))
    for picture in (grey, opposite):
        turned = recolored(picture, torch.tensor([40.0, 0.7, 0.8]), torch.tensor([120.0, 0.6, 0.6]))
        assert torch.allclose(turned, picture, atol=1e-6)


def test_shades_and_lights_keep_their_order():
    values = torch.linspace(0.1, 1, 10)[None]
    picture = from_hsv(torch.full((1, 10), 40.0), torch.full((1, 10), 0.7), values)
    turned = recolored(picture, torch.tensor([40.0, 0.7, 0.8]), torch.tensor([213.0, 0.76, 0.6]))
    assert bool((hsv(turned)[2].diff() > 0).all())
