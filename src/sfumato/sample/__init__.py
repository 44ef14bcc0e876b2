"""Samplers: from noise to data, one step at a time. The driver owns the loop; a sampler is one rule, without state."""

from sfumato.sample.adams import IPNDM, LMS, PLMS
from sfumato.sample.ancestral import Ancestral
from sfumato.sample.consistency import LCM
from sfumato.sample.ddim import DDIM
from sfumato.sample.dpm import DPMSolver, DPMSolverS
from sfumato.sample.driver import Sampler, sample
from sfumato.sample.langevin import AnnealedLangevin, Langevin, PredictorCorrector
from sfumato.sample.ode import Euler, EulerAncestral, Heun
from sfumato.sample.pairs import DPMSolverPairs
from sfumato.sample.sgld import SGLD
from sfumato.sample.tokens import ConfidenceUnmasking, TokenAncestral
from sfumato.sample.unipc import UniPC

__all__ = [
    "DDIM",
    "IPNDM",
    "LCM",
    "LMS",
    "PLMS",
    "SGLD",
    "Ancestral",
    "AnnealedLangevin",
    "ConfidenceUnmasking",
    "DPMSolver",
    "DPMSolverPairs",
    "DPMSolverS",
    "Euler",
    "EulerAncestral",
    "Heun",
    "Langevin",
    "PredictorCorrector",
    "Sampler",
    "TokenAncestral",
    "UniPC",
    "sample",
]
