"""Networks: tensors in, tensors out. They know nothing of diffusion."""

from sfumato.nn.audio import DiT1D, UNet1D
from sfumato.nn.autoencoder import Autoencoder, KLAutoencoder, VQAutoencoder
from sfumato.nn.dit import DiT
from sfumato.nn.encoder import Encoder
from sfumato.nn.layout import Layout, WithLayout
from sfumato.nn.mobilenet import MobileNet
from sfumato.nn.text import TextTransformer, WithText
from sfumato.nn.unet import UNet

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
