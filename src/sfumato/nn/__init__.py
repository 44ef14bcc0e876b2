"""Networks: tensors in, tensors out. They know nothing of diffusion."""

from sfumato.nn.audio import DiT1D, UNet1D
from sfumato.nn.image import (
    Autoencoder,
    DiT,
    Encoder,
    KLAutoencoder,
    Layout,
    MobileNet,
    Sprites,
    UNet,
    VQAutoencoder,
    WithLayout,
)
from sfumato.nn.text import TextTransformer, WithText

__all__ = [
    "Autoencoder",
    "DiT",
    "DiT1D",
    "Encoder",
    "KLAutoencoder",
    "Layout",
    "MobileNet",
    "Sprites",
    "TextTransformer",
    "UNet",
    "UNet1D",
    "VQAutoencoder",
    "WithLayout",
    "WithText",
]
