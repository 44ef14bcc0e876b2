"""Links of a cascade: what one system drew becomes a conditioning input of the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato import files
from sfumato.arguments import own
from sfumato.codec import Codec, Latent
from sfumato.condition import Phrases, Prompt
from sfumato.core.condition import Condition
from sfumato.core.noise import Noise
from sfumato.errors import InputError, ShapeError, quoted
from sfumato.media import Image, Layout
from sfumato.media.image.resize import resized
from sfumato.media.protocol import Record, Size
from sfumato.nn.image.sprites import Sprites
from sfumato.parts import Kinds
from sfumato.system.drawing import ConditionSource, Drawing, condition_of
from sfumato.system.samples import Samples
from sfumato.system.settings import is_number
from sfumato.wording import few

if TYPE_CHECKING:
    from sfumato.system.system import System


@runtime_checkable
class Link(Protocol):
    """From one stage of a cascade to the next: a frozen dataclass whose constructor's arguments say all of it."""

    def __call__(
        self, drawn: Samples, drawing: Drawing, system: "System", noise: Noise, before: "System", /
    ) -> Condition:
        """The conditioning inputs of the next `system`, a row a sample: of what was `drawn`, the caller's `drawing`
        of that system, noise of each sample's own, and the system `before` it, which drew. Raises a `ShapeError` where
        the two systems do not fit."""
        ...


@dataclass(frozen=True)
class Upsample:
    """A picture for a system of super-resolution: `concat`, resized bilinearly to the size of its samples. Where these
    are latents, and the network takes as many channels beside them, it is resized to the size of the pictures, and its
    latents are what is given, as they were in a training with `condition.image`.

    With `noise`, by conditioning augmentation: `z_s = √(1 − noise²)·z + noise·eps` stands for the picture z, at a level
    that the system was trained at, so that faults of the first stage do not mislead it (cascaded diffusion,
    arXiv:2106.15282, section 4.2).
    """

    noise: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.noise, 0, 1) or self.noise == 1:
            raise InputError(f"the noise of conditioning augmentation lies in [0, 1), not {quoted(self.noise)}")

    def __call__(
        self, drawn: Samples, drawing: Drawing, system: "System", noise: Noise, before: "System", /
    ) -> Condition:
        if not isinstance(drawn.medium, Image):
            raise ShapeError(f"Upsample takes pictures, and the stage before it draws {drawn.medium.plural}")
        channels = getattr(system.network, "concat", 0)
        if isinstance(system._codec, Latent) and channels == system._codec.channels:
            size = system.medium.shape(drawn_size(drawing, system))[1:]
            return Condition(concat=self._noised(system.codec.encode(resized(drawn.data, size)), noise))
        return Condition(concat=resized(self._noised(drawn.data, noise), sample_axes(drawing, system)))

    def _noised(self, z: Tensor, noise: Noise) -> Tensor:
        return math.sqrt(1 - self.noise**2) * z + self.noise * noise.like(z) if self.noise else z


@dataclass(frozen=True)
class Embed:
    """An embedding for its decoder: `vector` (unCLIP, arXiv:2204.06125, section 2)."""

    def __call__(
        self, drawn: Samples, drawing: Drawing, system: "System", noise: Noise, before: "System", /
    ) -> Condition:
        if drawn.data.ndim != 2:
            raise ShapeError(f"Embed takes embeddings, and the stage before it draws {drawn.medium.plural}")
        return Condition(vector=drawn.data)


@dataclass(frozen=True)
class Vocode:
    """A spectrogram or latents along time [n, *c, frames] for a decoder of sound: `concat`, each frame repeated along
    its samples (as WaveGrad does, arXiv:2009.00713), or `context`, a vector a frame to attend to."""

    through: Literal["concat", "context"] = "concat"

    def __post_init__(self) -> None:
        if self.through not in ("concat", "context"):
            raise InputError(f"Vocode goes through concat or context, not {quoted(self.through)}")

    def __call__(
        self, drawn: Samples, drawing: Drawing, system: "System", noise: Noise, before: "System", /
    ) -> Condition:
        if drawn.data.ndim < 3:
            raise ShapeError(f"Vocode takes data along time, and the stage before it draws {drawn.medium.plural}")
        frames = drawn.data.flatten(1, -2)  # of a spectrogram as a picture, all rows are channels
        if self.through == "context":
            return Condition(context=frames.transpose(1, 2))
        (length,) = sample_axes(drawing, system) if len(sample_axes(drawing, system)) == 1 else (0,)
        if not length:
            raise ShapeError("Vocode leads to a system of sounds, whose samples lie along time alone")
        places = torch.arange(length) * frames.shape[2] // length
        return Condition(concat=frames[:, :, places])


@dataclass(frozen=True)
class Ground:
    """A layout for `Sprites`: `context`, of each place the vector of its phrase without its colour, the colour, and its
    numbers in the layout; and a `mask`, true at the ground and where the prompt names a thing.

    The phrases are those that the layout was drawn of: its system reads its prompts by `Phrases`.
    """

    def __call__(
        self, drawn: Samples, drawing: Drawing, system: "System", noise: Noise, before: "System", /
    ) -> Condition:
        own, x = before.conditioner, drawn.data
        if not (isinstance(drawn.medium, Layout) and isinstance(own, Phrases)):
            raise ShapeError(f"Ground takes layouts of phrases, and the stage before it draws {drawn.medium.plural}")
        if own.things != drawn.medium.things:
            raise ShapeError(
                f"Ground takes a phrase for each of the {drawn.medium.things} things of a layout, and the stage before"
                f" it reads {own.things}"
            )
        things, mask = own.placed([record.get("prompt") for record in drawn.records])
        context = torch.cat([things.to(x), x.transpose(1, 2)], dim=2)
        return Condition(context=context, mask=mask.to(x.device))

    def warnings(self, prompts: Sequence[Prompt], system: "System", before: "System") -> list[str]:
        """A line each for prompts that name nothing, and for what they name that no name of a sprite is like."""
        own, network = before.conditioner, system.denoiser.network
        if not (isinstance(own, Phrases) and isinstance(network, Sprites)):
            return []
        named = [own.parsed(prompt).things for prompt in prompts]
        known = network.memory.knows(own.placed(prompts)[0][:, 1:, : network.phrase].to(system.device)).tolist()
        pairs = [pair for things, row in zip(named, known, strict=True) for pair in zip(things, row, strict=False)]
        unknown = [*dict.fromkeys(quoted(phrase) for phrase, is_known in pairs if not is_known)]
        return [*_nothing_named(sum(not things for things in named)), *_not_known(unknown)]


def _nothing_named(number: int) -> list[str]:
    which = "the prompt names" if number == 1 else f"{number:,} prompts name"
    return [f"{which} nothing to draw: what comes is a background"] if number else []


def _not_known(phrases: Sequence[str]) -> list[str]:
    are, them = ("is", "it") if len(phrases) == 1 else ("are", "them")
    line = f"{few(phrases)} {are} like no name that is known: what is nearest to {them} is drawn instead"
    return [line] if phrases else []


def drawn_size(drawing: Drawing, system: "System") -> Size:
    """The size of the data in this drawing of the system."""
    size = drawing.get("size")
    return system.settings.size if size is None else system.medium.check_size(own(size))


def sample_axes(drawing: Drawing, system: "System") -> tuple[int, ...]:
    """The size of the system's samples in this drawing, but for their channels."""
    return system.sample_shape(drawn_size(drawing, system))[1:]


@dataclass(frozen=True)
class Linked:
    """The condition of a stage: the caller's `given` and the `inputs` of a link, which records do not hold: the stage
    before it draws them again."""

    given: Condition | ConditionSource | None
    inputs: Condition

    def __call__(self, codec: Codec, size: Size, /) -> tuple[Condition, Record]:
        given, record = self.given or Condition(), {}
        if not isinstance(given, Condition):
            given, record = condition_of(given, codec, size)
        elif given.given():
            record = {"sha256": files.tensors_sha256(given.given())}
        if twice := given.given().keys() & self.inputs.given().keys():
            raise InputError(f"the condition's {min(twice)} comes from the stage before: leave it (--image) out")
        return replace(given, **self.inputs.given()), record


LINKS = Kinds[Link]("link", {"upsample": Upsample, "embed": Embed, "vocode": Vocode, "ground": Ground})
