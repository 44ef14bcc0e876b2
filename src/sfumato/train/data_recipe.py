"""The table [data] of a recipe: one for each medium."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetPydanticSchema
from pydantic_core import core_schema

from sfumato.data.dataset import Dataset
from sfumato.data.prepare import prepare
from sfumato.data.source import open_source
from sfumato.data.store import StoreMode
from sfumato.errors import InputError, nearest, quoted
from sfumato.media import Audio, Layout, Size
from sfumato.media.image import parse_color
from sfumato.parts import MEDIA, validate
from sfumato.train.feed import AudioFeed, DataFeed, ImageFeed
from sfumato.train.table import Count, Positive, RecipeTable


class DataRecipe(RecipeTable):
    """How data in files become samples to train on. Each medium has a table of its own."""

    medium: Any
    """The name of the medium, which each table fixes."""
    store: StoreMode = "auto"
    """Where decoded data lie: in memory, in a map of a file, or in their source alone (`data.prepare`)."""
    networks: ClassVar[tuple[str, ...]]
    """The kinds of the networks that denoise such data."""

    @property
    def wanted_size(self) -> Size | None:
        """The size that every datum is brought to, in the medium's order; None if it is the data's own."""
        return None

    @property
    def plural(self) -> str:
        """What the data are, in messages."""
        return MEDIA.kinds[self.medium].plural  # pyright: ignore[reportAttributeAccessIssue]

    def check(self) -> None:
        """Raise an `InputError` for keys that do not go together."""

    def prepare(
        self, where: str, cache: Path, progress: Callable[[int, int], None], conditioning: bool = False
    ) -> Dataset:
        """The data at `where`, in memory or, where they do not fit it, in the file `cache`; of pictures, with the
        `conditioning` images beside them if they are wanted."""
        raise NotImplementedError

    def feed(self, dataset: Dataset, reads: str = "nothing") -> DataFeed:
        """The data as samples, each with what a conditioner `reads` of it."""
        raise NotImplementedError


class ImageData(DataRecipe):
    """How pictures become samples: `size` (width, height) and `channels` are the data's own when left out."""

    medium: Literal["image"] = "image"
    size: tuple[Count, Count] | None = None
    channels: Literal[1, 3] | None = None
    fit: Literal["crop", "pad", "stretch"] = "crop"
    background: tuple[int, int, int] = (255, 255, 255)
    flip: bool = False
    backgrounds: tuple[str, ...] = ()
    """Colours, by their names in CSS, that transparent pictures are also seen before; captions say which."""
    networks = ("unet", "dit")

    @property
    def wanted_size(self) -> Size | None:
        return self.size

    def check(self) -> None:
        for name in self.backgrounds:
            try:
                parse_color(name)
            except InputError as error:
                raise InputError(f"data.backgrounds: {error}") from error
        if self.backgrounds and self.channels == 1:
            raise InputError("data.backgrounds are colours: they want data.channels=3")

    def prepare(
        self, where: str, cache: Path, progress: Callable[[int, int], None], conditioning: bool = False
    ) -> Dataset:
        return prepare(
            open_source(where),
            size=self.size,
            channels=4 if self.backgrounds else self.channels,
            fit=self.fit,
            background=self.background,
            conditioning=conditioning,
            store=self.store,
            progress=progress,
            cache=cache,
        )

    def feed(self, dataset: Dataset, reads: str = "nothing") -> ImageFeed:
        return ImageFeed(dataset, self.flip, self.background, self.backgrounds, reads)


class AudioData(DataRecipe):
    """How sounds become samples, mixed to `channels` at `rate` samples a second.

    Each is its first `seconds`, or `samples`, followed by silence where it is shorter; the data's own length when both
    are left out, if they share one. Those of the `gain` "peak" are scaled so that the loudest sample of each is ±1;
    with `invert`, each is also seen with the other polarity, −x, which sounds the same.
    """

    medium: Literal["audio"] = "audio"
    rate: Annotated[int, Field(ge=1_000, le=192_000)] = 22_050
    channels: Annotated[int, Field(ge=1, le=8)] = 1
    seconds: Positive | None = None
    samples: Count | None = None
    gain: Literal["own", "peak"] = "own"
    invert: bool = False
    networks = ("unet-1d", "dit-1d")

    @property
    def wanted_size(self) -> Size | None:
        if self.seconds is not None:
            return (max(round(self.seconds * self.rate), 1),)
        return None if self.samples is None else (self.samples,)

    def check(self) -> None:
        if self.seconds is not None and self.samples is not None:
            raise InputError(
                "data.seconds and data.samples both say how long a sound is: give one, and null for the other"
            )
        if self.wanted_size is not None:
            Audio(self.rate, self.channels).check_size(self.wanted_size)

    def prepare(
        self, where: str, cache: Path, progress: Callable[[int, int], None], conditioning: bool = False
    ) -> Dataset:
        source = open_source(where, Audio(self.rate, self.channels))
        return prepare(source, size=self.wanted_size, store=self.store, progress=progress, cache=cache)

    def feed(self, dataset: Dataset, reads: str = "nothing") -> AudioFeed:
        return AudioFeed(dataset, self.gain == "peak", self.invert, reads)


class LayoutData(DataRecipe):
    """Layouts of pictures in one of `styles`, with up to `things` things (`media.Layout`)."""

    medium: Literal["layout"] = "layout"
    styles: tuple[str, ...] = ("plain",)
    things: Count = 5
    networks = ("dit-1d", "unet-1d")

    @property
    def layout(self) -> Layout:
        return Layout(self.styles, self.things)

    @property
    def wanted_size(self) -> Size | None:
        return (1 + self.things,)

    def check(self) -> None:
        _ = self.layout

    def prepare(
        self, where: str, cache: Path, progress: Callable[[int, int], None], conditioning: bool = False
    ) -> Dataset:
        source = open_source(where, self.layout)
        return prepare(source, size=self.wanted_size, store=self.store, progress=progress, cache=cache)

    def feed(self, dataset: Dataset, reads: str = "nothing") -> DataFeed:
        return DataFeed(dataset, reads)


DATA_RECIPES: dict[str, type[DataRecipe]] = {"image": ImageData, "audio": AudioData, "layout": LayoutData}
"""The table [data] of each medium; `data.medium` says which, and is "image" if left out."""


def read_data_recipe(table: Any) -> DataRecipe:
    """The table [data] of whichever medium it names, checked strictly; a key that another medium's table has is an
    `InputError` that says so."""
    if isinstance(table, DataRecipe):
        return table
    if not isinstance(table, Mapping):
        raise InputError(f"'data' should be a table, not {quoted(table)}")
    medium = table.get("medium", "image")
    if not isinstance(medium, str) or medium not in DATA_RECIPES:
        raise InputError(f"there is no data.medium {quoted(medium)}; {nearest(str(medium), DATA_RECIPES)}")
    model = DATA_RECIPES[medium]
    for key in table.keys() - model.model_fields.keys():
        others = [name for name, other in DATA_RECIPES.items() if key in other.model_fields]
        if others:
            known = ", ".join(name for name in model.model_fields if name != "medium")
            raise InputError(
                f"data.{key} is read where data.medium is {' or '.join(others)}, and it is {medium} here, which reads"
                f" {known}"
            )
    read = validate(model, table, "data")
    assert isinstance(read, DataRecipe)
    return read


def _schema() -> GetPydanticSchema:
    writes = core_schema.plain_serializer_function_ser_schema(lambda data: data.model_dump(mode="json"))
    schema = core_schema.no_info_plain_validator_function(read_data_recipe, serialization=writes)
    return GetPydanticSchema(lambda source, handler: schema)


AnyDataRecipe = Annotated[DataRecipe, _schema()]
"""A field of a recipe that holds the table of any medium."""
