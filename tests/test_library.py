"""Finding a system by what people call it; and what a machine is found to have."""

import copy
from pathlib import Path

import pytest
import torch

import sfumato
from sfumato import library, machine
from sfumato.codec import Identity, Latent
from sfumato.condition import Nothing
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.errors import FormatError, InputError, NotFoundError
from sfumato.media import Image
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.unet import UNet
from sfumato.parts import CODECS
from sfumato.system import System
from sfumato.system import file as system_file
from sfumato.system.settings import Settings


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as a training run leaves it."""
    network = UNet(1, 1, width=4, multipliers=(1,), blocks=1, attention=())
    System(Identity(Image(1)), Nothing(), Denoiser(network, Cosine(), X0Prediction()), Settings((4, 4))).save(
        tmp_path / "run" / "system"
    )
    return tmp_path / "run"


def test_a_run_and_its_system_are_the_same_system(run: Path) -> None:
    assert all(library.find_system(where) == run / "system" for where in (run, run / "system", str(run)))
    one, other = (sfumato.load(where, "cpu", "float32") for where in (run, str(run / "system")))
    assert isinstance(one, sfumato.System) and one.fingerprint() == other.fingerprint()


def test_a_path_is_a_folder_and_no_name_of_what_ships() -> None:
    assert library.find_system("emoji").name == "emoji" and library.find_system("emoji").is_dir()
    with pytest.raises(NotFoundError, match="there is no folder emoji"):
        library.find_system(Path("emoji"))


def test_device_and_precision_are_passed_on(run: Path) -> None:
    assert next(sfumato.load(run, "cpu", "bfloat16").denoiser.parameters()).dtype == torch.bfloat16
    with pytest.raises(InputError, match="precision must be float32 or bfloat16, not 'half'$"):
        sfumato.load(run, precision="half")


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no folder .*none; give one that `sfumato train` made, such as"):
        sfumato.load(tmp_path / "none")


def test_a_folder_without_a_system_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no system.json; give the folder of a system, or of a run that has"):
        sfumato.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="holds no system.json"):
        sfumato.load(tmp_path / "file")


def test_a_run_whose_system_is_damaged_says_so(run: Path) -> None:
    (run / "system" / "system.json").write_text("{}")
    with pytest.raises(FormatError, match="is in format None"):
        sfumato.load(run)


def test_a_codec_takes_over_from_the_one_that_it_was_trained_on_from(run: Path) -> None:
    torch.manual_seed(0)
    codec = Latent(KLAutoencoder(1, 1, width=8, multipliers=(1,), blocks=1), (0.5,), (2.0,))
    fitted = copy.deepcopy(codec)
    with torch.no_grad():
        next(fitted.network.decoder.parameters()).add_(1.0)
    system = sfumato.load(run, "cpu", "float32")
    latent = System(codec, system.conditioner, system.denoiser, system.settings, {"note": 1})
    write_codec(run / "on", fitted)
    taken = library.with_codec(latent, run / "on")
    z = torch.randn(1, 1, 4, 4)
    assert torch.equal(taken.codec.decode(z), fitted.decode(z)) and taken.denoiser is system.denoiser
    assert taken.about == {"note": 1, "codec": {"steps": 7}} and taken.fingerprint() != latent.fingerprint()
    half = library.with_codec(latent.to("cpu", "bfloat16"), run / "on")
    assert next(half.codec.parameters()).dtype == torch.bfloat16, "rounded weights are as good"
    with pytest.raises(InputError, match="the system draws pictures as they are: no codec of latents can take over"):
        library.with_codec(system, run / "on")
    fitted.shift = (0.0,)
    write_codec(run / "other", fitted)
    with pytest.raises(InputError, match="the two codecs have other latents"):
        library.with_codec(latent, run / "other")
    write_codec(
        run / "shape", Latent(KLAutoencoder(1, 1, width=8, multipliers=(1,), blocks=1, groups=2), (0.5,), (2.0,))
    )
    with pytest.raises(InputError, match="is of another shape than the system's own"):
        library.with_codec(latent, run / "shape")


def write_codec(folder: Path, codec: Latent) -> None:
    spec = {"codec": CODECS.dump(codec), "about": {"steps": 7}}
    system_file.write_folder(folder, spec, {"codec": codec}, system_file.CODEC_FILE)


# The machine ----------------------------------------------------------------------------------------------------------


def test_the_best_device_is_taken_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.pick_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for mps, best in ((False, "cpu"), (True, "mps")):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert machine.pick_device() == torch.device(best)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.pick_device() == torch.device("cuda")


@pytest.mark.parametrize("name", ["abacus", "", "cpu:x", "xpu:77"])
def test_a_device_that_is_not_there_says_so(name: str) -> None:
    with pytest.raises(InputError, match=f"^device '{name}' is not to be had here .*; leave it out to take the best$"):
        machine.pick_device(name)


def test_bfloat16_is_taken_where_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(machine, "fast_bfloat16", lambda kind, fast=fast: fast)
        assert machine.pick_precision(torch.device("cpu")) == precision
        assert machine.pick_precision(torch.device("cpu"), "float32") == "float32"
        assert machine.pick_precision(torch.device("cpu"), "bfloat16") == "bfloat16"
    assert machine.dtype("bfloat16") == torch.bfloat16 and machine.dtype("float32") == torch.float32


def test_the_instructions_of_the_processor_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, fast in (({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"bf16": True}, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert machine.fast_bfloat16.__wrapped__("cpu") is fast
    assert machine.fast_bfloat16.__wrapped__("mps") is False


def test_memory_is_counted_in_bytes() -> None:
    free, total = machine.memory(torch.device("cpu"))
    assert 0 < free < total and total > 2**28
    assert 2**25 < machine.used(torch.device("cpu")) < total, "torch alone is more than 32 MB"


def test_the_machine_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Abacus 9"})
    for threads, words in ((1, "Abacus 9, 1 thread"), (4, "Abacus 9, 4 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert machine.name(torch.device("cpu")) == words


def test_a_peak_is_measured_once_and_draws_from_no_common_stream() -> None:
    before = torch.get_rng_state()
    found = machine.peak(torch.device("cpu"), "float32")
    assert torch.equal(torch.get_rng_state(), before)
    assert 1e9 < found < 1e14 and machine.peak(torch.device("cpu"), "float32") == found
