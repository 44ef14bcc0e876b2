"""Training objectives: losses, their weights, and the distribution of times."""

from sfumato.loss.denoising import Denoising, Loss
from sfumato.loss.times import (
    CosineTimes,
    ImportanceTimes,
    LogitNormalTimes,
    LogNormalTimes,
    LossAwareTimes,
    Times,
    UniformTimes,
)
from sfumato.loss.tokens import TokenVLB
from sfumato.loss.variational import VLB, Hybrid
from sfumato.loss.weight import EDMWeight, MinSNRWeight, P2Weight, Sigma2Weight, SNRWeight, UnitWeight, Weight

__all__ = [
    "VLB",
    "CosineTimes",
    "Denoising",
    "EDMWeight",
    "Hybrid",
    "ImportanceTimes",
    "LogNormalTimes",
    "LogitNormalTimes",
    "Loss",
    "LossAwareTimes",
    "MinSNRWeight",
    "P2Weight",
    "SNRWeight",
    "Sigma2Weight",
    "Times",
    "TokenVLB",
    "UniformTimes",
    "UnitWeight",
    "Weight",
]
