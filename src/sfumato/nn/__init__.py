"""Networks: tensors in, tensors out. They know nothing of diffusion."""

from sfumato.nn.audio import DiT1D, UNet1D
from sfumato.nn.image import (
    Autoencoder,
    DenseLayout,
    DiT,
    Encoder,
    KLAutoencoder,
    MobileNet,
    Sprites,
    UNet,
    VQAutoencoder,
    WithLayout,
)
from sfumato.nn.text import TextTransformer, WithText

__all__ = [
    "Autoencoder",
    "DenseLayout",
    "DiT",
    "DiT1D",
    "Encoder",
    "KLAutoencoder",
    "MobileNet",
    "Sprites",
    "TextTransformer",
    "UNet",
    "UNet1D",
    "VQAutoencoder",
    "WithLayout",
    "WithText",
]
