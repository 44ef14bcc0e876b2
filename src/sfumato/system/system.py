"""A System: everything that is needed to draw, as one value and as one folder."""

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato import files, machine
from sfumato.arguments import listed, own, whole
from sfumato.codec import Codec
from sfumato.condition import ClipText, Conditioner, Prompt, Text, TokenIds
from sfumato.condition.normalize import as_text
from sfumato.core.condition import Condition
from sfumato.core.defaults import by_defaults, torch_defaults
from sfumato.core.grid import Spacing, initial_std, levels
from sfumato.core.noise import Noise
from sfumato.denoise import Denoiser, DenoiserLike
from sfumato.errors import InputError, NonFiniteError, ShapeError, quoted
from sfumato.guide import ClassifierFree, Watch
from sfumato.parts import CODECS, CONDITIONERS, NETWORKS, PARAMETERIZATIONS, SCHEDULES
from sfumato.sample import Sampler, sample
from sfumato.system import file as system_file
from sfumato.system.fingerprint import Weighted
from sfumato.system.samples import Samples
from sfumato.system.settings import DryRun, Settings, Thresholding, dry_run


@dataclass(frozen=True)
class Frame:
    """One move of one batch, on the way from noise to pictures.

    `done` of `total` moves are made, over all batches; `x` [b, *d] is where the batch stands and `x0` what it is
    believed to become, both in the codec's space (`System.codec.decode` shows them). `samples` holds the batch when
    this was its last move.
    """

    done: int
    total: int
    x: Tensor
    x0: Tensor
    samples: Samples | None


class System(Weighted):
    """Codec, conditioner, denoiser, and the settings to draw with.

    `about` is a free table of JSON that travels along: where the weights came from, figures, a licence.
    """

    def __init__(
        self,
        codec: Codec,
        conditioner: Conditioner,
        denoiser: Denoiser,
        settings: Settings,
        about: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(codec, denoiser)
        self.conditioner, self.settings = conditioner, settings
        self.about = about or {}
        self.opened: dict[str, Any] = {}
        """By what it was opened, for records: the `model`, as `sfumato generate` takes it."""

    # Drawing ----------------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt] = None,
        *,
        seeds: Sequence[int] = (0,),
        size: tuple[int, int] | None = None,
        sampler: Sampler[Any] | str | None = None,
        spacing: Spacing | str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        interval: tuple[float, float] | None = None,
        rescale: float | None = None,
        negative: Prompt = None,
        beside: Tensor | None = None,
        guide: Callable[[DenoiserLike], DenoiserLike] | None = None,
        batch: int | None = None,
    ) -> Samples:
        """Draw one picture for each prompt and seed, prompt by prompt; `stream` says what the arguments mean."""
        frames = self.stream(
            prompt,
            seeds=seeds,
            size=size,
            sampler=sampler,
            spacing=spacing,
            steps=steps,
            guidance=guidance,
            interval=interval,
            rescale=rescale,
            negative=negative,
            beside=beside,
            guide=guide,
            batch=batch,
        )
        return Samples.concat(frame.samples for frame in frames if frame.samples is not None)

    def stream(
        self,
        prompt: Prompt | Sequence[Prompt] = None,
        *,
        seeds: Sequence[int] = (0,),
        size: tuple[int, int] | None = None,
        sampler: Sampler[Any] | str | None = None,
        spacing: Spacing | str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        interval: tuple[float, float] | None = None,
        rescale: float | None = None,
        negative: Prompt = None,
        beside: Tensor | None = None,
        guide: Callable[[DenoiserLike], DenoiserLike] | None = None,
        batch: int | None = None,
    ) -> Iterator[Frame]:
        """Draw as `generate` does, giving a `Frame` after every move. Arguments are checked before the first.

        - `prompt`: what the conditioner reads, or a list of it; None asks for anything;
        - `seeds`: one picture each, which depends on its own seed and on nothing else that is drawn beside it, but for
          rounding, which differs with the size of the batch: `batch=1` leaves none;
        - `size` (width, height), `sampler`, `spacing`, `steps`, `guidance`, `interval`, `rescale`: in place of the
          system's own settings. A sampler or spacing may be spelled: "ddim", "ddim,eta=0.5";
        - `negative`: a prompt to lead away from, in the place of the empty one, where guidance is on;
        - `beside` [c, h, w]: channels that a network with the door `concat` sees beside each sample, such as
          `codec.within` makes of a picture and a mask;
        - `guide`: puts a guide of your own around the denoiser, as in `lambda denoiser: Autoguidance(denoiser, …)`;
        - `batch`: how many are drawn at once; None fits it to their size.
        """
        with torch_defaults():
            prompts = [_said(one) for one in _prompts(prompt)]
            negative = _said(negative)
            seeds = [whole("a seed", seed, 0, 2**63 - 1) for seed in listed("seeds", seeds)]
            batch = whole("batch", batch, 1, 2**20) if batch is not None else None
            if not prompts or not seeds:
                raise InputError("nothing to draw: give at least one prompt and one seed")
            chosen = self.settings.updated(
                size=size,
                sampler=sampler,
                spacing=spacing,
                steps=steps,
                guidance=guidance,
                interval=interval,
                rescale=rescale,
            )
            given = [prompt for prompt in (*prompts, negative) if prompt not in (None, "")]
            if chosen.guidance == 1 and negative not in (None, ""):
                raise InputError("a negative prompt needs guidance, which is off at 1: give guidance=2 or so")
            # is an empty prompt asked as well?
            self.check(chosen, prompted=bool(given) and len(given) < len(prompts) + 1)
            self._check_beside(beside, chosen)
            _check_guide(guide)
            conditioner = self.conditioner
            if isinstance(conditioner, ClipText):
                conditioner = conditioner.sized(chosen.size)
            self._lazy.begin("network")
            conditioner([*prompts, negative])  # an unknown prompt stops here, before anything is drawn
            tell = partial(self._condition, conditioner, beside)
            wanted = [(prompt, seed) for prompt in prompts for seed in seeds]
            around = partial(self._guided, tell=tell, chosen=chosen, negative=negative, guide=guide)
            record = {} if negative is None else {"negative": negative}
            record |= {} if guide is None else {"guide": str(guide)}
            record |= {} if beside is None else {"beside": files.tensors_sha256({"beside": beside})}
            batch = batch or self.batch(chosen.size)
        return by_defaults(
            self._within_memory(self._frames(wanted, chosen, tell, around, record, batch), chosen, batch)
        )

    def _within_memory(
        self, frames: Generator[Frame, None, None], chosen: Settings, batch: int
    ) -> Generator[Frame, None, None]:
        """The frames; where memory is short, an error that says what to draw less of."""
        less = f"batch={batch // 2} (-n 1 on the command line) or a smaller size" if batch > 1 else "a smaller size"
        width, height = chosen.size
        with machine.memory_errors(
            f"drawing {batch} of {width}×{height} at once does not fit the memory: give {less}, or bfloat16"
        ):
            yield from frames

    def _frames(
        self,
        wanted: list[tuple[Prompt, int]],
        chosen: Settings,
        tell: Callable[[Sequence[Prompt]], Condition],
        guided: Callable[[Sequence[Prompt]], DenoiserLike],
        extra: dict[str, Any],
        batch: int,
    ) -> Generator[Frame, None, None]:
        grid = levels(self._denoiser.schedule, chosen.spacing, chosen.steps)
        record = {"sfumato": version("sfumato"), "system": self.fingerprint(), **self.opened, **chosen.dump(), **extra}
        record.pop("presets", None)  # of samplers that were not asked for
        record["precision"] = str(next(self.denoiser.parameters()).dtype).removeprefix("torch.")
        record |= machine.float32_math(self.device)
        batches = [wanted[i : i + batch] for i in range(0, len(wanted), batch)]
        total = len(batches) * chosen.steps
        for module in (self._denoiser, *self._modules().values()):
            module.eval()
        self._lay_out()
        for nth, part in enumerate(batches):
            prompts = [prompt for prompt, _ in part]
            noise = Noise([seed for _, seed in part])
            shape = self._codec.shape(chosen.size)
            start = noise(*shape).to(self.device) * initial_std(chosen.spacing, grid[0])
            watch = Watch(guided(prompts))
            condition = tell(prompts)
            for move, x in enumerate(sample(watch, chosen.sampler, start, grid, condition, noise=noise), start=1):
                assert watch.last is not None
                samples = None
                if move == chosen.steps:
                    data = self.codec.decode(x).cpu()
                    records = tuple({"prompt": p, "seed": s, **record} for p, s in part)
                    samples = Samples(data, self.codec.medium, records)
                yield Frame(nth * chosen.steps + move, total, x, watch.last.x0, samples)

    def _guided(
        self,
        prompts: Sequence[Prompt],
        tell: Callable[..., Condition],
        chosen: Settings,
        negative: Prompt,
        guide: Callable[[DenoiserLike], DenoiserLike] | None,
    ) -> DenoiserLike:
        """The denoiser in its guides: classifier-free where there is a prompt, the caller's own, what bounds x_0."""
        denoiser: DenoiserLike = self.denoiser
        if chosen.guidance != 1 and any(prompt not in (None, "") for prompt in (*prompts, negative)):
            null = tell([negative] * len(prompts), negative=True)
            denoiser = ClassifierFree(denoiser, null, chosen.guidance, chosen.interval, chosen.rescale)
        if guide is not None:
            denoiser = guide(denoiser)
            if not callable(denoiser):
                raise InputError(
                    f"the guide gave {quoted(denoiser)}, where a denoiser is wanted: see that it returns one"
                )
        return (chosen.thresholding or Thresholding(self._codec.limit)).around(denoiser)

    def _condition(
        self, conditioner: Conditioner, beside: Tensor | None, prompts: Sequence[Prompt], negative: bool = False
    ) -> Condition:
        """What the denoiser is told of these prompts, or, `negative`, led away from."""
        told = conditioner.negative(prompts) if negative and isinstance(conditioner, ClipText) else conditioner(prompts)
        if beside is not None:
            told = replace(told, concat=beside.expand(len(prompts), *beside.shape))
        for name, value in told.given().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise NonFiniteError(
                    f"the conditioner gave {name} that are not finite for {quoted(list(prompts))}: its weights are"
                    " damaged, or want float32"
                )
        return told.to(self.device)

    def _check_beside(self, beside: Tensor | None, chosen: Settings) -> None:
        """Raise a `ShapeError` unless there are the channels that the network sees beside a sample, of its size."""
        if beside is not None and not (isinstance(beside, Tensor) and beside.is_floating_point()):
            raise InputError(f"beside must be a tensor of real numbers, not {quoted(beside)}")
        if beside is not None and not bool(beside.isfinite().all()):
            raise InputError(
                "beside holds a number that is not finite: look at the picture and the mask it was made of"
            )
        wanted: int = getattr(self._denoiser.network, "concat", 0)
        shape = (wanted, *self._codec.shape(chosen.size)[1:]) if wanted else None
        found = None if beside is None else tuple(beside.shape)
        if found != shape:
            wants = f"{list(shape)} beside each sample" if shape else "nothing beside a sample"
            given = list(found) if found else "nothing"
            raise ShapeError(
                f"this system's network sees {wants}, and was given {given}; a picture and a mask become such channels"
                " by system.codec.masked_condition(picture, mask)"
            )

    def truncated(self, prompt: Prompt) -> str:
        """The end of a prompt that is too long to be read; "" if all of it is."""
        return self.conditioner.truncated(prompt) if isinstance(self.conditioner, Text | TokenIds | ClipText) else ""

    def check(self, chosen: Settings, prompted: bool) -> None:
        """Raise an `InputError` for settings that this system cannot draw with; one for a size says which near by
        fits."""
        chosen.check()
        if chosen.guidance != 1 and prompted and not self.conditioner.dropout:
            raise InputError("this system never saw an empty prompt in training, so guidance can only be 1")
        codec, denoiser = self._codec, self._denoiser
        channels = getattr(denoiser.network, "out_channels", codec.channels)
        trial = DryRun(denoiser.schedule, denoiser.parameterization, channels == 2 * codec.channels)
        dry_run(trial, chosen.sampler, chosen.spacing, chosen.steps)
        _, *axes = codec.shape(chosen.size)
        check_size = getattr(denoiser.network, "check_size", None)
        if check_size is not None:
            check_size(*axes)

    def batch(self, size: tuple[int, int] | None = None) -> int:
        """How many pictures of `size` are drawn at once: many small ones, few large."""
        width, height = size or self.settings.size
        return min(max(2**18 // (width * height), 1), 256)

    # Place ------------------------------------------------------------------------------------------------------------

    @torch_defaults()  # a caller's would forbid gradients through these weights ever after
    def to(self, device: str | torch.device | None = None, precision: str | None = None) -> "System":
        """Move to a device and a precision (float32 or bfloat16); None picks the best that the machine has."""
        where = machine.pick_device(str(device) if device is not None else None)
        with self._the_same():
            for part in self._parts().values():
                part.to(where, machine.dtype(machine.pick_precision(where, precision)))
        if where.type != "cpu" and isinstance(self.conditioner, Text | ClipText):  # on the CPU it need not be read yet
            self.conditioner.to(where)
        self._laid_out = False
        self._lay_out()
        return self

    # Saving and loading -----------------------------------------------------------------------------------------------

    def spec(self) -> dict[str, Any]:
        """The system as data, but for its weights."""
        return {
            "format": system_file.SYSTEM_FORMAT,
            "codec": CODECS.dump(self._codec),
            "conditioner": CONDITIONERS.dump(self.conditioner),
            "network": NETWORKS.dump(self._denoiser.network),
            "schedule": SCHEDULES.dump(self._denoiser.schedule),
            "parameterization": PARAMETERIZATIONS.dump(self._denoiser.parameterization),
            "settings": self.settings.dump(),
            "about": self.about,
        }

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything that decides a picture does.

        The precision is not part of it: a system is the same one in bfloat16.
        """
        if (known := self._known()) is None:
            self.declare(known := system_file.weights_digest(self._parts()))
        said = json.dumps(self.spec(), sort_keys=True) + known
        return hashlib.sha256(said.encode()).hexdigest()[:12]

    def save(self, folder: str | Path, shard: int = system_file.SHARD) -> Path:
        """Write the system to `folder`: `system.json` and the weights it names, in files of at most `shard` bytes. A
        system there before stays whole until this one is."""
        if isinstance(self.conditioner, ClipText):
            self.conditioner = self.conditioner.pinned()
        digest = system_file.write_folder(Path(folder), self.spec(), self._parts(), shard=shard)
        self.declare(digest)
        return Path(folder)

    @staticmethod
    @torch_defaults()
    def load(folder: str | Path, device: str | None = None, precision: str | None = None) -> "System":
        """Read a system from `folder`, on the best device and precision there is unless told.

        Raises `FormatError` if it is missing, damaged, or written in another format.
        """
        said, codec, network = system_file.read_system(Path(folder))
        denoiser = Denoiser(network, said.schedule, said.parameterization)
        system = System(codec, said.conditioner, denoiser, Settings.load(said.settings), said.about)
        system.declare(said.digest)
        return system.to(device, precision)


def _prompts(given: Any) -> list[Any]:
    """One prompt or several, as a list."""
    return [given] if given is None or isinstance(given, str | int | np.integer) else listed("prompt", given)


def _said(prompt: Any) -> Prompt:
    """A prompt as it is read, and as records hold it."""
    prompt = own(prompt)
    if isinstance(prompt, bool) or not (prompt is None or isinstance(prompt, str | int)):
        raise InputError(f"a prompt is a text, or the number of a class, not {quoted(prompt)}")
    return as_text(prompt) if isinstance(prompt, str) else prompt


def _check_guide(guide: Any) -> None:
    """Raise an `InputError` for a guide that cannot be put around a denoiser."""
    if guide is not None and not callable(guide):
        raise InputError(
            f"a guide is called with the denoiser, as in `lambda denoiser: Autoguidance(denoiser, …)`, and not"
            f" {quoted(guide)}"
        )
