"""What of a system has weights: when they are read, how they lie, and the digest that they are known by."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.codec import Codec
from sfumato.core.defaults import torch_defaults
from sfumato.denoise import Denoiser, TokenDenoiser
from sfumato.lazy import Lazy, ReadState
from sfumato.system import file as system_file

LOOKS = 4
"""At how many numbers of a weight is looked to see whether it was changed."""


class Weighted:
    """A codec and a denoiser, whose weights may be left in their files until they are first needed (`defer`).

    Whoever takes `codec` or `denoiser` gets it with its weights; `_codec` and `_denoiser` are for what hangs on the
    shapes alone.
    """

    def __init__(self, codec: Codec, denoiser: Denoiser | TokenDenoiser) -> None:
        self._codec, self._denoiser = codec, denoiser
        self._lazy = Lazy()
        self._weights: tuple[str, object] | None = None
        self._laid_out = False

    @property
    def codec(self) -> Codec:
        self._read("codec")
        return self._codec

    @codec.setter
    def codec(self, codec: Codec) -> None:
        self._lazy.forget("codec")
        self._codec = codec

    @property
    def denoiser(self) -> Denoiser | TokenDenoiser:
        self._read("network")
        return self._denoiser

    @denoiser.setter
    def denoiser(self, denoiser: Denoiser | TokenDenoiser) -> None:
        self._lazy.forget("network")
        self._denoiser = denoiser

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    def defer(self, part: str, read: ReadState) -> None:
        """Have `read` give the weights of the "network" or the "codec", which are on the meta device, when they are
        first needed: the state of that module, in its final type and place. Whoever needs them gets what `read`
        raises."""
        self._lazy.defer(part, self._modules()[part], read)

    @property
    def precision(self) -> str:
        """The type of the network's weights: "float32" or "bfloat16"."""
        return str(next(self.denoiser.parameters()).dtype).removeprefix("torch.")

    def begin_reading(self) -> None:
        """Have the network's weights read beside what is done next."""
        self._lazy.begin("network")

    @torch_defaults()
    def _read(self, *parts: str) -> None:
        """Have these parts read, if they are still to be."""
        if any(part in self._lazy for part in parts):
            with self._the_same():
                for part in parts:
                    self._lazy.fill(part)

    @torch_defaults()
    def _lay_out(self) -> None:
        """The weights of convolutions channels last, which is fastest. A system from another tool is so only when it
        first draws: until then its weights are where they were mapped from. On the CPU the codec's stay there, where
        the operating system can drop them while they are idle and memory is short."""
        if self._laid_out:
            return
        with self._the_same():
            for part in [self.denoiser] if self.device.type == "cpu" else self._parts().values():
                part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._laid_out = True

    def _parts(self) -> dict[str, nn.Module]:
        """What has weights, which are read by then."""
        self._read("network", "codec")
        return self._modules()

    def _modules(self) -> dict[str, nn.Module]:
        return system_file.weighty(self._codec, self._denoiser.network)

    # The digest -------------------------------------------------------------------------------------------------------

    def declare(self, digest: str | None) -> None:
        """Say what digest the weights have as they are now, whose own is not made then; None for not known."""
        self._weights = (digest, weights_state(self._modules())) if digest is not None else None

    def _known(self) -> str | None:
        """The digest of the weights, if it is known."""
        with self._lazy.lock:
            if self._weights is None or self._weights[1] != weights_state(self._modules()):
                return None
            return self._weights[0]

    @contextmanager
    def _the_same(self) -> Iterator[None]:
        """Within this, weights change where and how they are kept, and stay what they are."""
        with self._lazy.lock:
            known = self._known()
            try:
                yield
            finally:
                self.declare(known)

    def __getstate__(self) -> dict[str, Any]:
        self._parts()  # a copy holds its weights, wherever it goes
        return {**vars(self), "_weights": self._known()}  # what stands for the weights now is of this object alone

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.declare(state["_weights"])


def weights_state(modules: Mapping[str, nn.Module]) -> object:
    """A value that changes whenever a weight is written to: torch counts the writes, but for those through `.data` or
    numpy, as where a LoRA is merged; these a look at a few numbers of each weight shows."""
    weights = [weight for module in modules.values() for weight in module.state_dict(keep_vars=True).values()]
    if any(weight.is_inference() for weight in weights):
        return object()  # of these torch counts none
    return [(id(weight), weight._version) for weight in weights], _few_numbers(weights)


@torch.no_grad()
def _few_numbers(weights: list[Tensor]) -> dict[object, bytes]:
    """The bits of a few numbers of each weight, at places that hang on its shape alone, by device and type: one
    transfer each."""
    groups: dict[object, list[Tensor]] = {}
    for weight in weights:
        if not weight.is_meta and weight.numel() and weight.ndim:
            number = min(len(weight), LOOKS)
            middle = sum(side // 2 * stride for side, stride in zip(weight.shape[1:], weight.stride()[1:], strict=True))
            few = weight.as_strided(
                (number,), (len(weight) // number * weight.stride(0),), weight.storage_offset() + middle
            )
            groups.setdefault((weight.device, weight.dtype), []).append(few)
    return {key: torch.cat(few).cpu().view(torch.uint8).numpy().tobytes() for key, few in groups.items()}
