"""MobileNet, read from a file and never trained here: it sees pictures nearly as people do, so it measures them."""

import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, hardtanh, interpolate, linear, pad

from sfumato.errors import FormatError, InputError, ShapeError


class MobileNet(nn.Module):
    """Pictures [n, 3, h, w] in [−1, 1] → what the last layer of MobileNet v1 sees in them, [n, 1024].

    27 convolutions, by turns over places and over channels, each cut to its range, then the mean over the places
    (arXiv:1704.04861, table 1, without its classifier). Pictures of another size are first brought to 224×224, their
    aspect given up (bicubic, antialiased, cut to [−1, 1]). Frozen, and differentiable in the pictures.
    """

    SIDE = 224

    def __init__(self, layers: Sequence["Convolution"]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    @staticmethod
    def read(path: str | Path) -> "MobileNet":
        """The network in an `.npz` file of 8-bit weights.

        Layer by layer, in order of name, it holds `NN_conv` or `NN_dw` (one filter a channel) with `.weight_u8` (out or
        1, kh, kw, in), `.weight_scale_zero`, for `weight = (u8 − zero)·scale`, `.bias`, `.stride` and `.out_range`.

        Raises `FormatError` if it does not, or if a layer does not take what the one before it gives.
        """
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                names = sorted({name.partition(".")[0] for name in file.files})
                layers = [_layer(file, name) for name in names]
        except OSError as error:
            raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
        except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise FormatError(f"{path} should be an .npz file of a MobileNet's layers, and is not: {error}") from error
        if not layers:
            raise FormatError(f"{path} holds no layers")
        channels = 3
        for name, layer in zip(names, layers, strict=True):
            if layer.takes != channels:
                raise FormatError(f"layer {name} of {path} takes {layer.takes} channels, and is given {channels}")
            channels = len(layer.bias)
        return MobileNet(layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [n, 3, h, w] → features [n, 1024], none below 0."""
        if pictures.shape[-2:] != (self.SIDE, self.SIDE):
            _check(pictures)
            size = (self.SIDE, self.SIDE)
            pictures = interpolate(pictures, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        return self.maps(pictures, [len(self.layers) - 1])[0].mean((2, 3))

    def maps(self, pictures: Tensor, after: Collection[int]) -> list[Tensor]:
        """What the layers `after`, counted from 0 and in rising order, give for pictures at their own size:
        [n, channels, h/s, w/s] each, for the stride s that there is up to there."""
        _check(pictures)
        if not after or list(after) != sorted(set(after)) or not 0 <= min(after) <= max(after) < len(self.layers):
            raise InputError(f"after must name layers from 0 to {len(self.layers) - 1} in order, not {list(after)}")
        # (RGB − 128)/128 of pixels from 0 to 255
        h = (pictures * (127.5 / 128) - 0.5 / 128).contiguous(memory_format=torch.channels_last)
        found = []
        for number, layer in enumerate(self.layers[: max(after) + 1]):
            h = layer(h)
            if number in after:
                found.append(h)
        return found


class Convolution(nn.Module):
    """A convolution with a bias, cut to [low, high]. Its output has 1/stride of the size, rounded up, and what padding
    that needs is even, or one wider to the right and below (TensorFlow's "SAME")."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, low: float, high: float, groups: int = 1) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.stride, self.low, self.high, self.groups = stride, low, high, groups

    @property
    def takes(self) -> int:
        """The channels of its input."""
        return self.weight.shape[1] * self.groups

    def forward(self, x: Tensor) -> Tensor:
        return hardtanh(self._convolve(x), self.low, self.high, inplace=True)

    def _convolve(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[-2:]
        if kernel == (1, 1) and self.stride == 1:  # one matrix at every position: faster as a product
            return linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)
        top, bottom, left, right = (
            side for length, size in zip(x.shape[-2:], kernel, strict=True) for side in self._padding(length, size)
        )
        if top == bottom and left == right:  # convolutions pad evenly on their own
            return conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        return conv2d(pad(x, (left, right, top, bottom)), self.weight, self.bias, self.stride, groups=self.groups)

    def _padding(self, length: int, kernel: int) -> tuple[int, int]:
        places = -(-length // self.stride)
        total = max((places - 1) * self.stride + kernel - length, 0)
        return total // 2, total - total // 2


def _layer(file: np.lib.npyio.NpzFile, name: str) -> Convolution:
    weight, bias = file[f"{name}.weight_u8"].astype(np.float32), file[f"{name}.bias"].astype(np.float32)
    (scale, zero), (low, high) = file[f"{name}.weight_scale_zero"], file[f"{name}.out_range"]
    stride, alone = int(file[f"{name}.stride"]), name.endswith("_dw")
    if weight.ndim != 4 or bias.shape != (weight.shape[3 if alone else 0],) or stride < 1:
        shapes = f"weights {list(weight.shape)}, a bias {list(bias.shape)} and a stride of {stride}"
        raise ValueError(f"layer {name} has {shapes}")
    filters = torch.from_numpy((weight - zero) * scale).permute((3, 0, 1, 2) if alone else (0, 3, 1, 2))
    groups = len(bias) if alone else 1
    return Convolution(filters, torch.from_numpy(bias), stride, float(low), float(high), groups)


def _check(pictures: Tensor) -> None:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or 0 in pictures.shape[-2:]:
        raise ShapeError(f"MobileNet sees colour pictures [n, 3, h, w], not {list(pictures.shape)}")
