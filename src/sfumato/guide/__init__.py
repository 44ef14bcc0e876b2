"""Guides: each wraps a denoiser and is a denoiser, so that they stack."""

from sfumato.guide.clip import Clip
from sfumato.guide.free import ClassifierFree
from sfumato.guide.watch import Watch

__all__ = ["ClassifierFree", "Clip", "Watch"]
