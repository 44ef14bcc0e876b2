"""The tasks that a run may have: a system that draws, a classifier to guide with, or an autoencoder to draw in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor, nn

from sfumato.condition import Conditioner, Labels
from sfumato.core.condition import Condition
from sfumato.core.gaussian import marginal
from sfumato.denoise import Denoiser
from sfumato.system import System
from sfumato.system.classifier import NoisyClassifier
from sfumato.system.samples import Samples
from sfumato.train.feed import Feed
from sfumato.train.recipe import Recipe

MOST_SHOWN, CAPTIONS = 64, 12

Preview = tuple[Image.Image, dict[str, Any]]
"""A picture of what there is so far, and a record to keep in it."""


Stop = Callable[[], bool]
"""Whether to give up."""


def never() -> bool:
    return False


class Artefact(Protocol):
    """What a run leaves behind."""

    about: dict[str, Any]

    def save(self, folder: str | Path) -> Path: ...


class Task(Protocol):
    """How a batch becomes a loss, and a network what is saved. `model` is called, and holds the `network` in training.

    `feed` gives samples and prompts, `conditioner` what a prompt tells, `shape` is that of the noise beside a sample,
    and `dropout` the share that is told nothing. A sheet takes so many `passes` of one picture through the network.
    """

    name: str
    feed: Feed
    conditioner: Conditioner
    shape: tuple[int, ...]
    dropout: float

    @property
    def passes(self) -> int: ...

    @property
    def model(self) -> Any: ...

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, told: Condition) -> tuple[Any, ...]:
        """What the model is asked: its arguments."""
        ...

    def loss(self, outputs: Any, x_0: Tensor, told: Condition) -> Tensor:
        """What the model answered → a loss per sample, [b]."""
        ...

    def artefact(self, network: nn.Module) -> Any:
        """What is saved and drawn with, around `network` in the place of the one in training."""
        ...

    def preview(self, artefact: Any, stop: Stop = never) -> Preview | None:
        """Something to look at, from fixed seeds; None if there is nothing, or `stop` came before it was there."""
        ...


class DenoiseTask:
    """A system: the network learns to denoise. `conditioner` answers like the system's own, and may be a faster one."""

    name = "system"

    def __init__(self, recipe: Recipe, system: System, feed: Feed, conditioner: Conditioner | None = None) -> None:
        self.recipe, self.system, self.feed = recipe, system, feed
        self.conditioner = conditioner or system.conditioner
        self.model = system.denoiser
        self.shape = system.codec.shape(system.settings.size)
        self.dropout = recipe.condition.dropout

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, told: Condition) -> tuple[Any, ...]:
        level = self.recipe.schedule(t)
        return marginal(x_0, level).sample(noise), level, told

    def loss(self, outputs: Any, x_0: Tensor, told: Condition) -> Tensor:
        return self.recipe.loss(outputs, x_0, self.recipe.schedule)

    def artefact(self, network: nn.Module) -> System:
        own = self.system
        denoiser = Denoiser(network, own.denoiser.schedule, own.denoiser.parameterization)
        return System(own.codec, own.conditioner, denoiser, own.settings)

    @property
    def passes(self) -> int:
        own = self.system.settings
        prompts, seeds = self._shown()
        return max(len(prompts), 1) * seeds * own.steps * (1 if own.guidance == 1 else 2)

    def preview(self, artefact: System, stop: Stop = never) -> Preview | None:
        """A class a row; or captions from all over the data, two pictures of each; or anything."""
        prompts, seeds = self._shown()
        drawn: list[Samples] = []
        for frame in artefact.stream(prompts or None, seeds=range(seeds)):
            if stop():
                return None
            if frame.samples is not None:
                drawn.append(frame.samples)
        samples = Samples.concat(drawn)
        columns = seeds if self._classes() else 8 if prompts else None
        return samples.preview(columns), samples.records[0]

    def _shown(self) -> tuple[list[str], int]:
        """The prompts of a sheet, and how many pictures of each; no prompts where anything is drawn."""
        if classes := self._classes():
            return classes, max(min(8, MOST_SHOWN // len(classes)), 1)
        captions = self._captions()
        return captions, 2 if captions else MOST_SHOWN // 4

    def _classes(self) -> list[str]:
        return [*getattr(self.system.conditioner, "classes", ())][:MOST_SHOWN]

    def _captions(self) -> list[str]:
        """Some captions, from all over the data."""
        n = len(self.feed.pictures)
        prompts = (self.feed.prompt(i * n // CAPTIONS, 0, 0.0) for i in range(min(n, CAPTIONS)))
        return list(dict.fromkeys(str(prompt) for prompt in prompts if prompt is not None))


class ClassifyTask:
    """A classifier: the network learns what noisy pictures show. There is nothing to draw."""

    name = "classifier"
    dropout = 0.0
    passes = 0

    def __init__(self, recipe: Recipe, classifier: NoisyClassifier, feed: Feed) -> None:
        self.recipe, self.model, self.feed = recipe, classifier, feed
        height, width = feed.pictures.stored.shape[2:]
        self.shape = classifier.codec.shape((width, height))
        self.conditioner: Conditioner = Labels(classifier.classes)

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, told: Condition) -> tuple[Any, ...]:
        level = self.recipe.schedule(t)
        return marginal(x_0, level).sample(noise), level

    def loss(self, outputs: Any, x_0: Tensor, told: Condition) -> Tensor:
        assert told.vector is not None
        return -(told.vector.to(outputs) * outputs).sum(1)

    def artefact(self, network: nn.Module) -> NoisyClassifier:
        return NoisyClassifier(network, self.model.codec, self.model.classes)

    def preview(self, artefact: NoisyClassifier, stop: Stop = never) -> None:
        return None
