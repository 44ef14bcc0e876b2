"""Networks: tensors in, tensors out. They know nothing of diffusion."""

from sfumato.nn.audio import DiT1D, UNet1D
from sfumato.nn.image.autoencoder import Autoencoder, KLAutoencoder, VQAutoencoder
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.encoder import Encoder
from sfumato.nn.image.layout import Layout, WithLayout
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.nn.image.unet import UNet
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText

__all__ = [
    "Autoencoder",
    "DiT",
    "DiT1D",
    "Encoder",
    "KLAutoencoder",
    "Layout",
    "MobileNet",
    "TextTransformer",
    "UNet",
    "UNet1D",
    "VQAutoencoder",
    "WithLayout",
    "WithText",
]
