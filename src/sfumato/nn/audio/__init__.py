"""Networks over sequences of samples, such as sound: [b, channels, length]."""

from sfumato.nn.audio.dit import DiT1D
from sfumato.nn.audio.unet import UNet1D

__all__ = ["DiT1D", "UNet1D"]
