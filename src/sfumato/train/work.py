"""What a run trains: a system that draws, a classifier to guide with, or an autoencoder to draw in."""

from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor, nn

from sfumato.classifier import NoisyClassifier
from sfumato.condition import Conditioner, Labels
from sfumato.core.condition import Condition
from sfumato.core.process import marginal
from sfumato.denoise import Denoiser
from sfumato.system import System
from sfumato.train.feed import Feed
from sfumato.train.recipe import Recipe

MOST_SHOWN, CAPTIONS = 64, 12

Sheet = tuple[Image.Image, dict[str, Any]]
"""A picture of what there is so far, and a record to keep in it."""


class Product(Protocol):
    """What a run leaves behind."""

    about: dict[str, Any]

    def save(self, folder: str | Path) -> Path: ...


class Work(Protocol):
    """How a batch becomes a loss, and a network what is saved. `model` is called, and holds the `network` in training.

    `feed` gives samples and prompts, `conditioner` what a prompt tells, `shape` is that of the noise beside a sample,
    and `dropout` the share that is told nothing.
    """

    name: str
    feed: Feed
    conditioner: Conditioner
    shape: tuple[int, ...]
    dropout: float

    @property
    def model(self) -> Any: ...

    def question(self, x_0: Tensor, noise: Tensor, t: Tensor, told: Condition) -> tuple[Any, ...]:
        """What the model is asked: its arguments."""
        ...

    def loss(self, answer: Any, x_0: Tensor, told: Condition) -> Tensor:
        """What the model answered → a loss per sample, [b]."""
        ...

    def product(self, network: nn.Module) -> Any:
        """What is saved and drawn with, around `network` in the place of the one in training."""
        ...

    def sheet(self, product: Any) -> Sheet | None:
        """Something to look at, from fixed seeds."""
        ...


class Denoising:
    """A system: the network learns to denoise. `conditioner` answers like the system's own, and may be a faster one."""

    name = "system"

    def __init__(self, recipe: Recipe, system: System, feed: Feed, conditioner: Conditioner | None = None) -> None:
        self.recipe, self.system, self.feed = recipe, system, feed
        self.conditioner = conditioner or system.conditioner
        self.model = system.denoiser
        self.shape = system.codec.shape(system.settings.size)
        self.dropout = recipe.condition.dropout

    def question(self, x_0: Tensor, noise: Tensor, t: Tensor, told: Condition) -> tuple[Any, ...]:
        level = self.recipe.schedule(t)
        return marginal(x_0, level).sample(noise), level, told

    def loss(self, answer: Any, x_0: Tensor, told: Condition) -> Tensor:
        return self.recipe.loss(answer, x_0, self.recipe.schedule)

    def product(self, network: nn.Module) -> System:
        own = self.system
        denoiser = Denoiser(network, own.denoiser.schedule, own.denoiser.parameterization)
        return System(own.codec, own.conditioner, denoiser, own.settings)

    def sheet(self, product: System) -> Sheet:
        """A class a row; or captions from all over the data, two pictures of each; or anything."""
        classes = list(getattr(product.conditioner, "classes", ()))[:MOST_SHOWN]
        if classes:
            samples = product.generate(classes, seeds=range(each := max(min(8, MOST_SHOWN // len(classes)), 1)))
            return samples.grid(columns=each), samples.records[0]
        captions = self._captions()
        samples = product.generate(captions or None, seeds=range(2 if captions else MOST_SHOWN // 4))
        return samples.grid(columns=8 if captions else None), samples.records[0]

    def _captions(self) -> list[str]:
        """Some captions, from all over the data."""
        n = len(self.feed.pictures)
        prompts = (self.feed.prompt(i * n // CAPTIONS, 0, 0.0) for i in range(min(n, CAPTIONS)))
        return list(dict.fromkeys(str(prompt) for prompt in prompts if prompt is not None))


class Classifying:
    """A classifier: the network learns what noisy pictures show. There is nothing to draw."""

    name = "classifier"
    dropout = 0.0

    def __init__(self, recipe: Recipe, classifier: NoisyClassifier, feed: Feed) -> None:
        self.recipe, self.model, self.feed = recipe, classifier, feed
        height, width = feed.pictures.pixels.shape[2:]
        self.shape = classifier.codec.shape((width, height))
        self.conditioner: Conditioner = Labels(classifier.classes)

    def question(self, x_0: Tensor, noise: Tensor, t: Tensor, told: Condition) -> tuple[Any, ...]:
        level = self.recipe.schedule(t)
        return marginal(x_0, level).sample(noise), level

    def loss(self, answer: Any, x_0: Tensor, told: Condition) -> Tensor:
        assert told.vector is not None
        return -(told.vector.to(answer) * answer).sum(1)

    def product(self, network: nn.Module) -> NoisyClassifier:
        return NoisyClassifier(network, self.model.codec, self.model.classes)

    def sheet(self, product: NoisyClassifier) -> None:
        return None
