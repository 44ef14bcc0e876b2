"""Opened checkpoints in the hands of a caller: whatever folder, mode of torch or copy they are then used in."""

import copy
import errno
import json
import pickle
import shutil
from pathlib import Path

import pipelines
import pytest
import single_files
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import sfumato
from sfumato.errors import FormatError
from sfumato.interop.diffusers.inspect import describe_checkpoint
from sfumato.system import System

diffusers = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion in its folder `sd`, and in the single file `one.safetensors` beside it."""
    place = tmp_path_factory.mktemp("saved")
    pipe = pipelines.stable_diffusion(place / "words")
    pipe.save_pretrained(place / "sd")
    single_files.written(place / "one.safetensors", single_files.tensors(pipe))
    return place


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to change."""
    return Path(shutil.copytree(saved / "sd", tmp_path / "sd"))


def opened(where: Path | str, config: Path | str | None = None) -> System:
    return sfumato.load(where, "cpu", "float32", config=config)


def drawn(system: System) -> Tensor:
    return system.generate("a cat", steps=3).data


@pytest.mark.parametrize("single", [False, True])
def test_the_working_folder_may_change_after_opening(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: bool
) -> None:
    monkeypatch.chdir(saved)
    system = opened("one.safetensors", "sd") if single else opened("sd")
    monkeypatch.chdir(tmp_path)
    assert torch.equal(drawn(system), drawn(opened(saved / "sd")))


def test_a_folder_that_is_gone_before_the_first_picture_is_named(folder: Path) -> None:
    system = opened(folder)
    shutil.rmtree(folder)
    with pytest.raises(FormatError, match=f"{folder}/text_encoder"):
        drawn(system)


def test_what_the_caller_has_set_in_torch_changes_nothing(saved: Path) -> None:
    known = opened(saved / "sd")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        system = opened(saved / "sd")
        drawn(system)
    assert not any(weight.is_inference() for weight in system.denoiser.parameters())
    assert system.fingerprint() == known.fingerprint()
    assert torch.equal(drawn(system), drawn(known))


@pytest.mark.parametrize("single", [False, True])
def test_copies_and_pickles_are_the_same_system(saved: Path, single: bool) -> None:
    system = opened(saved / "one.safetensors", saved / "sd") if single else opened(saved / "sd")
    for _ in ("before the first picture", "after it"):
        for other in (copy.copy(system), copy.deepcopy(system), pickle.loads(pickle.dumps(system))):
            assert other.fingerprint() == system.fingerprint()
            assert torch.equal(drawn(other), drawn(system))


def test_a_copy_whose_weights_are_changed_is_another_system(saved: Path) -> None:
    system = opened(saved / "sd")
    other = copy.deepcopy(system)
    with torch.no_grad():
        next(other.denoiser.parameters()).add_(1)
    assert other.fingerprint() != system.fingerprint() == opened(saved / "sd").fingerprint()


def test_shards_are_read_and_not_an_old_file_beside_them(saved: Path, folder: Path) -> None:
    one = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(one)
    half = len(weights) // 2
    parts = [dict(list(weights.items())[:half]), dict(list(weights.items())[half:])]
    places: dict[str, str] = {}
    for nth, part in enumerate(parts, start=1):
        name = f"diffusion_pytorch_model-0000{nth}-of-00002.safetensors"
        save_file(part, folder / "unet" / name)
        places |= dict.fromkeys(part, name)
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    save_file({key: value + 0.1 for key, value in weights.items()}, one)
    assert torch.equal(drawn(opened(folder)), drawn(opened(saved / "sd")))


@pytest.mark.parametrize("part", ["text_encoder/model.safetensors", "tokenizer/tokenizer.json"])
def test_what_was_replaced_before_the_first_picture_is_refused(folder: Path, part: str) -> None:
    system = opened(folder)
    new = folder / "new"
    new.write_bytes((folder / part).read_bytes())
    new.replace(folder / part)
    with pytest.raises(FormatError, match=f"{folder / part} is gone or was changed since the model was opened: open"):
        drawn(system)
    with pytest.raises(FormatError, match="was changed since the model was opened"):
        system.save(folder.parent / "out")
    drawn(opened(folder))


def test_a_system_keeps_its_fingerprint_when_it_is_saved(saved: Path, tmp_path: Path) -> None:
    system = opened(saved / "sd")
    known = system.fingerprint()
    written = system.save(tmp_path / "system")
    assert system.fingerprint() == known == System.load(written, "cpu", "float32").fingerprint()


def test_the_text_encoder_is_in_the_fingerprint(saved: Path, folder: Path) -> None:
    known = opened(folder).fingerprint()
    config = folder / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"quick_gelu"', '"gelu"'))
    gelu = opened(folder).fingerprint()
    words = folder / "tokenizer" / "tokenizer_config.json"
    words.write_text(words.read_text().replace("77", "32"))
    assert len({known, gelu, opened(folder).fingerprint()}) == 3


def test_a_textual_inversion_of_several_vectors_is_read_as_diffusers_does(saved: Path, tmp_path: Path) -> None:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(saved / "sd", safety_checker=None)
    pipe.load_textual_inversion(
        {"<toy>": torch.randn(3, 16, generator=torch.Generator().manual_seed(0))}, token="<toy>"
    )
    pipe.save_pretrained(tmp_path / "sd")
    system = opened(tmp_path / "sd")
    for prompt in ("a <toy> in a hat", "<toy><toy>", "<toy>_1 cat", "a <TOY>"):
        with torch.no_grad():
            theirs = pipe.encode_prompt(prompt, "cpu", 1, False)[0]
        context = system.conditioner([prompt]).context
        assert context is not None and float((context - theirs).abs().max()) < 1e-5


def test_a_closed_folder_is_an_error_of_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", closed)
    for look in (opened, describe_checkpoint):
        with pytest.raises(FormatError, match="cannot read .*: Permission denied; see that it is there, and yours"):
            look(folder)


def test_a_folder_in_the_place_of_weights_is_an_error_of_ours(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.unlink()
    path.mkdir()
    with pytest.raises(FormatError, match="vae holds no weights in safetensors"):
        opened(folder)
