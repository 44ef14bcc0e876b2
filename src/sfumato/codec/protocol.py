"""The interface of codecs."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from sfumato.media.protocol import Medium, Size


@runtime_checkable
class Codec(Protocol):
    """Between data of a medium, [n, *d], and the samples that a denoiser sees.

    `channels` counts a sample's channels; `limit` bounds its elements, or is None where nothing does.
    """

    @property
    def medium(self) -> Medium: ...
    @property
    def channels(self) -> int: ...
    @property
    def limit(self) -> float | None: ...

    def shape(self, size: Size) -> tuple[int, ...]:
        """The shape of the sample behind a datum of `size`, in the medium's own order."""
        ...

    def encode(self, data: Tensor) -> Tensor:
        """Data [n, *d] → samples [n, *shape]."""
        ...

    def decode(self, samples: Tensor) -> Tensor:
        """Samples → data, within the medium's limit."""
        ...
