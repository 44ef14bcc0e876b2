"""Nearest neighbours, on features whose neighbours are known."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.errors import InputError, ShapeError
from sfumato.evaluate import neighbours
from sfumato.evaluate.neighbours import Retrieval, nearest_neighbours, retrieval, spread


def angles(*degrees: float) -> Tensor:
    """A feature of length 1 for each angle."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_the_nearest_is_that_of_the_least_angle_whatever_its_length() -> None:
    found = nearest_neighbours(3 * angles(0, 50), angles(90, 20, 60) * torch.tensor([[9.0], [0.1], [1.0]]), k=2)
    assert found.place.tolist() == [[1, 2], [2, 1]]
    wanted = [[1 - math.cos(math.radians(d)) for d in row] for row in ((20, 60), (10, 30))]
    assert torch.allclose(found.distance, torch.tensor(wanted, dtype=torch.float64))


def test_equals_come_in_the_order_of_the_gallery() -> None:
    assert nearest_neighbours(angles(0), angles(5, 5, 0, 5, 0), k=5).place.tolist() == [[2, 4, 0, 1, 3]]


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = torch.Generator().manual_seed(0)
    asked, gallery = torch.randn(10, 4, generator=stream), torch.randn(7, 4, generator=stream)
    itself = torch.tensor([0, -1, 2, 3, 4, 5, 6, 0, 1, -1])
    whole = nearest_neighbours(asked, gallery, 3, itself)
    monkeypatch.setattr(neighbours, "CHUNK", 3)
    part = nearest_neighbours(asked, gallery, 3, itself)
    assert torch.equal(whole.place, part.place) and torch.allclose(whole.distance, part.distance, atol=1e-15)


def test_left_out_a_picture_does_not_find_itself_but_may_find_its_copy() -> None:
    gallery = angles(0, 10, 90, 0)
    assert nearest_neighbours(gallery, gallery, 1).place.flatten().tolist() == [0, 1, 2, 0]
    assert nearest_neighbours(gallery, gallery, 1, itself=torch.arange(4)).place.flatten().tolist() == [3, 0, 1, 0]
    assert nearest_neighbours(gallery[:1], gallery, 1, itself=torch.tensor([-1])).distance.item() == pytest.approx(
        0, abs=1e-12
    )


def test_retrieval_counts_captions_and_styles_of_the_nearest() -> None:
    """Five of the six real pictures are among the nearest five; the last is too far from the first two asked."""
    real = angles(0, 2, 4, 6, 8, 80)
    captions, styles = ["cat", "dog", "cat", "owl", "fox", "bee"], ["flat", "flat", "3d", "3d", "3d", "flat"]
    # nearest: cat flat; cat flat (dog among five); bee flat (but not one of five); cat 3d; bee flat, not cat
    drawn, asked = angles(-1, -1, -1, 4, 80), ["cat", "dog", "bee", "cat", "cow"]
    assert retrieval(drawn, real, asked, captions, ["flat", "3d", "flat", "flat", "flat"], styles) == Retrieval(
        top1=2 / 5, top5=3 / 5, style=3 / 5
    )


def test_retrieval_of_the_real_pictures_themselves_left_out() -> None:
    real = angles(0, 1, 20, 40, 60, 80)
    captions, styles = ["cat", "cat", "dog", "owl", "fox", "bee"], list("aabbbb")
    everything = retrieval(real, real, captions, captions, styles, styles)
    assert everything == Retrieval(1, 1, 1)
    left_out = retrieval(real, real, captions, captions, styles, styles, itself=torch.arange(6))
    assert left_out == Retrieval(top1=2 / 6, top5=2 / 6, style=5 / 6)  # the dog's nearest is a cat


def test_retrieval_wants_a_caption_and_a_style_for_each_picture() -> None:
    real = angles(0, 1, 2, 3, 4)
    with pytest.raises(InputError, match="5 real pictures need as many captions and styles, not 4"):
        retrieval(real, real, ["a"] * 5, ["a"] * 4, ["s"] * 5, ["s"] * 5)
    with pytest.raises(InputError, match="5 drawn pictures need as many captions and styles, not 6"):
        retrieval(real, real, ["a"] * 5, ["a"] * 5, ["s"] * 6, ["s"] * 5)


def test_spread_of_known_distances() -> None:
    assert spread(torch.arange(101.0)[torch.randperm(101)]) == pytest.approx((0, 5, 50, 50))
    with pytest.raises(InputError, match="at least one picture"):
        spread(torch.zeros(0))


def test_a_copy_is_nearer_to_the_training_pictures_than_a_new_picture() -> None:
    stream = torch.Generator().manual_seed(0)
    training, new = torch.randn(50, 8, generator=stream), torch.randn(20, 8, generator=stream)
    copied = spread(nearest_neighbours(training[:20] + 1e-3, training).distance)
    assert copied.median < 1e-4 < spread(nearest_neighbours(new, training).distance).least


def test_features_that_do_not_compare() -> None:
    with pytest.raises(ShapeError, match=r"must be \[n, d\] and \[m, d\], not \[1, 2\] and \[4, 3\]"):
        nearest_neighbours(torch.zeros(1, 2), torch.zeros(4, 3))
    with pytest.raises(InputError, match="there are no 5 nearest of 4 for each of 1: give more pictures"):
        nearest_neighbours(torch.zeros(1, 2), torch.zeros(4, 2), k=5)
    with pytest.raises(InputError, match="no 4 nearest of 4"):
        nearest_neighbours(torch.zeros(4, 2), torch.zeros(4, 2), k=4, itself=torch.arange(4))
    with pytest.raises(ShapeError, match=r"itself must hold 4 places, one for each of the asked, not \[3\]"):
        nearest_neighbours(torch.zeros(4, 2), torch.zeros(4, 2), itself=torch.arange(3))
