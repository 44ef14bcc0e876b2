"""What the task autoencode leaves behind."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato.codec import Latent
from sfumato.library import open_codec
from sfumato.nn.image.autoencoder import Autoencoder
from sfumato.parts import CODECS
from sfumato.system import file as system_file

_TOGETHER = 32
_QUIETEST = 1e-2
"""The standard deviation up to which a channel is left as quiet as it is: what rounding pixels to 8 bits leaves of a
principal component is a quarter of that, and is nothing to be learned."""


class FittedCodec:
    """An autoencoder, and `data` [n, *d] by which to measure the statistics of its latents, unless those of a codec
    that was `given` stand."""

    def __init__(self, network: Autoencoder, data: Tensor, given: Latent | None = None) -> None:
        self.network, self.data, self.given = network, data, given
        self.about: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def to(self, device: Any, precision: str | None = None) -> "FittedCodec":
        self.network.to(device)
        return self

    @torch.no_grad()
    def codec(self) -> Latent:
        """The codec, which brings each channel of the latents to zero mean and, unless it is all but still, to unit
        variance."""
        if self.given is not None:
            return Latent(self.network, self.given.shift, self.given.scale)
        z = torch.cat([self.network.encode(part.to(self.device)).float() for part in self.data.split(_TOGETHER)])
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp_min(_QUIETEST)
        return Latent(self.network, tuple(mean.tolist()), tuple((1 / std).tolist()))

    def save(self, folder: str | Path) -> Path:
        """Write the codec to `folder`: `codec.json` and the weights it names."""
        _write(self.codec(), {**self.about, "psnr of pictures trained on": round(self.psnr(), 2)}, Path(folder))
        return Path(folder)

    def psnr(self) -> float:
        """By the mean squared error over the data, there and back, in dB."""
        codec, parts = self.codec(), self.data.split(_TOGETHER)
        lost = torch.stack([(codec.decode(codec.encode(one)).cpu() - one).square().mean() for one in parts])
        return float(10 * (4 / lost.mean().clamp_min(1e-10)).log10())


def copy_codec(source: str | Path, target: Path) -> None:
    """Copy a codec, as `load_codec` finds it, in float32: what names the weights comes last, so that it comes whole."""
    codec, about = open_codec(source)
    _write(codec.float(), about, target)


def _write(codec: Latent, about: dict[str, Any], folder: Path) -> None:
    spec = {"codec": CODECS.dump(codec), "about": about}
    system_file.write_folder(folder, spec, {"codec": codec}, system_file.CODEC_FILE)
