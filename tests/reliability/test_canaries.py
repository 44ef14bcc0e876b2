"""Files that would run code where a reader lets them, in the hands of every reader: none runs."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sfumato
from sfumato import files
from sfumato.condition import Pretrained
from sfumato.data import open_source, prepare
from sfumato.errors import SfumatoError
from sfumato.library import load_codec
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.system.classifier import NoisyClassifier
from sfumato.train import recipe, train

CODE = "open({song!r}, 'w').close()\nclass C: pass\nclass M: pass\n"


class Canary:
    """Sings when it is unpickled."""

    def __init__(self, song: Path) -> None:
        self.song = song

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.song,)


def torch_file(song: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({"weight": Canary(song)}, stream)
    return stream.getvalue()


def arrays(song: Path) -> bytes:
    stream = io.BytesIO()
    objects = np.array([Canary(song)], dtype=object)
    np.savez(stream, images=objects, labels=objects, captions=objects, **{"00_conv.weight_u8": objects})
    return stream.getvalue()


def archive(song: Path) -> bytes:
    """Members that would land beside the archive, at the root, or where the song is."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name in ("../song", str(song), "a/../../song", "..\\song", "a.png", "model.pkl"):
            packed.writestr(name, pickle.dumps(Canary(song)))
    return stream.getvalue()


def template(song: Path) -> bytes:
    """What some template engines run, and configurations that name code of their own."""
    run = "{{ ''.__class__.__mro__[1].__subclasses__() }}{% import os %}${open('" + str(song) + "','w')}{0.__class__}"
    own = '"auto_map": {"AutoConfig": "own.C", "AutoModelForTextEncoding": "own.M", "AutoTokenizer": ["own.M", null]}'
    custom = '"_class_name": ["own", "M"], "unet": ["own", "M"], "model_type": "odd", "kind": "own.M"'
    return f'{{"chat_template": "{run}", {own}, {custom}, "__reduce__": "os.system", "tokenizer_class": "M"}}'.encode()


def toml(song: Path) -> bytes:
    return f"about = \"!!python/object/apply:os.system ['touch {song}']\"\n[network]\nkind = 'os.system'\n".encode()


def headed(song: Path) -> bytes:
    data = pickle.dumps(Canary(song))
    return struct.pack("<Q", len(data)) + data


PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda song: pickle.dumps(Canary(song)),
    "torch": torch_file,
    "arrays": arrays,
    "archive": archive,
    "template": template,
    "toml": toml,
    "headed": headed,
    "python": lambda song: CODE.format(song=str(song)).encode(),
}


def source(path: Path) -> None:
    prepare(open_source(path))


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "header": ("a.safetensors", files.read_header),
    "tensors": ("a.safetensors", files.read_tensors),
    "json": ("a.json", files.read_json),
    "single file": ("a.safetensors", sfumato.load),
    **{f"weights{end}": (f"a{end}", sfumato.load) for end in (".ckpt", ".pt", ".pth", ".bin", ".pkl")},
    **{f"data{end}": (f"a{end}", source) for end in (".npz", ".zip", ".parquet", ".pkl")},
    "recipe": ("a.toml", recipe.load_recipe),
    "features": ("a.npz", MobileNet.read),
}
"""Readers of one file, and what that is called."""
FOLDERS: dict[str, Callable[[Path], object]] = {
    "system": sfumato.load,
    "classifier": NoisyClassifier.load,
    "codec": load_codec,
    "pictures": source,
    "text encoder": lambda folder: Pretrained.open(str(folder)),
    "run": lambda folder: train(out=folder, resume=True, steps=1),
}
"""Readers of a folder, in which all that they may look for is the payload."""
NAMES = (
    *(
        "system.json",
        "classifier.json",
        "codec.json",
        "run.json",
        "model_index.json",
        "config.json",
        "unet/config.json",
    ),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "metadata.jsonl", "metadata.csv"),
    *("model.safetensors", "pytorch_model.bin", "unet/diffusion_pytorch_model.bin", "unet/own.py", "own.py", "a.png"),
    *("checkpoints/step-000000001.safetensors", "system/system.json", "tokenizer/tokenizer_config.json", "a.txt"),
)


@pytest.fixture
def nothing_sings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads a path, which may be refused; nothing sings, nothing is asked, and nothing is written."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)

    def asked(*_: object) -> str:
        raise AssertionError("a question was asked")

    monkeypatch.setattr("builtins.input", asked)

    def act(read: Callable[[Path], object], path: Path) -> None:
        before = sorted(tmp_path.rglob("*"))
        try:
            read(path)
        except SfumatoError as error:
            assert "\n" not in str(error)
        assert not (tmp_path / "song").exists(), "the canary sang"
        assert sorted(tmp_path.rglob("*")) == before

    return act


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("reader", FILES)
def test_a_file_runs_no_code(reader: str, payload: str, nothing_sings: Any, tmp_path: Path) -> None:
    name, read = FILES[reader]
    (tmp_path / "place" / name).write_bytes(PAYLOADS[payload](tmp_path / "song"))
    nothing_sings(read, tmp_path / "place" / name)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("reader", FOLDERS)
def test_a_folder_runs_no_code(reader: str, payload: str, nothing_sings: Any, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        kind = "python" if name.endswith(".py") else payload
        (folder / name).write_bytes(PAYLOADS[kind](tmp_path / "song"))
    nothing_sings(FOLDERS[reader], folder)


@pytest.mark.parametrize("payload", ["pickle", "python", "torch", "arrays"])
def test_the_canaries_do_sing(payload: str, tmp_path: Path) -> None:
    song, data = tmp_path / "song", PAYLOADS[payload](tmp_path / "song")
    if payload == "python":
        exec(data.decode(), {})
    elif payload == "torch":
        torch.load(io.BytesIO(data), weights_only=False)
    elif payload == "arrays":
        np.load(io.BytesIO(data), allow_pickle=True)["images"]
    else:
        pickle.loads(data)
    assert song.exists() and os.path.getsize(song) == 0
