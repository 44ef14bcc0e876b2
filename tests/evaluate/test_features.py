"""Pictures as features, part by part."""

import torch

from sfumato.evaluate.features import features


def test_features_come_in_the_order_of_the_pictures_whatever_the_batch() -> None:
    asked: list[int] = []

    def network(part: torch.Tensor) -> torch.Tensor:
        asked.append(len(part))
        return part.flatten(2).mean(2)

    pictures = torch.arange(5 * 3 * 2 * 2.0).reshape(5, 3, 2, 2).requires_grad_()
    found = features(pictures, network, batch=2)
    assert asked == [2, 2, 1]
    assert torch.equal(found, pictures.mean((2, 3)))
    assert not found.requires_grad


def test_grey_pictures_count_as_colour() -> None:
    grey = torch.arange(8.0).reshape(2, 1, 2, 2)
    assert torch.equal(features(grey, lambda part: part.mean((2, 3))), grey.mean((2, 3)).expand(2, 3))
