"""Networks over pictures: [b, channels, height, width]."""

from sfumato.nn.image.autoencoder import Autoencoder, KLAutoencoder, VQAutoencoder
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.encoder import Encoder
from sfumato.nn.image.layout import DenseLayout, WithLayout
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.nn.image.sprites import Sprites
from sfumato.nn.image.unet import UNet

__all__ = [
    "Autoencoder",
    "DenseLayout",
    "DiT",
    "Encoder",
    "KLAutoencoder",
    "MobileNet",
    "Sprites",
    "UNet",
    "VQAutoencoder",
    "WithLayout",
]
