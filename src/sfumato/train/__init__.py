"""Training: a recipe and data in, a system out."""

from sfumato.train.start import train

__all__ = ["train"]
