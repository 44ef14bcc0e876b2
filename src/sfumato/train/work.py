"""What a run trains: a system that draws, or a classifier to guide with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sfumato.classifier import NoisyClassifier
from sfumato.condition import Labels, Prompt
from sfumato.core.condition import Condition
from sfumato.data.prepare import Pictures
from sfumato.denoise import Denoiser
from sfumato.samples import Samples
from sfumato.system import System
from sfumato.train.build import build, build_classifier
from sfumato.train.recipe import Recipe

MOST_SHOWN = 64


class Product(Protocol):
    """What a run leaves behind."""

    about: dict[str, Any]

    def save(self, folder: str | Path) -> Path: ...


class Work(Protocol):
    """How a batch becomes a loss, and a network what is saved. `model` is called, and holds the `network` in training.

    `shape` is that of a sample; `prompted` says whether the pictures' labels are wanted, and `dropout` how many of them
    are to be left out.
    """

    name: str
    shape: tuple[int, ...]
    prompted: bool
    dropout: float

    @property
    def model(self) -> Any: ...

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [b, c, h, w] in [−1, 1] → samples [b, *d]."""
        ...

    def told(self, prompts: Sequence[Prompt], device: torch.device) -> tuple[Any, ...]:
        """What the model is told besides noisy samples and their level."""
        ...

    def loss(self, answer: Any, x_0: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """What the model answered → a loss per sample, [b]."""
        ...

    def product(self, network: nn.Module) -> Any:
        """What is saved and drawn with, around `network` in the place of the one in training."""
        ...

    def sheet(self, product: Any) -> Samples | None:
        """Samples to look at, from fixed seeds."""
        ...


class Denoising:
    """A system: the network learns to denoise."""

    name = "system"

    def __init__(self, recipe: Recipe, system: System) -> None:
        self.recipe, self.system = recipe, system
        self.model = system.denoiser
        self.shape = system.codec.shape(system.settings.size)
        self.prompted, self.dropout = bool(system.conditioner.doors), recipe.condition.dropout

    def encode(self, pictures: Tensor) -> Tensor:
        return self.system.codec.encode(pictures)

    def told(self, prompts: Sequence[Prompt], device: torch.device) -> tuple[Condition]:
        return (self.system.conditioner(prompts).to(device),)

    def loss(self, answer: Any, x_0: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        return self.recipe.loss(answer, x_0, self.recipe.schedule)

    def product(self, network: nn.Module) -> System:
        own = self.system
        denoiser = Denoiser(network, own.denoiser.schedule, own.denoiser.parameterization)
        return System(own.codec, own.conditioner, denoiser, own.settings)

    def sheet(self, product: System) -> Samples:
        classes = getattr(product.conditioner, "classes", ())[:MOST_SHOWN]
        each = min(8, MOST_SHOWN // len(classes)) if classes else MOST_SHOWN // 4
        return product.generate(list(classes) or None, seeds=range(max(each, 1)))


class Classifying:
    """A classifier: the network learns what noisy pictures show. There is nothing to draw."""

    name = "classifier"
    prompted, dropout = True, 0.0

    def __init__(self, classifier: NoisyClassifier, shape: tuple[int, ...]) -> None:
        self.model, self.shape = classifier, shape
        self._labels = Labels(classifier.classes)

    def encode(self, pictures: Tensor) -> Tensor:
        return self.model.codec.encode(pictures)

    def told(self, prompts: Sequence[Prompt], device: torch.device) -> tuple[()]:
        return ()

    def loss(self, answer: Any, x_0: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        target = self._labels(prompts).vector
        assert target is not None
        return -(target.to(answer) * answer).sum(1)

    def product(self, network: nn.Module) -> NoisyClassifier:
        return NoisyClassifier(network, self.model.codec, self.model.classes)

    def sheet(self, product: NoisyClassifier) -> None:
        return None


def work(recipe: Recipe, pictures: Pictures) -> Work:
    """The work that a recipe describes, untrained."""
    if recipe.task == "classify":
        height, width = pictures.pixels.shape[2:]
        classifier = build_classifier(recipe, pictures)
        return Classifying(classifier, classifier.codec.shape((width, height)))
    return Denoising(recipe, build(recipe, pictures))
