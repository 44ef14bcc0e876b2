"""The task classify: a classifier of noisy pictures, to guide systems with."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sfumato.codec import Identity
from sfumato.condition import Conditioner, Labels
from sfumato.core.condition import Condition
from sfumato.core.process import Gaussian, Process
from sfumato.core.schedule import Linear, Schedule
from sfumato.errors import InputError
from sfumato.loss import Times, UniformTimes
from sfumato.parts import NETWORKS, SCHEDULES, TIMES, part_field
from sfumato.system.classifier import NoisyClassifier
from sfumato.train.base_recipe import Recipe, check_pictures, check_times
from sfumato.train.batches import mix
from sfumato.train.feed import DataFeed, Feed
from sfumato.train.tasks.protocol import Stop, Task, Trainee, never

if TYPE_CHECKING:
    from sfumato.train.run import Run


class ClassifyRecipe(Recipe):
    """A classifier of pictures at every level of a schedule."""

    task: Literal["classify"] = "classify"
    network: dict[str, Any] = Field({"kind": "encoder"})
    schedule: Annotated[Schedule, part_field(SCHEDULES)] = Linear()
    times: Annotated[Times, part_field(TIMES)] = UniformTimes()

    def check(self) -> None:
        super().check()
        check_pictures(self.task, self.data)
        self.dry_network(NETWORKS, ("encoder",), in_channels=1, outputs=2)
        check_times(self.times, self.schedule)


class ClassifyTask(Task):
    """Leaves a `NoisyClassifier` of the data's classes."""

    recipe = ClassifyRecipe
    leaves = "classifier"
    previews = False

    def __init__(self, run: "Run") -> None:
        self.own: ClassifyRecipe = run.recipe  # pyright: ignore[reportAttributeAccessIssue]
        self.feed = run.recipe.data.feed(run.dataset, "labels")

    def check(self) -> int:
        with torch.device("meta"):
            network = build_classifier(self.own, self.feed).network
        return sum(parameter.numel() for parameter in network.parameters())

    def trainee(self) -> Trainee:
        return ClassifyTrainee(self.own, build_classifier(self.own, self.feed), self.feed)


class ClassifyTrainee:
    """The network learns the classes of noisy pictures, by cross-entropy; there is no preview."""

    dropout = 0.0
    passes = 0
    process: Process = Gaussian()

    def __init__(self, recipe: ClassifyRecipe, classifier: NoisyClassifier, feed: Feed) -> None:
        self.times, self.schedule = recipe.times, recipe.schedule
        self.model, self.feed = classifier, feed
        self.shape = classifier.codec.shape(feed.dataset.size)
        self.conditioner: Conditioner = Labels(classifier.classes)

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, condition: Condition) -> tuple[Any, ...]:
        level = self.schedule(t)
        return self.process.corrupt(x_0, level, noise), level

    def loss(self, outputs: Any, x_0: Tensor, condition: Condition) -> Tensor:
        """`−log p(class | x_t)`, [b]."""
        assert condition.vector is not None
        return -(condition.vector.to(outputs) * outputs).sum(1)

    def artefact(self, network: nn.Module) -> NoisyClassifier:
        return NoisyClassifier(network, self.model.codec, self.model.classes)

    def preview(self, artefact: NoisyClassifier, stop: Stop = never) -> None:
        return None


def build_classifier(recipe: ClassifyRecipe, feed: DataFeed) -> NoisyClassifier:
    """The untrained classifier that `recipe` describes for the classes of these pictures."""
    dataset = feed.dataset
    if dataset.labels is None or len(dataset.classes) < 2:
        raise InputError("a classifier needs classes, two or more: sort the pictures into a folder a class")
    codec = Identity(feed.medium)
    torch.manual_seed(mix(recipe.train.seed, 0))
    network = NETWORKS.load(recipe.network, in_channels=codec.channels, outputs=len(dataset.classes))
    network.check_size(*codec.shape(dataset.size)[1:])
    return NoisyClassifier(network, codec, tuple(dataset.classes))
