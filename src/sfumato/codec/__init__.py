"""Codecs: between data of a medium and the space in which diffusion runs."""

from sfumato.codec.identity import Identity
from sfumato.codec.latent import Latent
from sfumato.codec.protocol import Codec

__all__ = ["Codec", "Identity", "Latent"]
