"""A System: everything that is needed to draw, as one value and as one folder."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from sfumato import machine
from sfumato.codec import Codec
from sfumato.condition import Conditioner, Prompt
from sfumato.core.defaults import torch_defaults
from sfumato.core.process import Gaussian, Process, TokenProcess
from sfumato.denoise import Denoiser, TokenDenoiser
from sfumato.errors import InputError
from sfumato.media import Medium
from sfumato.media.protocol import Size
from sfumato.parts import CODECS, CONDITIONERS, NETWORKS, PARAMETERIZATIONS, PROCESSES, SCHEDULES
from sfumato.system import file as system_file
from sfumato.system.description import described, line, table
from sfumato.system.draw import Plan, plan
from sfumato.system.drawing import Drawing, asked_for, read_drawing
from sfumato.system.fingerprint import Weighted
from sfumato.system.pipeline import Pipeline
from sfumato.system.settings import DryRun, Settings, TokenDryRun, dry_run


class System(Weighted, Pipeline):
    """Codec, conditioner, denoiser, and the settings to draw with.

    The denoiser is of numbers (`Denoiser`, under Gaussian noise) or, for texts, of tokens (`TokenDenoiser`, under the
    noise of its process). `about` is a free table of JSON that travels along: where the weights came from, figures, a
    licence.
    """

    def __init__(
        self,
        codec: Codec,
        conditioner: Conditioner,
        denoiser: Denoiser | TokenDenoiser,
        settings: Settings,
        about: dict[str, Any] | None = None,
    ) -> None:
        Pipeline.__init__(self)
        Weighted.__init__(self, codec, denoiser)
        self.conditioner, self.settings = conditioner, settings
        self.about = about or {}

    def __repr__(self) -> str:
        return line(self)

    def _repr_html_(self) -> str:
        """What it is, for a notebook."""
        return table(described(self))

    # Drawing ----------------------------------------------------------------------------------------------------------

    @torch_defaults()
    def plan(self, prompts: Prompt | Sequence[Prompt] = None, /, **drawing: Unpack[Drawing]) -> Plan:
        return plan(self, read_drawing(asked_for(prompts, drawing)))

    def truncated(self, prompt: Prompt) -> str:
        """The end of a prompt that is too long to be read; "" if all of it is."""
        return self.conditioner.truncated(prompt)

    def check(self, chosen: Settings, prompted: bool) -> None:
        """Raise an `InputError` for settings that this system cannot draw with; one for a size says which near by
        fits."""
        chosen.check(self.medium)
        reads = self.conditioner.reads != "nothing"  # else its own word on a prompt comes next
        if chosen.guidance != 1 and prompted and reads and not self.conditioner.dropout:
            raise InputError("this system never saw an empty prompt in training, so guidance can only be 1")
        codec, denoiser = self._codec, self._denoiser
        dry_run(self._trial(), chosen.sampler, chosen.spacing, chosen.steps)
        _, *axes = codec.shape(chosen.size)
        check_size = getattr(denoiser.network, "check_size", None)
        if check_size is not None:
            check_size(*axes)

    def _trial(self) -> DryRun | TokenDryRun:
        """The denoiser's stand-in, without weights."""
        denoiser, channels = self._denoiser, self._codec.channels
        if isinstance(denoiser, TokenDenoiser):
            return TokenDryRun(denoiser.schedule, denoiser.process, int(getattr(denoiser.network, "tokens", 0)))
        learned = getattr(denoiser.network, "out_channels", channels) == 2 * channels
        return DryRun(denoiser.schedule, denoiser.parameterization, learned)

    def batch(self, size: Size | None = None) -> int:
        """How many samples of `size` are drawn at once: many small ones, few large."""
        elements = math.prod(self.medium.shape(size or self.settings.size)) // self.medium.channels
        return min(max(2**18 // elements, 1), 256)

    def make_ready(self) -> None:
        """Read what is still to be read of the weights, lay them out for speed, and leave out dropout."""
        for module in (self._denoiser, *self._modules().values()):
            module.eval()
        self._lay_out()

    # What hangs on the shapes alone, whether or not the weights are read ----------------------------------------------

    @property
    def medium(self) -> Medium:
        return self._codec.medium

    @property
    def process(self) -> Process:
        """The forward process that the denoiser was trained on; Gaussian unless it says another."""
        return getattr(self._denoiser, "process", Gaussian())

    @property
    def network(self) -> nn.Module:
        return self._denoiser.network

    def sample_shape(self, size: Size) -> tuple[int, ...]:
        """The shape of the sample behind data of `size`; a `ShapeError` for a size that does not fit."""
        return self._codec.shape(size)

    # Place ------------------------------------------------------------------------------------------------------------

    @torch_defaults()  # a caller's would forbid gradients through these weights ever after
    def to(self, device: str | torch.device | None = None, precision: str | None = None) -> "System":
        """Move to a device and a precision (float32 or bfloat16); None picks the best that the machine has."""
        where = machine.pick_device(str(device) if device is not None else None)
        with self._the_same():
            for part in self._parts().values():
                part.to(where, machine.dtype(machine.pick_precision(where, precision)))
        self.conditioner = self.conditioner.to(where)
        self._laid_out = False
        self._lay_out()
        return self

    # Saving and loading -----------------------------------------------------------------------------------------------

    def spec(self) -> dict[str, Any]:
        """The system as data, but for its weights."""
        own = self._denoiser
        tokens = isinstance(own, TokenDenoiser)
        return {
            "codec": CODECS.dump(self._codec),
            "conditioner": CONDITIONERS.dump(self.conditioner),
            "network": NETWORKS.dump(own.network),
            "schedule": SCHEDULES.dump(own.schedule),
            "process": PROCESSES.dump(self.process),
            **({} if tokens else {"parameterization": PARAMETERIZATIONS.dump(own.parameterization)}),
            "settings": self.settings.dump(),
            "about": self.about,
        }

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything that decides a picture does.

        The precision is not part of it: a system is the same one in bfloat16.
        """
        if (known := self._known()) is None:
            self.declare(known := system_file.weights_digest(self._parts()))
        self.pin()  # as it is saved
        return system_file.fingerprint(self.spec(), known)

    def pin(self) -> None:
        """Hold text encoders of other makers to the weights and tokenizers that they have now, as `save` does."""
        self.conditioner = self.conditioner.pinned()

    def save(self, folder: str | Path, shard: int = system_file.SHARD) -> Path:
        """Write the system to `folder`: `system.json` and the weights it names, in files of at most `shard` bytes. A
        system there before stays whole until this one is."""
        self.pin()
        digest = system_file.write_folder(Path(folder), self.spec(), self._parts(), shard=shard, digest=self._known())
        self.declare(digest)
        return Path(folder)

    @staticmethod
    @torch_defaults()
    def load(folder: str | Path, device: str | None = None, precision: str | None = None) -> "System":
        """Read a system from `folder`, on the best device and precision there is, unless these are given.

        Raises `FormatError` if it is missing, damaged, or written in another format.
        """
        spec, codec, network = system_file.read_system(Path(folder))
        if spec.parameterization is not None:
            denoiser = Denoiser(network, spec.schedule, spec.parameterization)
        else:
            assert isinstance(spec.process, TokenProcess)
            denoiser = TokenDenoiser(network, spec.schedule, spec.process)
        system = System(codec, spec.conditioner, denoiser, Settings.load(spec.settings), spec.about)
        system.declare(spec.digest)
        return system.to(device, precision)
