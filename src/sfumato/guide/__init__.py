"""Guides: each wraps a denoiser and is a denoiser, so that they stack. One idea a file."""

from sfumato.guide.auto import Autoguidance
from sfumato.guide.base import Guide
from sfumato.guide.classifier import Classifier
from sfumato.guide.free import ClassifierFree
from sfumato.guide.inpaint import Inpaint
from sfumato.guide.moment_matching import MomentMatching
from sfumato.guide.threshold import DynamicThreshold, StaticThreshold
from sfumato.guide.watch import Watch

__all__ = [
    "Autoguidance",
    "Classifier",
    "ClassifierFree",
    "DynamicThreshold",
    "Guide",
    "Inpaint",
    "MomentMatching",
    "StaticThreshold",
    "Watch",
]
