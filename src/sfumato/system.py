"""A System: everything that is needed to draw, as one value and as one folder."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import files, machine
from sfumato.codec import Codec
from sfumato.condition import Conditioner, Prompt
from sfumato.core.condition import Condition
from sfumato.core.grid import Spacing, Trailing, levels
from sfumato.core.noise import Noise
from sfumato.denoise import Denoiser, DenoiserLike
from sfumato.errors import FormatError, InputError, ShapeError
from sfumato.guide import ClassifierFree, Clip, Watch
from sfumato.parts import (
    CODECS,
    CONDITIONERS,
    NETWORKS,
    PARAMETERIZATIONS,
    SAMPLERS,
    SCHEDULES,
    SPACINGS,
)
from sfumato.sample import DDIM, Sampler, sample
from sfumato.samples import Samples

FORMAT = 1
"""The version of the folder's layout; a change that older readers would get wrong raises it."""


@dataclass(frozen=True)
class Settings:
    """How to draw: what a system was saved with, and what a call may change.

    `size` is (width, height); `guidance` the scale of classifier-free guidance, 1 for none.
    """

    size: tuple[int, int]
    sampler: Sampler[Any] = DDIM()
    spacing: Spacing = Trailing()
    steps: int = 50
    guidance: float = 1.0

    def dump(self) -> dict[str, Any]:
        return {
            "size": list(self.size),
            "sampler": SAMPLERS.dump(self.sampler),
            "spacing": SPACINGS.dump(self.spacing),
            "steps": self.steps,
            "guidance": self.guidance,
        }

    @staticmethod
    def load(data: dict[str, Any]) -> "Settings":
        width, height = data["size"]
        return Settings(
            (int(width), int(height)),
            SAMPLERS.load(data["sampler"]),
            SPACINGS.load(data["spacing"]),
            int(data["steps"]),
            float(data["guidance"]),
        )


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


class System:
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
        self.codec, self.conditioner, self.denoiser, self.settings = codec, conditioner, denoiser, settings
        self.about = about or {}
        self._saved_as: str | None = None

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
            batch=batch,
        )
        done = [frame.samples for frame in frames if frame.samples is not None]
        return Samples(torch.cat([part.tensor for part in done]), tuple(r for part in done for r in part.records))

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
        batch: int | None = None,
    ) -> Iterator[Frame]:
        """Draw as `generate` does, giving a `Frame` after every move. Arguments are checked before the first.

        - `prompt`: what the conditioner reads, or a list of it; None asks for anything;
        - `seeds`: one picture each, which depends on its own seed and on nothing else that is drawn beside it;
        - `size` (width, height), `sampler`, `spacing`, `steps`, `guidance`: in place of the system's own. A sampler or
          spacing may be spelled: "ddim", "ddim,eta=0.5";
        - `batch`: how many are drawn at once; None fits it to their size.
        """
        prompts = [prompt] if prompt is None or isinstance(prompt, str | int) else list(prompt)
        seeds = [_checked_seed(seed) for seed in seeds]
        if not prompts or not seeds:
            raise InputError("nothing to draw: give at least one prompt and one seed")
        chosen = Settings(
            size or self.settings.size,
            SAMPLERS.parse(sampler) if isinstance(sampler, str) else sampler or self.settings.sampler,
            SPACINGS.parse(spacing) if isinstance(spacing, str) else spacing or self.settings.spacing,
            self.settings.steps if steps is None else steps,
            self.settings.guidance if guidance is None else float(guidance),
        )
        self.check(chosen)
        if (
            chosen.guidance != 1
            and not self.conditioner.dropout
            and any(prompt not in (None, "") for prompt in prompts)
        ):
            raise InputError("this system never saw an empty prompt in training, so guidance can only be 1")
        self.conditioner(prompts)  # an unknown prompt stops here, before anything is drawn
        wanted = [(prompt, seed) for prompt in prompts for seed in seeds]
        return self._frames(wanted, chosen, batch or self.batch(chosen.size))

    def _frames(self, wanted: list[tuple[Prompt, int]], chosen: Settings, batch: int) -> Iterator[Frame]:
        grid = levels(self.denoiser.schedule, chosen.spacing, chosen.steps)
        record = {"sfumato": version("sfumato"), "system": self.fingerprint(), **chosen.dump()}
        record["precision"] = str(next(self.denoiser.parameters()).dtype).removeprefix("torch.")
        batches = [wanted[i : i + batch] for i in range(0, len(wanted), batch)]
        total = len(batches) * chosen.steps
        self.denoiser.eval()
        for nth, part in enumerate(batches):
            prompts = [prompt for prompt, _ in part]
            noise = Noise([seed for _, seed in part])
            shape = self.codec.shape(chosen.size)
            spread = float((grid[0].alpha ** 2 + grid[0].sigma ** 2).sqrt())  # of x_t, for data of unit variance
            start = noise(*shape).to(self.device) * spread
            watch = Watch(self._guided(prompts, chosen.guidance))
            condition = self.conditioner(prompts).to(self.device)
            for move, x in enumerate(sample(watch, chosen.sampler, start, grid, condition, noise=noise), start=1):
                assert watch.last is not None
                samples = None
                if move == chosen.steps:
                    pictures = self.codec.decode(x).cpu()
                    samples = Samples(pictures, tuple({"prompt": p, "seed": s, **record} for p, s in part))
                yield Frame(nth * chosen.steps + move, total, x, watch.last.x0, samples)

    def _guided(self, prompts: Sequence[Prompt], guidance: float) -> DenoiserLike:
        """The denoiser in its guides: classifier-free where there is a prompt, clipping where the codec is bounded."""
        denoiser: DenoiserLike = self.denoiser
        if guidance != 1 and any(prompt not in (None, "") for prompt in prompts):
            null: Condition = self.conditioner([None] * len(prompts)).to(self.device)
            denoiser = ClassifierFree(denoiser, null, guidance)
        return denoiser if self.codec.limit is None else Clip(denoiser, self.codec.limit)

    def check(self, chosen: Settings) -> None:
        """Raise an `InputError` for settings that this system cannot draw with."""
        levels(self.denoiser.schedule, chosen.spacing, chosen.steps)
        if not math.isfinite(chosen.guidance) or chosen.guidance < 0:
            raise InputError(f"guidance must be a number from 0 up, not {chosen.guidance}; 1 is off")
        self.check_size(chosen.size)

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise a `ShapeError` unless pictures of `size` (width, height) can be drawn; it says which near by can."""
        width, height = size
        if not (1 <= width <= 16384 and 1 <= height <= 16384):
            raise ShapeError(f"size must be two numbers from 1 to 16384, not {width}×{height}")
        _, *axes = self.codec.shape(size)
        check = getattr(self.denoiser.network, "check_size", None)
        if check is not None:
            check(*axes)

    def batch(self, size: tuple[int, int] | None = None) -> int:
        """How many pictures of `size` are drawn at once: many small ones, few large."""
        width, height = size or self.settings.size
        return min(max(2**18 // (width * height), 1), 256)

    # Place ------------------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    def to(self, device: str | torch.device | None = None, precision: str | None = None) -> "System":
        """Move to a device and a precision (float32 or bfloat16); None picks the best that the machine has."""
        where = machine.pick_device(str(device) if device is not None else None)
        self.denoiser.to(where, machine.dtype(machine.pick_precision(where, precision)))
        self.denoiser.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return self

    # Saving and loading -----------------------------------------------------------------------------------------------

    def spec(self) -> dict[str, Any]:
        """The system as data, but for its weights."""
        return {
            "format": FORMAT,
            "codec": CODECS.dump(self.codec),
            "conditioner": CONDITIONERS.dump(self.conditioner),
            "network": NETWORKS.dump(self.denoiser.network),
            "schedule": SCHEDULES.dump(self.denoiser.schedule),
            "parameterization": PARAMETERIZATIONS.dump(self.denoiser.parameterization),
            "settings": self.settings.dump(),
            "about": self.about,
        }

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything that decides a picture does."""
        if self._saved_as is None:
            digest = hashlib.sha256()
            for name, tensor in sorted(self.denoiser.network.state_dict().items()):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
            return _digest(self.spec(), digest.hexdigest())
        return self._saved_as

    def save(self, folder: str | Path) -> Path:
        """Write the system to `folder`: `system.json` and the weights it names. A system there before stays whole until
        this one is: weights carry their hash in their name, and `system.json` is replaced last."""
        folder = Path(folder)
        draft = folder / "network.safetensors"
        files.write_tensors(draft, self.denoiser.network.state_dict())
        digest = files.sha256(draft)
        weights = folder / f"network-{digest[:12]}.safetensors"
        files.guarded(weights, lambda: draft.replace(weights))
        spec = self.spec()
        files.write_json(folder / "system.json", {**spec, "weights": {"file": weights.name, "sha256": digest}})
        for old in folder.glob("network-*.safetensors"):
            if old != weights:
                old.unlink(missing_ok=True)
        self._saved_as = _digest(spec, digest)
        return folder

    @staticmethod
    def load(folder: str | Path, device: str | None = None, precision: str | None = None) -> "System":
        """Read a system from `folder`, on the best device and precision there is unless told.

        Raises `FormatError` if it is missing, damaged, or written in another format.
        """
        folder = Path(folder)
        data = read_spec(folder)
        try:
            with torch.device("meta"):
                network = NETWORKS.load(data["network"])
            denoiser = Denoiser(
                network, SCHEDULES.load(data["schedule"]), PARAMETERIZATIONS.load(data["parameterization"])
            )
            system = System(
                CODECS.load(data["codec"]),
                CONDITIONERS.load(data["conditioner"]),
                denoiser,
                Settings.load(data["settings"]),
                dict(data["about"]),
            )
            name, expected = str(data["weights"]["file"]), str(data["weights"]["sha256"])
        except InputError as error:
            raise FormatError(f"{folder / 'system.json'}: {error}") from error
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            detail = f"{error} is missing" if isinstance(error, KeyError) else error
            raise FormatError(f"{folder / 'system.json'} is damaged: {detail}") from error
        _load_weights(network, folder, name, expected)
        system._saved_as = _digest({key: value for key, value in data.items() if key != "weights"}, expected)
        return system.to(device, precision)


def read_spec(folder: Path) -> dict[str, Any]:
    """The table in `system.json`, of a format that this version reads."""
    path = folder / "system.json"
    if not path.exists():
        raise FormatError(f"{folder} holds no system: there is no system.json in it")
    data = files.read_json(path)
    if data.get("format") != FORMAT:
        raise FormatError(
            f"{path} is in format {data.get('format')!r}, and this version of Sfumato ({version('sfumato')}) reads"
            f" format {FORMAT}: use the version that wrote it"
        )
    return data


def _load_weights(network: torch.nn.Module, folder: Path, name: str, expected: str) -> None:
    """Fill a network on the meta device from the weights' file, which must be the one that `system.json` means."""
    path = folder / name
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise FormatError(f"{folder / 'system.json'} names its weights {name!r}: it should be a file beside it")
    if not path.exists():
        raise FormatError(f"{folder} is not whole: {name} is missing; copy the folder again")
    if files.sha256(path) != expected:
        raise FormatError(f"{path} is damaged: its hash is not the one in system.json; copy the folder again")
    tensors, _ = files.read_tensors(path)
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if wrong := sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)):
        key = wrong[0]
        raise FormatError(
            f"{path} does not fit its network: '{key}' should be {wanted.get(key, 'absent')} and is"
            f" {found.get(key, 'absent')} ({len(wrong)} such)"
        )
    network.load_state_dict(tensors, assign=True)


def _digest(spec: dict[str, Any], weights: str) -> str:
    return hashlib.sha256((json.dumps(spec, sort_keys=True) + weights).encode()).hexdigest()[:12]


def _checked_seed(seed: int) -> int:
    if not 0 <= int(seed) < 2**63:
        raise InputError(f"a seed must be a whole number from 0 to 2^63 − 1, not {seed}")
    return int(seed)
