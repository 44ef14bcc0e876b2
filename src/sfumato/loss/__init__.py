"""Training objectives: how far an estimate is from the truth, and at which times it is asked."""

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
from sfumato.loss.variational import Bound, Hybrid
from sfumato.loss.weight import EDM, P2, SNR, MinSNR, Sigma2, Unit, Weight

__all__ = [
    "EDM",
    "P2",
    "SNR",
    "Bound",
    "CosineTimes",
    "Denoising",
    "Hybrid",
    "ImportanceTimes",
    "LogNormalTimes",
    "LogitNormalTimes",
    "Loss",
    "LossAwareTimes",
    "MinSNR",
    "Sigma2",
    "Times",
    "UniformTimes",
    "Unit",
    "Weight",
]
