"""Checkpoints of diffusers with one value of one file changed: read, or refused by an error of ours in a short line."""

import json
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pipelines
import pytest
import torch
from safetensors.torch import load_file

from sfumato import files
from sfumato.condition.clip.checkpoint import TowerFiles
from sfumato.condition.clip.tokenizer import ClipTokenizer
from sfumato.errors import SfumatoError
from sfumato.interop.diffusers import open as opening
from sfumato.interop.diffusers.folder import Checkpoint, read_folder
from sfumato.interop.diffusers.open import open_folder
from sfumato.store import MappedWeights

pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

NASTY: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    2**40,
    10**29,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "x" * 2000,
    "../up",
    [],
    [[1], {}],
    {"content": 1.5, "id": "1"},
]


def planned(*parts: Callable[[Checkpoint], object]) -> Callable[[Path], object]:
    """Reads a folder's configurations, and makes these parts on the meta device."""

    def act(root: Path) -> None:
        found = read_folder(root)
        with torch.device("meta"):
            for part in parts:
                part(found)

    return act


JSONS: dict[str, Callable[[Path], object]] = {
    "model_index.json": planned(opening._network, opening._check_known),
    "unet/config.json": planned(opening._network),
    "vae/config.json": planned(opening._codec),
    "scheduler/scheduler_config.json": lambda root: opening._scheduler(read_folder(root)),
    "text_encoder/config.json": lambda root: TowerFiles(root / "text_encoder"),
    "tokenizer/tokenizer_config.json": lambda root: read(root / "tokenizer"),
    "tokenizer/tokenizer.json": lambda root: read(root / "tokenizer"),
    "words/vocab.json": lambda root: read(root / "words"),
    "words/special_tokens_map.json": lambda root: read(root / "words"),
    "words/added_tokens.json": lambda root: read(root / "words"),
}
"""What reads each file of a folder, as far as it hangs on that file."""
MOST_PLACES = 30


def read(place: Path) -> None:
    words = ClipTokenizer(place)
    words.ids("a cat", 8)
    words.truncated("a cat in a hat", 4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hostile")
    pipelines.stable_diffusion(place / "made").save_pretrained(place / "sd")
    older = place / "sd" / "words"  # a tokenizer as transformers 3 saved it
    older.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(place / "made" / "words" / name, older)
    (older / "special_tokens_map.json").write_text('{"pad_token": {"content": "<|endoftext|>", "lstrip": false}}')
    (older / "added_tokens.json").write_text('{"<toy>": 59}')
    return place / "sd"


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a JSON."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*place, key))


def changed(table: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The same JSON with another value at a place."""
    copy = json.loads(json.dumps(table))
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return copy


def attempted(act: Callable[[], object], what: object) -> None:
    """Fail unless it works or is refused in a short line."""
    try:
        act()
    except SfumatoError as error:
        assert len(str(error)) < 1500 and "\n" not in str(error) and "x" * 101 not in str(error), f"{what}: {error}"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__} {error}") from error


@pytest.mark.parametrize("name", JSONS)
def test_any_value_of_a_configuration_is_taken_or_refused(name: str, saved: Path) -> None:
    path = saved / name
    own = path.read_bytes()
    table = json.loads(own)
    found = list(places(table))
    if len(found) > MOST_PLACES:
        found = random.Random(0).sample(found, MOST_PLACES)
    try:
        for place in found:
            for value in NASTY:
                path.write_text(json.dumps(changed(table, place, value)))
                attempted(lambda: JSONS[name](saved), (name, place, str(value)[:30]))
    finally:
        path.write_bytes(own)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_any_header_of_weights_is_taken_or_refused(part: str, saved: Path) -> None:
    path = saved / f"{part}.safetensors"
    own, chance = path.read_bytes(), random.Random(1)
    length = struct.unpack("<Q", own[:8])[0]
    header, body = json.loads(own[8 : 8 + length]), own[8 + length :]
    found = chance.sample(list(places(header)), MOST_PLACES)
    try:
        for place in found:
            for value in NASTY:
                data = json.dumps(changed(header, place, value)).encode()
                path.write_bytes(struct.pack("<Q", len(data)) + data + body)
                attempted(lambda: looked_at(path), (place, str(value)[:30]))
    finally:
        path.write_bytes(own)


def looked_at(path: Path) -> None:
    weights = MappedWeights([path])
    weights.sampled()
    if path.parent.name == "text_encoder":
        TowerFiles(path.parent).read()
    else:
        _ = [weights[key] for key in list(weights)[:3]]


@pytest.mark.parametrize("where", ["unet", "tokenizer", "scheduler", "text_encoder", ""])
@pytest.mark.parametrize("data", [b"\x80\x04K\x01.", b"{", b"[" * 10**5, b'{"a": [' + b"{}," * 400_000 + b"{}]}"])
def test_a_configuration_that_is_none_is_refused(where: str, data: bytes, saved: Path) -> None:
    name = {"": "model_index.json", "scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
    path = saved / where / name.get(where, "config.json")
    own = path.read_bytes()
    path.write_bytes(data)
    try:
        with pytest.raises(SfumatoError, match="is not valid JSON|more than 300,000 values"):
            open_folder(saved, "cpu", "float32")
    finally:
        path.write_bytes(own)


def test_the_folder_itself_is_opened(saved: Path) -> None:
    """Nothing above left it changed."""
    assert load_file(saved / "unet" / "diffusion_pytorch_model.safetensors")
    assert files.read_json(saved / "model_index.json")["_class_name"] == "StableDiffusionPipeline"
    open_folder(saved, "cpu", "float32")
