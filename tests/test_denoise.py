"""What a denoiser refuses: its laws are tested with parameterizations, losses and samplers."""

import pytest
import torch
from torch import nn

from sfumato.core.parameterization import EpsPrediction, MeanPrediction
from sfumato.core.schedule import Cosine, Linear
from sfumato.denoise import Denoiser
from sfumato.errors import InputError, ShapeError


class Widening(nn.Module):
    """Gives three times the channels it gets: neither an estimate, nor one with a variance."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor, time: torch.Tensor, **_: object) -> torch.Tensor:
        return self.gain * x.repeat(1, 3, 1, 1)


def test_a_mean_belongs_to_the_chain_of_its_denoiser() -> None:
    Denoiser(nn.Identity(), Cosine(T=50), MeanPrediction(Cosine(T=50)))
    with pytest.raises(InputError, match="counts steps of another chain"):
        Denoiser(nn.Identity(), Linear(), MeanPrediction(Cosine(T=50)))


def test_a_network_of_another_shape_is_refused() -> None:
    schedule = Linear()
    with pytest.raises(ShapeError, match=r"samples like x_t, \[2, 1, 4, 4\], or twice their channels"):
        Denoiser(Widening(), schedule, EpsPrediction())(torch.zeros(2, 1, 4, 4), schedule(torch.tensor([9.0, 99.0])))
