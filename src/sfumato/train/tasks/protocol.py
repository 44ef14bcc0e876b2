"""Tasks: how a recipe, data and a folder become a trainee, and how that becomes an artefact."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from sfumato.condition import Conditioner
from sfumato.core.condition import Condition
from sfumato.core.process import Process
from sfumato.core.schedule import Schedule
from sfumato.data.dataset import Dataset
from sfumato.loss import Times
from sfumato.train.base_recipe import Recipe
from sfumato.train.feed import Feed
from sfumato.train.run_folder import RunFolder

if TYPE_CHECKING:
    from PIL.Image import Image

    from sfumato.train.run import Run

Preview = tuple["Image", dict[str, Any]]
"""A picture of what there is so far, and a record to keep in it."""

Stop = Callable[[], bool]
"""Whether to give up."""


def never() -> bool:
    return False


class Artefact(Protocol):
    """What a run leaves behind: a system, a classifier, a codec."""

    about: dict[str, Any]

    def save(self, folder: str | Path) -> Path: ...
    def to(self, device: Any, precision: str | None = None) -> Any: ...


class Trainee(Protocol):
    """The model that a trainer trains, its data and its loss, and the artefact that is made of it.

    - `model` is called in training, and holds the `network` that learns;
    - `feed` gives data and prompts, `conditioner` the condition of a prompt, and `dropout` is the share of samples
      whose condition is dropped;
    - `shape` is that of the noise beside each sample;
    - `times` draw the time of each sample on `schedule`, and `process` draws its noise;
    - `passes` are the passes of one sample through the network that a preview takes.
    """

    feed: Feed
    conditioner: Conditioner
    shape: tuple[int, ...]
    dropout: float
    times: Times
    schedule: Schedule
    process: Process

    @property
    def passes(self) -> int: ...

    @property
    def model(self) -> Any: ...

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, condition: Condition) -> tuple[Any, ...]:
        """The model's arguments for data x_0 [b, *d], `noise` [b, *shape] and times t [b]."""
        ...

    def loss(self, outputs: Any, x_0: Tensor, condition: Condition) -> Tensor:
        """The model's outputs → a loss per sample, [b]."""
        ...

    def artefact(self, network: nn.Module) -> Any:
        """What is saved and drawn with, around `network` in the place of the one in training."""
        ...

    def preview(self, artefact: Any, stop: Stop = never) -> Preview | None:
        """A picture from fixed seeds; None if there is nothing to look at, or `stop` came first."""
        ...


class Need(NamedTuple):
    """Something that a run makes in its folder before it trains; `make` finds it if it is there already. `size` is how
    many bytes it will take, 0 if it is there."""

    size: int
    make: Callable[[], None]


class Task(Protocol):
    """A kind of training, for one `run`: subclass it, and put the class into `TASKS`.

    The class says which recipes it reads and what it leaves behind. The run then asks its task, in this order: whether
    what it is to train can be built (`check`), what must be there first (`needs`), and for the trainee itself.
    """

    recipe: ClassVar[type[Recipe]]
    """The model of its recipes: its tables and keys, and no others, may be in them."""
    leaves: ClassVar[str]
    """The folder of its artefact, which holds a JSON of that name."""
    previews: ClassVar[bool] = True
    """Whether there is something to look at."""
    stages: ClassVar[tuple[str, ...]] = ()
    """The folders, within the run's, of the runs that its needs may be."""

    def __init__(self, run: "Run") -> None: ...

    @classmethod
    def check_sources(cls, recipe: Any, before: Any, folder: RunFolder) -> None:
        """Raise an error for a codec, system or file that the recipe names and that cannot be had; and, if the run was
        begun with the recipe `before`, for keys that are fixed by now. Data are read only afterwards."""

    @classmethod
    def stage_recipes(cls, recipe: Any, folder: RunFolder) -> Sequence[Recipe]:
        """The recipes of the stages that are still to be run."""
        return ()

    @classmethod
    def notes(cls, recipe: Any, dataset: Dataset) -> Sequence[str]:
        """What to say of data that the recipe makes no use of."""
        return ()

    def check(self) -> int:
        """Raise an `InputError` if the trainee cannot be built; builds nothing of any size. Returns how many numbers
        there are to train."""
        ...

    def needs(self) -> Sequence[Need]:
        """What must be there first, in the order in which it is made."""
        return ()

    def trainee(self) -> Trainee:
        """The trainee, untrained; all needs have been made."""
        ...
