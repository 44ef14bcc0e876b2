"""Noise schedules: time → `Level`. One family a file."""

from sfumato.core.schedule.exploding import EDM, VE
from sfumato.core.schedule.flow import Flow
from sfumato.core.schedule.preserving import VP, SubVP
from sfumato.core.schedule.protocol import Schedule, at
from sfumato.core.schedule.table import (
    AlphasCumprod,
    Betas,
    Cosine,
    Linear,
    Quadratic,
    ScaledLinear,
    Sigmoid,
    Table,
    ZeroTerminal,
)

__all__ = [
    "EDM",
    "VE",
    "VP",
    "AlphasCumprod",
    "Betas",
    "Cosine",
    "Flow",
    "Linear",
    "Quadratic",
    "ScaledLinear",
    "Schedule",
    "Sigmoid",
    "SubVP",
    "Table",
    "ZeroTerminal",
    "at",
]
