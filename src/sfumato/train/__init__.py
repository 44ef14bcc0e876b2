"""Training: a recipe and a folder of pictures in, a system out."""

from sfumato.train.run import train

__all__ = ["train"]
