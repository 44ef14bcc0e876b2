"""A system: codec, conditioner, denoiser and the settings to draw with, as one value and as one folder."""

from sfumato.system.cascade import Cascade
from sfumato.system.classifier import ClassGuidance, NoisyClassifier
from sfumato.system.draw import Frame
from sfumato.system.drawing import Drawing
from sfumato.system.links import Embed, Ground, Link, Upsample, Vocode
from sfumato.system.masked import ConditioningImage, MaskedImage
from sfumato.system.repeat import from_record
from sfumato.system.samples import Samples, read_record
from sfumato.system.settings import Preset, Settings, Thresholding
from sfumato.system.system import System

__all__ = [
    "Cascade",
    "ClassGuidance",
    "ConditioningImage",
    "Drawing",
    "Embed",
    "Frame",
    "Ground",
    "Link",
    "MaskedImage",
    "NoisyClassifier",
    "Preset",
    "Samples",
    "Settings",
    "System",
    "Thresholding",
    "Upsample",
    "Vocode",
    "from_record",
    "read_record",
]
