"""Training an autoencoder: the first stage of latent diffusion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sfumato.codec import Latent
from sfumato.condition import Conditioner, Nothing
from sfumato.core.condition import Condition
from sfumato.loss.perceptual import perceptual
from sfumato.loss.reconstruction import absolute_error, discriminator_loss, edge_error, tone_error
from sfumato.media.image import sheet, to_image
from sfumato.nn.image.autoencoder import Autoencoder
from sfumato.nn.image.discriminator import PatchDiscriminator
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.parts import CODECS
from sfumato.system import file as system_file
from sfumato.train.feed import Feed
from sfumato.train.recipe import Recipe
from sfumato.train.task import Preview, Stop, never

MEASURED = 256
"""How many pictures the latents' statistics are taken over."""
SHOWN, COLUMNS = 32, 8


class Outputs(NamedTuple):
    """Pictures as they came out; what their latents cost [b]; and beside a discriminator, its loss and the
    generator's, [b] each."""

    pictures: Tensor
    penalty: Tensor
    discriminator_loss: Tensor | None = None
    generator_loss: Tensor | None = None


class AdversarialAutoencoder(nn.Module):
    """What is in training: an autoencoder, and perhaps the discriminator that it learns from."""

    def __init__(self, autoencoder: Autoencoder, discriminator: PatchDiscriminator | None) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = autoencoder, discriminator

    def forward(self, pictures: Tensor, noise: Tensor, level: Tensor | None = None) -> Outputs:
        made, penalty = self.autoencoder(pictures, noise, level)
        if self.discriminator is None:
            return Outputs(made, penalty)
        # both sides of the game in one pass: neither's loss reaches the other's weights
        judged = discriminator_loss(self.discriminator(pictures), self.discriminator(made.detach()))
        held = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        return Outputs(made, penalty, judged, -functional_call(self.discriminator, held, (made,)).flatten(1).mean(1))


class Model(nn.Module):
    """The apprentice, under the name by which the trainer knows a network."""

    def __init__(self, network: AdversarialAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor, noise: Tensor, level: Tensor | None = None) -> Outputs:
        return self.network(pictures, noise, level)


class AutoencodeTask:
    """A codec: the network learns to draw again what it sees, by way of latents.

    `given` is a codec that goes on learning: its latents stay what they are, and only its decoder learns.
    """

    name = "codec"
    dropout = 0.0
    passes = SHOWN
    conditioner: Conditioner = Nothing()

    def __init__(
        self,
        recipe: Recipe,
        network: Autoencoder,
        feed: Feed,
        perceptual_network: MobileNet | None = None,
        given: Latent | None = None,
    ) -> None:
        self.recipe, self.feed, self.perceptual_network, self.given = recipe, feed, perceptual_network, given
        if given is not None:
            network.load_state_dict(given.network.state_dict())
            for parameter in network.encoder_parameters().values():
                parameter.requires_grad_(False)
        discriminator = PatchDiscriminator(network.in_channels) if recipe.reconstruction.adversarial else None
        self.model = Model(AdversarialAutoencoder(network, discriminator))
        height, width = feed.pictures.stored.shape[2:]
        self.shape = Latent(network).shape((width, height))

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, told: Condition) -> tuple[Tensor, ...]:
        if not (most := self.recipe.reconstruction.noise):
            return x_0, noise
        return x_0, noise, (most * t / self.recipe.schedule.last).to(noise)

    def loss(self, outputs: Any, x_0: Tensor, told: Condition) -> Tensor:
        """`|x − y| + edges·… + tones·… + penalty·… + perceptual·… + adversarial·…`, each weighed as the recipe says."""
        own, made = self.recipe.reconstruction, outputs.pictures.float()
        total = absolute_error(made, x_0) + own.penalty * outputs.penalty.float()
        total = total + own.edges * edge_error(made, x_0) + own.tones * tone_error(made, x_0)
        if self.perceptual_network is not None:
            total = total + own.perceptual * perceptual(made, x_0, self.perceptual_network.to(made.device))
        if outputs.discriminator_loss is not None:
            total = total + outputs.discriminator_loss.float() + own.adversarial * outputs.generator_loss.float()
        return total

    def artefact(self, network: nn.Module) -> "FittedCodec":
        assert isinstance(network, AdversarialAutoencoder)
        return FittedCodec(network.autoencoder, self._some(MEASURED), self.given)

    def preview(self, artefact: "FittedCodec", stop: Stop = never) -> Preview:
        """Pictures, and below each what became of it."""
        pictures, codec = self._some(SHOWN), artefact.codec()
        columns = min(COLUMNS, len(pictures))
        pictures = pictures[: len(pictures) // columns * columns]
        again = codec.decode(codec.encode(pictures)).cpu()
        rows = [part for pair in zip(pictures.split(columns), again.split(columns), strict=True) for part in pair]
        images = [to_image(picture) for row in rows for picture in row]
        return sheet(images, columns=columns), {"autoencoder": "above, below"}

    def _some(self, most: int) -> Tensor:
        """So many pictures, from all over the data, in all their views by turns."""
        n = len(self.feed.pictures)
        index = torch.linspace(0, n - 1, min(n, most)).long()
        return self.feed.samples(index, torch.arange(len(index)) % self.feed.views)


class FittedCodec:
    """An autoencoder, and pictures by which to measure the statistics of its latents, unless those of a codec that was
    `given` stand."""

    def __init__(self, network: Autoencoder, pictures: Tensor, given: Latent | None = None) -> None:
        self.network, self.pictures, self.given = network, pictures, given
        self.about: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def to(self, device: Any, precision: str | None = None) -> "FittedCodec":
        self.network.to(device)
        return self

    @torch.no_grad()
    def codec(self) -> Latent:
        """The codec, which brings each channel of the latents to zero mean and unit variance."""
        if self.given is not None:
            return Latent(self.network, self.given.shift, self.given.scale)
        z = torch.cat([self.network.encode(part.to(self.device)).float() for part in self._parts()])
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp_min(1e-6)
        return Latent(self.network, tuple(mean.tolist()), tuple((1 / std).tolist()))

    def _parts(self) -> Sequence[Tensor]:
        return self.pictures.split(32)

    def save(self, folder: str | Path) -> Path:
        """Write the codec to `folder`: `codec.json` and the weights it names."""
        codec = self.codec()
        lost = torch.stack([(codec.decode(codec.encode(one)).cpu() - one).square().mean() for one in self._parts()])
        psnr = float(10 * (4 / lost.mean().clamp_min(1e-10)).log10())
        about = {**self.about, "psnr of pictures trained on": round(psnr, 2)}
        spec = {"codec": CODECS.dump(codec), "about": about}
        system_file.write_folder(Path(folder), spec, {"codec": codec}, system_file.CODEC_FILE)
        return Path(folder)
