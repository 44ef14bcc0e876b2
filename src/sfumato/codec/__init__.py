"""Codecs: between data as people have it and the space in which diffusion runs."""

from sfumato.codec.latent import Latent
from sfumato.codec.pixels import Codec, Pixels

__all__ = ["Codec", "Latent", "Pixels"]
