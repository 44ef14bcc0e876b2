"""Systems written as checkpoints of diffusers, opened there, and drawn from by both."""

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pipelines
import pytest
import torch
from torch import Tensor

from sfumato import disk, files
from sfumato.codec import Identity, Latent
from sfumato.condition import ClipText, Labels, Nothing, TokenIds
from sfumato.core.grid import UniformSpacing
from sfumato.core.parameterization import EpsPrediction, Parameterization, ScorePrediction
from sfumato.core.schedule import Flow, Linear, ScaledLinear, Schedule
from sfumato.denoise import Denoiser
from sfumato.errors import InputError, StorageError
from sfumato.interop.diffusers.open import open_folder
from sfumato.interop.diffusers.shards import PT_METADATA
from sfumato.interop.diffusers.write import plan_writing, write_checkpoint
from sfumato.media import Image
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.unet import UNet
from sfumato.sample import DDIM, Ancestral, AnnealedLangevin, Heun
from sfumato.system import System
from sfumato.system.settings import Settings

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # theirs, with numpy 2
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # theirs
]

BOUND = 1e-4
"""The largest difference of a picture in [0, 1]."""
PROMPT = "the cat in a hat"
SEED = 7
FAMILIES: dict[str, Callable[[Path], Any]] = {
    "StableDiffusionPipeline": pipelines.stable_diffusion,
    "StableDiffusionPipeline of v": pipelines.stable_diffusion_2,
    "StableDiffusionXLPipeline": pipelines.xl,
    "StableDiffusionXLImg2ImgPipeline": lambda folder: pipelines.xl(folder, refiner=True),
    "StableDiffusionInpaintPipeline": pipelines.inpainting,
    "DDPMPipeline": lambda folder: pipelines.ddpm(),
    "LDMPipeline": lambda folder: pipelines.latent_unconditional("kl"),
    "LDMPipeline of codes": lambda folder: pipelines.latent_unconditional("vq"),
    "DiTPipeline": lambda folder: pipelines.dit(),
}


def opened_there(folder: Path) -> Any:
    """The folder as diffusers has it, by the pipeline that it names."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(count: int = 1) -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(SEED) for _ in range(count)]


def ours(system: System, *args: Any, **more: Any) -> Tensor:
    return system.generate(*args, seeds=[SEED], **more).data / 2 + 0.5


def theirs(pipe: Any, *args: Any, **more: Any) -> Tensor:
    images = pipe(*args, output_type="np", **more).images
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def furthest(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    assert float(other.std()) > 0.02, "a picture of one colour shows nothing"
    return float((one - other).abs().max())


# Checkpoints of diffusers, there and back -----------------------------------------------------------------------------


class Back:
    """A checkpoint of theirs, opened here and written again."""

    def __init__(self, family: str, folder: Path) -> None:
        pipe = FAMILIES[family](folder)
        pipe.save_pretrained(folder / "saved")
        self.folder = folder / "back"
        self.system = open_folder(folder / "saved", "cpu", "float32")
        self.notes = write_checkpoint(self.system, self.folder)
        self.pipe = opened_there(self.folder)


@pytest.fixture(scope="module")
def back(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Back]:
    known: dict[str, Back] = {}

    def of(family: str) -> Back:
        if family not in known:
            known[family] = Back(family, tmp_path_factory.mktemp("written"))
        return known[family]

    return of


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_opened_is_written_with_the_same_weights(back: Callable[[str], Back], family: str) -> None:
    one = back(family)
    assert type(one.pipe).__name__ == family.split()[0]
    assert not [path.name for path in one.folder.parent.glob(".*")], "nothing is left beside"
    again = open_folder(one.folder, "cpu", "float32")
    pairs = list(zip(again._parts().values(), one.system._parts().values(), strict=True))
    if isinstance(again.conditioner, ClipText) and isinstance(one.system.conditioner, ClipText):
        pairs += zip(again.conditioner.towers, one.system.conditioner.towers, strict=True)
    assert all(same(here.state_dict(), there.state_dict()) for here, there in pairs)
    assert again.settings.size == one.system.settings.size
    assert again.denoiser.schedule == one.system.denoiser.schedule


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("family", list(FAMILIES)[:3])
def test_prompts_draw_the_same(back: Callable[[str], Back], family: str) -> None:
    one = back(family)
    assert any("cannot draw by DPMSolver" in note and "AYS" in note for note in one.notes)
    assert type(one.pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    there = theirs(one.pipe, PROMPT, num_inference_steps=5, guidance_scale=4.0, generator=seeded(), height=16, width=16)
    here = ours(one.system, PROMPT, sampler=one.system.settings.sampler, steps=5, guidance=4.0, size=(16, 16))
    assert furthest(here, there) <= BOUND


def test_the_inside_of_a_picture_is_drawn_the_same(
    back: Callable[[str], Back], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = back("StableDiffusionInpaintPipeline")
    sampled = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    monkeypatch.setattr(sampled, "sample", lambda self, generator=None: self.mode())  # ours takes the mean
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.zeros(16, 16)
    mask[4:12, 6:16] = 1
    more = {"image": picture[None], "mask_image": mask[None, None], "height": 16, "width": 16}
    there = theirs(one.pipe, PROMPT, **more, num_inference_steps=5, guidance_scale=7.5, generator=seeded())
    assert isinstance(one.system.codec, Latent)
    within = one.system.codec.masked_condition(picture, mask)
    sampler = one.system.settings.sampler
    here = ours(one.system, PROMPT, sampler=sampler, steps=5, guidance=7.5, size=(16, 16), condition=within)
    assert furthest(here, there) <= BOUND


def test_pixels_draw_the_same(back: Callable[[str], Back]) -> None:
    one = back("DDPMPipeline")
    there = theirs(one.pipe, batch_size=1, num_inference_steps=10, generator=seeded()[0])
    assert furthest(ours(one.system, steps=10), there) <= BOUND


@pytest.mark.parametrize("family", ["LDMPipeline", "LDMPipeline of codes"])
def test_latents_draw_the_same(back: Callable[[str], Back], family: str) -> None:
    one = back(family)
    there = theirs(one.pipe, batch_size=1, num_inference_steps=6, generator=seeded())
    assert furthest(ours(one.system, steps=6), there) <= BOUND
    assert one.notes == ("diffusers keeps no settings: draw there with num_inference_steps=50",)


def test_classes_draw_the_same(back: Callable[[str], Back]) -> None:
    one = back("DiTPipeline")
    there = theirs(one.pipe, [1, 3], guidance_scale=4.0, num_inference_steps=6, generator=seeded(2))
    assert furthest(ours(one.system, [1, 3], steps=6, guidance=4.0), there) <= BOUND


def test_other_samplers_of_the_system_are_written(back: Callable[[str], Back], tmp_path: Path) -> None:
    system = open_folder(back("StableDiffusionPipeline").folder.parent / "saved", "cpu", "float32")
    for sampler in ("ddim", "plms", "euler", "unipc", "dpm++pairs"):
        system.settings = system.settings.updated(sampler=sampler, steps=5)
        notes = write_checkpoint(system, tmp_path / sampler)
        assert not any("cannot draw" in note for note in notes)
        pipe = opened_there(tmp_path / sampler)
        there = theirs(pipe, PROMPT, num_inference_steps=5, guidance_scale=1.0, generator=seeded())
        assert furthest(ours(system, PROMPT, guidance=1.0), there) <= BOUND, sampler


# Systems of our own ---------------------------------------------------------------------------------------------------


def made(
    network: torch.nn.Module,
    codec: Any = None,
    conditioner: Any = None,
    schedule: Schedule | None = None,
    parameterization: Parameterization | None = None,
    **settings: Any,
) -> System:
    denoiser = Denoiser(pipelines.randomized(network, 1), schedule or Linear(), parameterization or EpsPrediction())  # pyright: ignore
    return System(
        codec or Identity(Image()), conditioner or Nothing(), denoiser, Settings(**{"size": (16, 16), **settings})
    )


def pixels(**more: Any) -> UNet:
    """The recipe cifar10's network, in small."""
    return UNet(**{"width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "groups": 8, **more})


def latent(seed: int = 3, **more: Any) -> Latent:
    """An autoencoder whose latents are moved and scaled channel by channel, as our trainings leave them."""
    network = KLAutoencoder(width=16, multipliers=(1, 2), blocks=1, groups=8, **more)
    return Latent(pipelines.randomized(network, seed), (0.3, -0.2, 0.0, 1.5), (0.5, 2.0, 1.0, 0.7))


def transformer(classes: int = 10, **more: Any) -> DiT:
    own: dict[str, Any] = {
        "modulation": "block",
        "qk_norm": False,
        "null": True,
        "base_size": 4,
        "frequency_shift": 1.0,
    }
    return DiT(4, 4, width=16, depth=2, head_width=8, vector=classes, **(own | more))


def test_the_published_ddpm_is_written(tmp_path: Path) -> None:
    schedule = Linear(20, 1e-3, 0.3)
    system = made(
        pixels(), schedule=schedule, sampler=Ancestral("large"), spacing=UniformSpacing(), steps=20, size=(16, 12)
    )
    assert write_checkpoint(system, tmp_path / "out") == (
        "diffusers keeps no settings: draw there with num_inference_steps=20",
    )
    pipe = opened_there(tmp_path / "out")
    assert type(pipe).__name__ == "DDPMPipeline"
    there = theirs(pipe, batch_size=1, num_inference_steps=20, generator=seeded()[0])
    assert furthest(ours(system), there) <= BOUND


def test_what_their_schedulers_do_wrong_is_kept_out_or_noted() -> None:
    # theirs would stride by 100 between times that are 111 apart, and add noise to clean data after a last time of 99
    for spacing in ("uniform", "trailing"):
        system = made(pixels(), sampler=Ancestral("large"), steps=10)
        system.settings = system.settings.updated(spacing=spacing)
        found = plan_writing(system)
        config = found.parts["scheduler"].config or {}
        assert (config["_class_name"], config["timestep_spacing"]) == ("DDPMScheduler", "leading")
        assert "cannot draw by Ancestral" in found.notes[0]
    system = made(pixels(), sampler=DDIM(), steps=7)
    assert "take a number of steps that divides 1000" in plan_writing(system).notes[0]


def test_ddim_in_pixels_says_what_to_ask_for(tmp_path: Path) -> None:
    system = made(pixels(), sampler=DDIM(), steps=10)
    assert "use_clipped_model_output=True" in write_checkpoint(system, tmp_path / "out")[0]
    pipe = opened_there(tmp_path / "out")
    assert type(pipe).__name__ == "DDIMPipeline"
    there = theirs(pipe, batch_size=1, num_inference_steps=10, generator=seeded()[0], use_clipped_model_output=True)
    assert furthest(ours(system), there) <= BOUND


def test_a_sampler_that_is_not_theirs_is_noted(tmp_path: Path) -> None:
    system = made(pixels(), sampler=Heun(), steps=10)
    assert "cannot draw by Heun" in write_checkpoint(system, tmp_path / "out")[0]
    assert type(opened_there(tmp_path / "out").scheduler).__name__ == "DDIMScheduler"


def test_a_learned_variance_is_drawn_by(tmp_path: Path) -> None:
    system = made(pixels(out_channels=6), schedule=Linear(20, 1e-3, 0.3), sampler=DDIM(), steps=10)
    system.denoiser.network.leave[2].weight.data *= 0.1  # pyright: ignore  # or the variances leave all bounds
    assert "Ancestral(variance='learned')" in write_checkpoint(system, tmp_path / "out")[0]
    there = theirs(opened_there(tmp_path / "out"), batch_size=1, num_inference_steps=10, generator=seeded()[0])
    assert furthest(ours(system, sampler="ddpm,variance=learned", spacing="leading"), there) <= BOUND


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_classes_and_latents_of_our_own_are_written(tmp_path: Path, guidance: float) -> None:
    names = ("cat, puss", *map(str, range(1, 10)))
    schedule = ScaledLinear(1000, 0.00085, 0.012)
    system = made(transformer(), latent(), Labels(names), schedule, sampler=DDIM(), steps=5, guidance=3.0)
    notes = write_checkpoint(system, tmp_path / "out")
    assert any("those from 10 on" in note for note in notes) and "guidance_scale=3" in notes[-1]
    pipe = opened_there(tmp_path / "out")
    assert pipe.labels == {"cat": 0, "puss": 0}
    there = theirs(pipe, [0, 3], guidance_scale=guidance, num_inference_steps=5, generator=seeded(2))
    assert furthest(ours(system, ["cat", 3], guidance=guidance), there) <= BOUND


def test_moved_and_scaled_latents_are_the_same_ones(tmp_path: Path) -> None:
    system = made(transformer(), latent(), Labels(tuple("abcdefghij")), sampler=DDIM(), steps=6)
    write_checkpoint(system, tmp_path / "out")
    again = open_folder(tmp_path / "out", "cpu", "float32")
    assert isinstance(again.codec, Latent) and again.codec.scale == (1.0,)
    picture = torch.rand(1, 3, 16, 16, generator=seeded()[0]) * 2 - 1
    assert float((again.codec.encode(picture) - system.codec.encode(picture)).abs().max()) < 1e-5
    z = torch.randn(1, 4, 8, 8, generator=seeded()[0])
    assert float((again.codec.decode(z) - system.codec.decode(z)).abs().max()) < 1e-5


REFUSED: dict[str, tuple[Callable[[], System], str]] = {
    "patch": (lambda: made(pixels(patch=2)), "no U-Net with patches of 2"),
    "time": (lambda: made(pixels(time_scale=1000.0)), "a time_scale of 1000"),
    "classes": (
        lambda: made(pixels(vector=3), None, Labels(("a", "b", "c"))),
        "no pipeline with a UNet conditioned by Labels",
    ),
    "tokens": (lambda: made(pixels(context=8), None, TokenIds("", 9, 8)), "a UNet conditioned by TokenIds, in pixels"),
    "flow": (lambda: made(pixels(), schedule=Flow()), "DDPMPipeline of diffusers has no schedule like Flow"),
    "score": (lambda: made(pixels(), parameterization=ScorePrediction()), "predict eps, x0 or v, not Score"),
    "shared": (
        lambda: made(transformer(modulation="shared"), latent(), Labels(tuple("abcdefghij"))),
        "modulation shared",
    ),
    "pixels": (
        lambda: made(transformer(), None, Labels(tuple("abcdefghij"))),
        "a DiT conditioned by Labels, in pixels",
    ),
    "moved": (
        lambda: made(transformer(), latent(post_quant=False), Labels(tuple("abcdefghij"))),
        "linear layers to take them up",
    ),
    "tall": (
        lambda: made(pixels(in_channels=4, out_channels=4), latent(), size=(16, 24)),
        "LDMPipeline .* draws squares",
    ),
    "variance": (lambda: made(pixels(in_channels=4, out_channels=8), latent()), "LDMPipeline .* gives a variance"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_equal_is_named_before_anything_is_written(case: str, tmp_path: Path) -> None:
    build, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        write_checkpoint(build(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_that_pads_by_another_rule_is_not_copied(tmp_path: Path) -> None:
    pipelines.stable_diffusion(tmp_path / "made").save_pretrained(tmp_path / "saved")
    system = open_folder(tmp_path / "saved", "cpu", "float32")
    assert isinstance(system.conditioner, ClipText)
    system.conditioner.tokenizers[0].pad = 0
    with pytest.raises(InputError, match="padded with another token"):
        write_checkpoint(system, tmp_path / "out")


# Files ----------------------------------------------------------------------------------------------------------------


def test_weights_lie_in_several_files(back: Callable[[str], Back], tmp_path: Path) -> None:
    one = back("StableDiffusionXLPipeline")
    most = 8_000
    write_checkpoint(one.system, tmp_path / "out", most)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        paths = sorted((tmp_path / "out" / part).glob("*.safetensors"))
        index = next((tmp_path / "out" / part).glob("*.index.json"))
        held = {path.name: files.read_shapes(path) for path in paths}
        assert json.loads(index.read_text())["weight_map"] == {k: name for name, keys in held.items() for k in keys}
        sizes = {name: sum(4 * math.prod(shape) for _, shape in keys.values()) for name, keys in held.items()}
        assert len(paths) > 1 and all(sizes[name] <= most or len(keys) <= 2 for name, keys in held.items())
        assert all(files.read_header(path)["__metadata__"] == PT_METADATA for path in paths)
    again = opened_there(tmp_path / "out")
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        assert same(getattr(again, part).state_dict(), getattr(one.pipe, part).state_dict())
    assert open_folder(tmp_path / "out", "cpu", "float32").denoiser.schedule == one.system.denoiser.schedule


def test_half_precision_is_that_of_all_weights(back: Callable[[str], Back], tmp_path: Path) -> None:
    system = open_folder(back("StableDiffusionPipeline").folder, "cpu", "bfloat16")
    write_checkpoint(system, tmp_path / "out")
    shapes = [files.read_shapes(path) for path in (tmp_path / "out").rglob("*.safetensors")]
    assert len(shapes) == 3 and {kind for file in shapes for kind, _ in file.values()} == {"BF16"}


def test_a_full_disk_leaves_nothing(
    back: Callable[[str], Back], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = files.write_tensors

    def full(path: Path, *args: Any, **more: Any) -> None:
        if path.parent.name == "vae":
            raise disk.unwritable(path, OSError(errno.ENOSPC, "no space"))
        written(path, *args, **more)

    monkeypatch.setattr(files, "write_tensors", full)
    with pytest.raises(StorageError, match="no space to write"):
        write_checkpoint(back("StableDiffusionPipeline").system, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_annealed_sampler_falls_back_on_ddim() -> None:
    assert plan_writing(made(pixels(), sampler=AnnealedLangevin())).parts["scheduler"].kind == "DDIMScheduler"
