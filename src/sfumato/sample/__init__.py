"""Samplers: from noise to data, one move at a time. The driver owns the loop; a sampler is one rule, and stateless."""

from sfumato.sample.ancestral import Ancestral
from sfumato.sample.ddim import DDIM
from sfumato.sample.driver import Sampler, sample

__all__ = ["DDIM", "Ancestral", "Sampler", "sample"]
