"""The mathematics of diffusion: pure functions and frozen values, with no network, no file and no device policy."""

from sfumato.core.adaptive import integrate
from sfumato.core.condition import Condition
from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing
from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import Normal, marginal, posterior, step_variance, transition
from sfumato.core.grid import (
    AYSSpacing,
    ExplicitSpacing,
    KarrasSpacing,
    LeadingSpacing,
    LevelSpacing,
    LogSNRSpacing,
    QuadraticSpacing,
    Spacing,
    TrailingSpacing,
    UniformSpacing,
    initial_std,
    levels,
)
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.parameterization import (
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    MeanPrediction,
    Parameterization,
    ScorePrediction,
    VPrediction,
    X0Prediction,
)
from sfumato.core.process import Gaussian, Masking, Process, TokenProcess, Uniform
from sfumato.core.token_estimate import TokenEstimate

__all__ = [
    "AYSSpacing",
    "Condition",
    "DiscreteSpacing",
    "DistilledSpacing",
    "EDMPreconditioning",
    "EpsPrediction",
    "Estimate",
    "ExplicitSpacing",
    "FlowPrediction",
    "Gaussian",
    "KarrasSpacing",
    "LeadingSpacing",
    "Level",
    "LevelSpacing",
    "LogSNRSpacing",
    "Masking",
    "MeanPrediction",
    "Noise",
    "Normal",
    "Parameterization",
    "Process",
    "QuadraticSpacing",
    "ScorePrediction",
    "Spacing",
    "TokenEstimate",
    "TokenProcess",
    "TrailingSpacing",
    "Uniform",
    "UniformSpacing",
    "VPrediction",
    "X0Prediction",
    "initial_std",
    "integrate",
    "levels",
    "like",
    "marginal",
    "posterior",
    "step_variance",
    "transition",
]
