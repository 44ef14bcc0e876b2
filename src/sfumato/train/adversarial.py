"""An autoencoder in training, and the discriminator that it may learn from."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.func import functional_call

from sfumato.loss.reconstruction import discriminator_loss
from sfumato.nn.image.autoencoder import Autoencoder
from sfumato.nn.image.discriminator import PatchDiscriminator


class AutoencoderOutputs(NamedTuple):
    """Data [b, *d] as they came out; the penalty on their latents [b]; and, where there is a discriminator, its loss
    [b] and that of the generator [b]."""

    decoded: Tensor
    penalty: Tensor
    discriminator_loss: Tensor | None = None
    generator_loss: Tensor | None = None


class AdversarialAutoencoder(nn.Module):
    """An autoencoder, the generator, and perhaps a discriminator, trained side by side (VQGAN, arXiv:2012.09841)."""

    def __init__(self, autoencoder: Autoencoder, discriminator: PatchDiscriminator | None) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = autoencoder, discriminator

    def forward(self, data: Tensor, noise: Tensor, level: Tensor | None = None) -> AutoencoderOutputs:
        decoded, penalty = self.autoencoder(data, noise, level)
        if self.discriminator is None:
            return AutoencoderOutputs(decoded, penalty)
        # both sides of the game in one pass: neither's loss reaches the other's weights
        judged = discriminator_loss(self.discriminator(data), self.discriminator(decoded.detach()))
        held = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        generator_loss = -functional_call(self.discriminator, held, (decoded,)).flatten(1).mean(1)
        return AutoencoderOutputs(decoded, penalty, judged, generator_loss)


class AutoencoderModel(nn.Module):
    """What is called in training, with what learns under the name by which the trainer knows a network."""

    def __init__(self, network: AdversarialAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, data: Tensor, noise: Tensor, level: Tensor | None = None) -> AutoencoderOutputs:
        return self.network(data, noise, level)
