"""Measuring what a system draws."""

from sfumato.evaluate.distance import frechet
from sfumato.evaluate.features import features
from sfumato.evaluate.neighbours import nearest_neighbours, retrieval, spread
from sfumato.evaluate.probe import Probe, fit
from sfumato.evaluate.quality import psnr, ssim
from sfumato.evaluate.recognition import agreement, convolutions, support_vectors

__all__ = [
    "Probe",
    "agreement",
    "convolutions",
    "features",
    "fit",
    "frechet",
    "nearest_neighbours",
    "psnr",
    "retrieval",
    "spread",
    "ssim",
    "support_vectors",
]
