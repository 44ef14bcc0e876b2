"""The task autoencode: an autoencoder, the first stage of latent diffusion (arXiv:2112.10752)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sfumato import logs
from sfumato.codec import Latent
from sfumato.condition import Conditioner, Nothing
from sfumato.core.condition import Condition
from sfumato.core.process import Gaussian, Process
from sfumato.core.schedule import Linear, Schedule
from sfumato.errors import InputError
from sfumato.library import load_codec
from sfumato.loss import Times, UniformTimes
from sfumato.loss.perceptual import perceptual
from sfumato.loss.reconstruction import absolute_error, edge_error, tone_error
from sfumato.nn.image.autoencoder import Autoencoder
from sfumato.nn.image.discriminator import PatchDiscriminator
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.nn.image.pca import PCA
from sfumato.parts import AUTOENCODERS
from sfumato.train.adversarial import AdversarialAutoencoder, AutoencoderModel
from sfumato.train.base_recipe import Recipe, check_pictures, differences
from sfumato.train.batches import mix
from sfumato.train.closed_form import fit_closed_form
from sfumato.train.feed import DataFeed, Feed
from sfumato.train.fitted_codec import FittedCodec, copy_codec
from sfumato.train.initialize import autoencoder_weights, fitting_weights, initialize
from sfumato.train.run_folder import RunFolder
from sfumato.train.table import NonNegative, RecipeTable
from sfumato.train.tasks.protocol import Need, Preview, Stop, Task, Trainee, never

if TYPE_CHECKING:
    from sfumato.train.run import Run

_log = logs.EventLogger(__name__)
MEASURED = 256
"""How many data the latents' statistics are taken over."""
_PREVIEWED, _COLUMNS = 32, 8


class GivenCodecRecipe(RecipeTable):
    """A codec to go on from, each a folder or the name of a system that ships: of the one at `path` the decoder alone
    learns on, so that its latents stay what they are; of the one at `init_from` those weights that fit are taken to
    begin with, and all of them learn."""

    path: str | None = None
    init_from: str | None = None


class ReconstructionRecipe(RecipeTable):
    """What an autoencoder learns by: the absolute error, and so much of other terms. `features` is the file of the
    network in whose features `perceptual` is measured. What is decoded has noise of up to `noise` of the latents' own
    standard deviations, of which each part of a batch, and each process, has its own unit."""

    noise: Annotated[float, Field(ge=0, le=2)] = 0.0
    edges: NonNegative = 0.5
    tones: NonNegative = 1.0
    penalty: NonNegative = 1e-4
    perceptual: NonNegative = 0.0
    features: str | None = None
    adversarial: NonNegative = 0.0


class AutoencodeRecipe(Recipe):
    """An autoencoder of pictures."""

    task: Literal["autoencode"] = "autoencode"
    codec: GivenCodecRecipe = GivenCodecRecipe()
    network: dict[str, Any] = Field({"kind": "kl"})
    reconstruction: ReconstructionRecipe = ReconstructionRecipe()

    @property
    def closed_form(self) -> bool:
        return self.network.get("kind") == "pca" and self.codec.path is None and self.codec.init_from is None

    def check(self) -> None:
        super().check()
        check_pictures(self.task, self.data)
        network = self.dry_network(AUTOENCODERS, tuple(AUTOENCODERS.kinds), in_channels=1)
        if (size := self.data.wanted_size) is not None:
            network.check_size(*reversed(size))
        if self.codec.path is not None and self.codec.init_from is not None:
            raise InputError(
                "an autoencoder goes on with codec.path, whose decoder alone learns, or begins with codec.init_from,"
                " and all of it learns: give one, and null for the other"
            )
        if self.reconstruction.perceptual and self.reconstruction.features is None:
            raise InputError("reconstruction.perceptual wants reconstruction.features, the file of a feature network")
        self.check_channels(getattr(self.data, "channels", None))

    def check_channels(self, channels: int | None) -> None:
        """Raise an `InputError` for grayscale pictures where pictures are to be compared in features of colours."""
        if self.reconstruction.perceptual and channels not in (None, 3):
            raise InputError(
                "reconstruction.perceptual compares pictures in colours, and these are grey: set data.channels=3, or"
                " reconstruction.perceptual=0"
            )


class AutoencodeTask(Task):
    """Leaves a `FittedCodec`."""

    recipe = AutoencodeRecipe
    leaves = "codec"

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.own: AutoencodeRecipe = run.recipe  # pyright: ignore[reportAttributeAccessIssue]
        self.feed = run.recipe.data.feed(run.dataset)

    @classmethod
    def check_sources(cls, recipe: AutoencodeRecipe, before: Any, folder: RunFolder) -> None:
        source = recipe.codec.path or recipe.codec.init_from
        if source is not None and not folder.has_given and not folder.trained:
            load_codec(source)
        perceptual_network(recipe)

    def check(self) -> int:
        network = dry_autoencoder(self.own, self.feed, self.run.folder)
        if self.own.codec.path is not None:
            codec = self._given(self.own.codec.path)
            changes = differences(AUTOENCODERS.dump(codec.network), AUTOENCODERS.dump(network), "network")
            if changes:
                raise InputError(
                    f"the codec in {self.own.codec.path} is of another shape than the recipe's: {'; '.join(changes)}"
                )
        return sum(parameter.numel() for parameter in network.parameters())

    def needs(self) -> list[Need]:
        """A copy of the codec that goes on learning, for its latents must stay what they were."""
        return [] if self.own.codec.path is None or self.run.folder.has_given else [Need(0, self._keep_given)]

    def trainee(self) -> Trainee:
        recipe, network = self.own, build_autoencoder(self.own, self.feed)
        if recipe.codec.init_from is not None and not self.run.folder.trained:
            source = recipe.codec.init_from
            _log.info(initialize(network, autoencoder_weights(source), source, "codec.init_from"))
        given = None if recipe.codec.path is None else self._given(recipe.codec.path)
        trainee = AutoencodeTrainee(recipe, network, self.feed, perceptual_network(recipe), given)
        if recipe.closed_form and not self.run.folder.trained:
            self._fit(trainee, network)
        return trainee

    def _fit(self, trainee: "AutoencodeTrainee", network: Autoencoder) -> None:
        """Fit the trainee's `network` in closed form, and say how well it does."""
        assert isinstance(network, PCA)
        progress = partial(self.run.monitor.preparing, what="fitting the autoencoder")
        fit_closed_form(network, self.feed, self.own.train.seed, progress)
        fitted = trainee.artefact(trainee.model.network)
        some = f"{len(fitted.data):,} {self.feed.medium.plural}"
        _log.info(
            f"{network.latent} principal components, fitted in closed form: PSNR {fitted.psnr():.1f} dB of {some}"
        )

    def _given(self, source: str) -> Latent:
        return load_codec(self.run.folder.given if self.run.folder.has_given else source)

    def _keep_given(self) -> None:
        assert self.own.codec.path is not None
        if self.run.compute.is_main:
            copy_codec(self.own.codec.path, self.run.folder.given)
        self.run.compute.wait()


class AutoencodeTrainee:
    """The network learns to decode what it encoded. `given` is a codec whose decoder alone learns on."""

    dropout = 0.0
    passes = _PREVIEWED
    conditioner: Conditioner = Nothing()
    times: Times = UniformTimes()
    schedule: Schedule = Linear()
    process: Process = Gaussian()

    def __init__(
        self,
        recipe: AutoencodeRecipe,
        network: Autoencoder,
        feed: Feed,
        perceptual_network: MobileNet | None = None,
        given: Latent | None = None,
    ) -> None:
        self.own, self.feed, self.perceptual_network, self.given = (
            recipe.reconstruction,
            feed,
            perceptual_network,
            given,
        )
        if given is not None:
            network.load_state_dict(given.network.state_dict())
            for parameter in network.encoder_parameters().values():
                parameter.requires_grad_(False)
        discriminator = PatchDiscriminator(network.in_channels) if self.own.adversarial else None
        self.model = AutoencoderModel(AdversarialAutoencoder(network, discriminator))
        self.shape = Latent(network).shape(feed.dataset.size)

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, condition: Condition) -> tuple[Tensor, ...]:
        """Data, noise, and its level, uniform up to the recipe's, if that is not 0."""
        if not self.own.noise:
            return x_0, noise
        return x_0, noise, (self.own.noise * t / self.schedule.last).to(noise)

    def loss(self, outputs: Any, x_0: Tensor, condition: Condition) -> Tensor:
        """`|x − y| + edges·… + tones·… + penalty·… + perceptual·… + adversarial·…`, each weighed as the recipe says."""
        own, decoded = self.own, outputs.decoded.float()
        total = absolute_error(decoded, x_0) + own.penalty * outputs.penalty.float()
        total = total + own.edges * edge_error(decoded, x_0) + own.tones * tone_error(decoded, x_0)
        if self.perceptual_network is not None:
            total = total + own.perceptual * perceptual(decoded, x_0, self.perceptual_network.to(decoded.device))
        if outputs.discriminator_loss is not None:
            total = total + outputs.discriminator_loss.float() + own.adversarial * outputs.generator_loss.float()
        return total

    def artefact(self, network: nn.Module) -> FittedCodec:
        assert isinstance(network, AdversarialAutoencoder)
        return FittedCodec(network.autoencoder, self._some(MEASURED), self.given)

    def preview(self, artefact: FittedCodec, stop: Stop = never) -> Preview:
        """Data, and below each what became of it."""
        data, codec = self._some(_PREVIEWED), artefact.codec()
        columns = min(_COLUMNS, len(data))
        data = data[: len(data) // columns * columns]
        decoded = codec.decode(codec.encode(data)).cpu()
        rows = [part for pair in zip(data.split(columns), decoded.split(columns), strict=True) for part in pair]
        captions = [name for _ in rows[::2] for name in ("data", "decoded") for _ in range(columns)]
        return codec.medium.preview(torch.cat(rows), columns, captions=captions), {"autoencoder": "above, below"}

    def _some(self, most: int) -> Tensor:
        """So many data, from all over the data set, in all their views by turns."""
        n = len(self.feed.dataset)
        index = torch.linspace(0, n - 1, min(n, most)).long()
        return self.feed.samples(index, torch.arange(len(index)) % self.feed.views)


def build_autoencoder(recipe: AutoencodeRecipe, feed: DataFeed) -> Autoencoder:
    """The untrained autoencoder that `recipe` describes for these data."""
    channels = feed.medium.channels
    recipe.check_channels(channels)
    if "in_channels" in recipe.network:
        raise InputError("network.in_channels follows from the data: leave it out of the recipe")
    torch.manual_seed(mix(recipe.train.seed, 0))
    network = AUTOENCODERS.load(recipe.network, in_channels=channels)
    network.check_size(*feed.medium.shape(feed.dataset.size)[1:])
    return network


def dry_autoencoder(recipe: AutoencodeRecipe, feed: DataFeed, folder: RunFolder) -> Autoencoder:
    """The autoencoder without weights; an `InputError` if it cannot be built, or begin as it is to."""
    with torch.device("meta"):
        network = build_autoencoder(recipe, feed)
    source = recipe.codec.init_from
    if source is not None and not folder.trained:
        fitting_weights(network, autoencoder_weights(source), source, "codec.init_from")
    return network


def perceptual_network(recipe: AutoencodeRecipe) -> MobileNet | None:
    """The network in whose features pictures are compared, if the recipe wants that."""
    own = recipe.reconstruction
    return MobileNet.read(own.features) if own.perceptual and own.features is not None else None
