"""Safetensors files, system.json and recipes, broken at random: each is read or refused with a typed error of one
line, within a second and 300 MB. Together 20,000 on every commit and 1,000,000 before a release."""

import json
import random
import tomllib
from collections.abc import Callable
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import pytest
import torch
from broken import Reader, garbled, headed, scrambled, swapped
from scale import counts

import sfumato
from sfumato import files
from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.media import Image
from sfumato.nn.image.unet import UNet
from sfumato.parts import NETWORKS
from sfumato.system import System
from sfumato.system.settings import Settings
from sfumato.train import recipe

JSON = [*(bytes([letter]) for letter in b'0"{}[],:-.e\xff'), b"null", b"1e999", b"\\u0000", b"[" * 99]
LETTERS = b"0123456789[]{}=.,\"'\n #-_eE+truefalsn\xff\x00"
TOML = [*(bytes([letter]) for letter in LETTERS), b"[[a]]\n", b"a.b.c=", b"9" * 99]


def overwrite(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # writing over a file waits for the disk, and what was read may be mapped
    path.write_bytes(data)


# Safetensors ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    tensors = {"half": torch.zeros(2, dtype=torch.bfloat16), "count": torch.tensor(7), "a": torch.arange(6.0)}
    files.write_tensors(path, tensors, {"step": 3})
    return path.read_bytes()


@pytest.mark.parametrize("read", [files.read_header, files.read_shapes, files.read_tensors])
@counts("times", 4_500, 250_000)
def test_a_garbled_safetensors_file_is_read_or_refused(
    times: int, read: Callable[[Path], object], whole: bytes, tmp_path: Path
) -> None:
    rng, path = random.Random(f"{times} {read.__name__}"), tmp_path / "garbled.safetensors"
    reader = Reader(lambda: read(path))
    for _ in range(times):
        data = garbled(whole, rng)
        overwrite(path, data)
        reader(data)
    assert min(reader.count["read"], reader.count["refused"]) > times // 500, "some harm is none, and most is"


# Systems --------------------------------------------------------------------------------------------------------------


class Dot(torch.nn.Module):
    """The least of networks, which is quick to build."""

    def __init__(self, vector: int = 0, gain: float = 1.0, way: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.vector, self.gain, self.way = vector, gain, way
        self.weight = torch.nn.Parameter(torch.ones(1))


def of(network: torch.nn.Module) -> System:
    return System(
        Identity(Image(1)), Labels(("cat", "dog", "hen")), Denoiser(network, Cosine(), X0Prediction()), Settings((8, 8))
    )


def fuzz(folder: Path, times: int, part: str | None = None) -> Reader:
    """Load a system `times` times, its system.json, or one part of it, broken each time in another way."""
    path = folder / "system.json"
    text, rng = path.read_bytes(), random.Random(times)
    table: dict[str, Any] = json.loads(text)
    reader = Reader(lambda: sfumato.load(folder, "cpu", "float32"))
    for _ in range(times):
        if part is not None:
            data = json.dumps({**table, part: swapped(table[part], rng)}).encode()
        elif rng.random() < 0.5:
            data = json.dumps(swapped(table, rng)).encode()
        else:
            data = scrambled(text, rng, JSON)
        overwrite(path, data)
        reader(data)
    return reader


@counts("times", 4_500, 190_000)
def test_a_scrambled_system_is_loaded_or_refused(times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS.kinds, "dot", Dot)
    count = fuzz(of(Dot(3)).save(tmp_path / "dot"), times).count
    assert min(count["read"], count["refused"]) > times // 50, "some changes do no harm, and most do"


@counts("times", 500, 10_000)
def test_a_scrambled_network_is_loaded_or_refused(times: int, tmp_path: Path) -> None:
    network = UNet(1, 1, width=8, multipliers=(1, 2), blocks=1, attention=(), vector=3)
    assert fuzz(of(network).save(tmp_path / "unet"), times, "network").count["refused"] > 0


# Recipes --------------------------------------------------------------------------------------------------------------


@counts("times", 1_500, 50_000)
def test_a_scrambled_recipe_is_loaded_or_refused(times: int, tmp_path: Path) -> None:
    rng, path = random.Random(times), tmp_path / "recipe.toml"
    text = (resources("sfumato.recipes") / "ddpm.toml").read_bytes().replace(b"width = 64", b"width = 8")
    table, broken = tomllib.loads(text.decode()), {}

    def read() -> None:
        recipe.check_recipe(broken) if broken else recipe.load_recipe(path)

    reader = Reader(read)
    for k in range(times):
        broken = swapped(table, rng) if k % 2 else {}
        data = json.dumps(broken).encode() if broken else scrambled(text, rng, TOML)
        overwrite(path, data)
        reader(data)
    assert min(reader.count["read"], reader.count["refused"]) > times // 50


# Bombs ----------------------------------------------------------------------------------------------------------------

ENTRY = '"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
BOMBS = {
    "many values": b'{"x":[' + b",".join([b"{}"] * 5_000_000) + b"]}",
    "many numbers": b'{"x":[' + b",".join([b"1"] * 7_000_000) + b"]}",
    "a long text": b'{"kind":"' + b"x" * (15 * 2**20) + b'"}',
    "many names": b"{" + b",".join(b'"%d":0' % i for i in range(1_200_000)) + b"}",
    "depth": b'{"a":' * 500_000 + b"1" + b"}" * 500_000,
    "digits": b'{"a":' + b"9" * 10_000_000 + b"}",
    "many tensors": ("{" + ",".join(ENTRY.format(i) for i in range(200_000)) + "}").encode(),
    "nothing but space": b" " * (15 * 2**20) + b"{}",
    "zeros": b"\0" * (15 * 2**20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_its_bounds(name: str, tmp_path: Path) -> None:
    """As a header, as a system and within one, and as a recipe."""
    bomb, path = BOMBS[name], tmp_path / "bomb"
    for read, data in (
        (files.read_header, headed(bomb, b"\0" * 8)),
        (files.read_tensors, headed(bomb)),
        (files.read_json, bomb),
        (lambda path: sfumato.load(path.parent), bomb),
        (lambda path: recipe.load_recipe(path), b"x = " + bomb),
        (lambda path: recipe.load_recipe(path), b".".join([b"a"] * 100_000) + b" = 1"),
    ):
        overwrite(path, data)
        overwrite(tmp_path / "system.json", data)
        overwrite(tmp_path / "bomb.toml", data)
        Reader(lambda read=read: read(path))(data[:1000])
