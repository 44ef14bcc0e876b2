"""MobileNet: read strictly, and beside a convolution that is written out place by place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.errors import FormatError, InputError, ShapeError
from sfumato.nn.image.mobilenet import Convolution, MobileNet

REAL = Path(__file__).parents[3] / "shared" / "data" / "eval_nets" / "imagenet_mobilenet_v1_1024.npz"
Arrays = dict[str, NDArray[Any]]


def arrays(seed: int = 0) -> Arrays:
    """A small network of four layers, 3 → 4 → 4 → 6 → 6 channels, a quarter of the size."""
    stream = np.random.default_rng(seed)
    shapes = {"00_conv": (4, 3, 3, 3), "01_dw": (1, 3, 3, 4), "02_conv": (6, 1, 1, 4), "03_dw": (1, 3, 3, 6)}
    found: Arrays = {}
    for (name, shape), stride in zip(shapes.items(), (2, 1, 1, 2), strict=True):
        found[f"{name}.weight_u8"] = stream.integers(0, 256, shape, dtype=np.uint8)
        found[f"{name}.weight_scale_zero"] = np.array([0.01, 120], np.float32)
        found[f"{name}.bias"] = stream.normal(size=shape[3] if name.endswith("_dw") else shape[0]).astype(np.float32)
        found[f"{name}.stride"] = np.array(stride)
        found[f"{name}.out_range"] = np.array([0, 4], np.float32)
    return found


def written(folder: Path, content: Arrays) -> Path:
    path = folder / "network.npz"
    np.savez(path, **content)  # pyright: ignore[reportArgumentType]
    return path


def by_hand(content: Arrays, rgb: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """What each layer of the file gives for one picture [h, w, 3] of values 0 to 255, place by place."""
    x, found = (rgb - 128) / 128, []
    for name in sorted({key.partition(".")[0] for key in content}):
        scale, zero = content[f"{name}.weight_scale_zero"].astype(np.float64)
        weight = (content[f"{name}.weight_u8"] - zero) * scale
        stride, size = int(content[f"{name}.stride"]), weight.shape[1]
        places = [-(-side // stride) for side in x.shape[:2]]
        missing = [max((n - 1) * stride + size - side, 0) for n, side in zip(places, x.shape, strict=False)]
        padded = np.pad(x, [*((m // 2, m - m // 2) for m in missing), (0, 0)])
        out = np.empty((*places, len(content[f"{name}.bias"])))
        for i, j in np.ndindex(*places):
            window = padded[i * stride : i * stride + size, j * stride : j * stride + size]
            out[i, j] = (window * weight[0]).sum((0, 1)) if "dw" in name else (window * weight).sum((1, 2, 3))
        x = np.clip(out + content[f"{name}.bias"], *content[f"{name}.out_range"])
        found.append(x)
    return found


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 12), (1, 3)])
def test_every_layer_is_the_convolution_that_the_file_spells(tmp_path: Path, size: tuple[int, int]) -> None:
    network = MobileNet.read(written(tmp_path, arrays()))
    picture = noise(1, 3, *size)
    expected = by_hand(arrays(), (picture[0].double().permute(1, 2, 0).numpy() + 1) * 127.5)
    maps = network.maps(picture, [0, 1, 2, 3])
    for got, wanted in zip(maps, expected, strict=True):
        assert got.shape[2:] == wanted.shape[:2]
        assert np.abs(got[0].permute(1, 2, 0).numpy() - wanted).max() < 1e-5
    assert 0 < (maps[-1] > 0).float().mean() and 0 < (maps[0] < 4).float().mean(), "not all is cut off"
    assert torch.equal(network.maps(picture, [1, 3])[0], maps[1])


def test_features_are_the_mean_over_the_places_of_a_picture_of_224(tmp_path: Path) -> None:
    network = MobileNet.read(written(tmp_path, arrays()))
    pictures = noise(2, 3, 224, 224)
    assert torch.equal(network(pictures), network.maps(pictures, [3])[0].mean((2, 3)))


def test_pictures_of_any_size_are_brought_to_224_within_their_range(tmp_path: Path) -> None:
    network = MobileNet.read(written(tmp_path, arrays()))
    flat = torch.tensor([0.3, -0.9, 1.0]).reshape(1, 3, 1, 1)
    one, other = network(flat.expand(1, 3, 40, 30)), network(flat.expand(1, 3, 224, 224))
    assert (one - other).abs().max() < 1e-4
    seen: list[Tensor] = []
    network.layers[0].register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    network(noise(1, 3, 20, 20).sign())  # a bicubic kernel overshoots at edges
    assert seen[0].shape == (1, 3, 224, 224)
    assert seen[0].min() == -1 and seen[0].max() == 127 / 128


def test_it_is_frozen_and_differentiable_in_the_pictures(tmp_path: Path) -> None:
    network = MobileNet.read(written(tmp_path, arrays())).double()
    assert list(network.parameters()) == []
    pictures = noise(1, 3, 6, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: network.maps(x, [1, 3]), [pictures])
    (gradient,) = torch.autograd.grad(network(pictures).sum(), [pictures])
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"00_conv.bias": np.zeros(5)}, r"layer 00_conv has weights \[4, 3, 3, 3\], a bias \[5\] and a stride of 2"),
        ({"01_dw.stride": np.array(0)}, r"layer 01_dw has weights \[1, 3, 3, 4\], a bias \[4\] and a stride of 0"),
        (
            {"02_conv.weight_u8": np.zeros((6, 1, 1, 5), np.uint8)},
            "layer 02_conv of .* takes 5 channels, and is given 4",
        ),
        ({"extra.bias": np.zeros(3)}, "should be an .npz file of a MobileNet's layers, and is not: .*extra"),
        ({"00_conv.weight_u8": np.zeros(3, np.uint8)}, "should be an .npz file of a MobileNet's layers"),
        ({"00_conv.stride": np.array(["two"])}, "should be an .npz file of a MobileNet's layers"),
    ],
)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, change: Arrays, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        MobileNet.read(written(tmp_path, arrays() | change))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot read .*: No such file"):
        MobileNet.read(tmp_path / "absent.npz")
    for content in (b"", b"nothing of the kind", b"PK\x03\x04 cut short"):
        (tmp_path / "other.npz").write_bytes(content)
        with pytest.raises(FormatError, match="should be an .npz file of a MobileNet's layers"):
            MobileNet.read(tmp_path / "other.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(FormatError, match="should be an .npz file"):
        MobileNet.read(tmp_path / "array.npy")
    np.savez(tmp_path / "hollow.npz")
    with pytest.raises(FormatError, match="holds no layers"):
        MobileNet.read(tmp_path / "hollow.npz")


def test_what_it_cannot_see_is_refused() -> None:
    network = MobileNet([Convolution(torch.zeros(2, 3, 1, 1), torch.zeros(2), 1, 0, 6)])
    for shape in ((1, 1, 8, 8), (3, 8, 8), (1, 3, 0, 8)):
        with pytest.raises(ShapeError, match=r"sees colour pictures \[n, 3, h, w\], not "):
            network(torch.zeros(shape))
    for after in ([1], [-1], [0, 0], []):
        with pytest.raises(InputError, match="after must name layers from 0 to 0 in order, not"):
            network.maps(torch.zeros(1, 3, 8, 8), after)


@pytest.mark.skipif(not REAL.exists(), reason="the network trained on ImageNet is not beside the repository")
def test_the_network_trained_on_imagenet() -> None:
    network = MobileNet.read(REAL)
    assert len(network.layers) == 27
    features = network(noise(2, 3, 64, 64))
    assert features.shape == (2, 1024) and features.min() >= 0 and 0.1 < features.mean() < 2
    sides = [found.shape[1:] for found in network.maps(noise(1, 3, 64, 64), [2, 6, 10, 22, 26])]
    assert sides == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (1024, 2, 2)]
