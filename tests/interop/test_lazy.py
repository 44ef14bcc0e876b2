"""Weights that stay in their files from the opening of a checkpoint to their first use."""

import copy
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pipelines
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato import keys
from sfumato.codec import Latent
from sfumato.errors import FormatError, InputError
from sfumato.interop.diffusers.open import open_folder
from sfumato.lazy import Lazy
from sfumato.store import MappedWeights
from sfumato.system import System

diffusers = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
UNET = Path("unet", "diffusion_pytorch_model.safetensors")
PRECISIONS = ("float32", "bfloat16")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saved")
    pipelines.stable_diffusion(place / "words").save_pretrained(place / "sd")
    return place / "sd"


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy, to change."""
    return Path(shutil.copytree(saved, tmp_path / "sd"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all weights that are read from now on."""
    names: list[str] = []
    original = MappedWeights.__getitem__
    monkeypatch.setattr(MappedWeights, "__getitem__", lambda self, key: names.append(key) or original(self, key))
    return names


def drawn(system: System, **more: Any) -> Tensor:
    return system.generate("a cat", steps=3, **more).data


def converted_at_once(folder: Path, precision: str) -> System:
    """All weights read before anything is asked."""
    system = open_folder(folder, "cpu", precision)
    system._parts()
    return system


@pytest.mark.parametrize("precision", PRECISIONS)
def test_opening_and_all_that_hangs_on_shapes_reads_no_weight(saved: Path, read: list[str], precision: str) -> None:
    system = open_folder(saved, "cpu", precision)
    known = system.fingerprint()
    system.spec()
    system.check(system.settings, prompted=True)
    with pytest.raises(InputError):
        system.generate("a cat", size=(15, 15))
    assert read == []
    drawn(system)
    assert any("mid_block.resnets" in name for name in read) and system.fingerprint() == known


@pytest.mark.parametrize("family", ["sd", "dit"])
def test_opening_imports_no_compiler(saved: Path, tmp_path: Path, family: str) -> None:
    if family == "dit":
        pipelines.dit().save_pretrained(tmp_path / "dit")
    where = str(saved if family == "sd" else tmp_path / "dit")
    code = f"import sys, sfumato; sfumato.load({where!r}, 'cpu', 'bfloat16'); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_codec_is_read_when_a_picture_is_decoded(saved: Path, read: list[str]) -> None:
    frames = open_folder(saved, "cpu", "bfloat16").stream("a cat", steps=3)
    next(frames)
    assert read and not any(name.startswith("decoder.") for name in read)
    assert [frame for frame in frames][-1].samples is not None
    assert any(name.startswith("decoder.") for name in read)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_pictures_and_weights_are_those_of_weights_read_at_once(saved: Path, precision: str) -> None:
    system, other = open_folder(saved, "cpu", precision), converted_at_once(saved, precision)
    assert torch.equal(drawn(system), drawn(other))
    for ours, theirs in zip(system._parts().values(), other._parts().values(), strict=True):
        for name, weight in ours.state_dict().items():
            assert weight.dtype == getattr(torch, precision) and torch.equal(weight, theirs.state_dict()[name])


def test_halves_are_the_roundings_of_what_is_in_the_file(saved: Path) -> None:
    whole, halves = (open_folder(saved, "cpu", precision)._parts()["network"].state_dict() for precision in PRECISIONS)
    for name, weight in halves.items():
        assert torch.equal(weight, whole[name].to(torch.bfloat16)), name
        assert weight.ndim != 4 or weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("block", [1, 100, 2**20])
def test_a_weight_is_converted_block_by_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_BLOCK", block)
    module, weight = torch.nn.Conv2d(3, 7, 3, bias=False), torch.randn(7, 3, 3, 3)
    found = keys.read_state(module, [keys.same("weight", "w")], {"w": weight}, "x", torch.bfloat16)["weight"]
    assert torch.equal(found, weight.to(torch.bfloat16))
    assert found.stride() == weight.to(memory_format=torch.channels_last).stride()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("use", ["state", "save", "to", "pickle", "deepcopy", "copy", "codec", "denoiser"])
def test_whatever_needs_the_weights_has_them(saved: Path, tmp_path: Path, use: str, precision: str) -> None:
    system, other = open_folder(saved, "cpu", precision), converted_at_once(saved, precision)
    known = system.fingerprint()
    match use:
        case "state":
            state, theirs = system.denoiser.state_dict(), other.denoiser.state_dict()
            assert all(torch.equal(state[name], theirs[name]) for name in theirs)
        case "save":
            written = system.save(tmp_path / "ours")
            assert System.load(written).fingerprint() == System.load(other.save(tmp_path / "other")).fingerprint()
            return
        case "to":
            system, other = system.to("cpu", "float32"), other.to("cpu", "float32")
        case "pickle":
            system = pickle.loads(pickle.dumps(system))
        case "deepcopy":
            system = copy.deepcopy(system)
        case "copy":
            system = copy.copy(system)
        case "codec":
            assert isinstance(system.codec, Latent) and not next(system.codec.parameters()).is_meta
        case _:
            assert system.device.type == "cpu" and not next(system.denoiser.parameters()).is_meta
    assert system.fingerprint() == known and torch.equal(drawn(system), drawn(other))


def test_reading_within_a_callers_inference_mode_leaves_plain_weights(saved: Path) -> None:
    system = open_folder(saved, "cpu", "bfloat16")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        first = drawn(system)
    assert not any(weight.is_inference() for part in system._parts().values() for weight in part.state_dict().values())
    assert torch.equal(first, drawn(open_folder(saved, "cpu", "bfloat16")))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("change", ["gone", "replaced", "cut"])
def test_files_that_changed_after_opening_are_refused_at_first_use(folder: Path, change: str, precision: str) -> None:
    system = open_folder(folder, "cpu", precision)
    known, file = system.fingerprint(), folder / UNET
    whole = file.read_bytes()
    if change == "replaced":
        save_file({name: weight + 1 for name, weight in load_file(file).items()}, file)
    file.unlink() if change == "gone" else file.write_bytes(whole[:-100] if change == "cut" else file.read_bytes())
    for _ in range(2):
        with pytest.raises(FormatError, match=f"{file} is gone or was changed since the model was opened"):
            drawn(system)
    assert system.fingerprint() == known


def test_a_file_cut_short_is_refused_at_opening(folder: Path) -> None:
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-100])
    with pytest.raises(FormatError, match="is damaged"):
        open_folder(folder, "cpu", "bfloat16")


# Reading beside -------------------------------------------------------------------------------------------------------


class Source:
    """Gives the weights of `module`, each time that it is asked; the first times it fails."""

    def __init__(self, failures: int = 0) -> None:
        with torch.device("meta"):
            self.module = torch.nn.Linear(2, 2)
        self.failures, self.threads = failures, list[str]()

    def __call__(self) -> dict[str, Tensor]:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) <= self.failures:
            raise FormatError("damaged")
        return {"weight": torch.ones(2, 2), "bias": torch.ones(2)}


@pytest.fixture
def source() -> Iterator[Source]:
    yield Source()


def waiting(source: Source) -> Lazy:
    lazy = Lazy()
    lazy.defer("part", source.module, source)
    return lazy


def test_weights_are_read_once_here_or_beside(source: Source) -> None:
    lazy = waiting(source)
    lazy.begin("part")
    lazy.begin("part")
    lazy.fill("part")
    lazy.fill("part")
    assert len(source.threads) == 1 and source.threads[0].startswith("weights")
    assert torch.equal(source.module.weight, torch.ones(2, 2)) and "part" not in lazy


def test_what_fails_beside_is_raised_where_it_is_needed_and_tried_again() -> None:
    source = Source(failures=1)
    lazy = waiting(source)
    lazy.begin("part")
    with pytest.raises(FormatError, match="damaged"):
        lazy.fill("part")
    assert source.module.weight.is_meta
    lazy.fill("part")
    assert not source.module.weight.is_meta


def test_what_failed_beside_and_was_never_needed_is_read_again() -> None:
    source = Source(failures=1)
    lazy = waiting(source)
    for _ in range(100):  # until the thread has failed, this does nothing
        lazy.begin("part")
        if len(source.threads) == 2:
            break
        time.sleep(0.01)
    lazy.fill("part")
    assert not source.module.weight.is_meta


def test_a_part_that_another_took_the_place_of_is_not_read(saved: Path, read: list[str]) -> None:
    system, other = open_folder(saved, "cpu", "float32"), converted_at_once(saved, "bfloat16")
    read.clear()
    system.denoiser, system.codec = other.denoiser, other.codec
    assert system._parts() and read == []


def test_threads_that_draw_at_once_see_whole_weights_and_one_fingerprint(saved: Path) -> None:
    known, wanted = open_folder(saved, "cpu", "bfloat16"), []
    expected, system = drawn(known), open_folder(saved, "cpu", "bfloat16")

    def draw() -> None:
        samples = system.generate("a cat", steps=3)
        wanted.append((torch.equal(samples.data, expected), samples.records[0]["system"]))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wanted == [(True, known.fingerprint())] * 4


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.bool, torch.int64, torch.complex64], ids=str)
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_are_no_real_numbers_are_refused_at_opening(folder: Path, part: str, kind: torch.dtype) -> None:
    """Such as those that were quantised: their numbers mean nothing without the scales."""
    path = next((folder / part).glob("*.safetensors"))
    tensors = load_file(path)
    name = max(key for key in tensors if key.endswith("weight"))
    save_file(tensors | {name: tensors[name].to(kind)}, path)
    with pytest.raises(FormatError, match=f"'{name}' should hold real numbers and does not, as where .* quantised"):
        open_folder(folder, "cpu", "float32")


def test_copies_made_while_other_threads_read_prompts(saved: Path) -> None:
    system = open_folder(saved, "cpu", "float32")
    plain, done = drawn(system), threading.Event()

    def prompts() -> None:
        number = 0
        while not done.is_set():
            system.conditioner([f"word {(number := number + 1)}"])

    other = threading.Thread(target=prompts)
    other.start()
    try:
        for copied in (copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
            for _ in range(10):
                copied(system.conditioner)
        assert torch.equal(drawn(copy.deepcopy(system)), plain)
    finally:
        done.set()
        other.join()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer"])
def test_a_file_in_the_place_of_a_folder_since_the_opening_is_an_error_of_ours(
    folder: Path, tmp_path: Path, part: str
) -> None:
    system = open_folder(folder, "cpu", "float32")
    shutil.rmtree(folder / part)
    (folder / part).write_text("")
    for act in (drawn, lambda system: system.save(tmp_path / "copy")):
        with pytest.raises(FormatError, match="is gone or was changed since the model was opened: open it again$"):
            act(system)
