"""Single files in the original layout: the same pictures as the folders that they were made from, and as diffusers'."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
import pipelines
import pytest
import single_files
import torch
from torch import Tensor, nn

import sfumato
from sfumato.condition.clip import checkpoint as clip_checkpoint
from sfumato.condition.clip import open_clip
from sfumato.condition.clip import single_file as clip_file
from sfumato.core.parameterization import EpsPrediction, VPrediction
from sfumato.errors import FormatError, InputError, NotFoundError
from sfumato.interop.diffusers.folder import Checkpoint
from sfumato.interop.diffusers.networks.autoencoder import autoencoder_entries, read_autoencoder_config
from sfumato.interop.diffusers.networks.unet import read_unet_config, unet_entries
from sfumato.interop.diffusers.schedulers.config import read_scheduler
from sfumato.interop.single_file import family as families
from sfumato.interop.single_file.open import SingleFileComponent, read_single_file
from sfumato.interop.single_file.original import original_autoencoder_name, original_unet_name
from sfumato.keys import Entry, renamed_entries
from sfumato.store import MappedWeights
from sfumato.system import System

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # theirs, with numpy 2
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # theirs
]

MAKERS: dict[str, Callable[[Path], Any]] = {
    "sd1": pipelines.stable_diffusion,
    "sd2": pipelines.stable_diffusion_2,
    "xl": pipelines.xl,
    "refiner": lambda folder: pipelines.xl(folder, refiner=True),
    "inpainting": pipelines.inpainting,
}


class Made(NamedTuple):
    """A family in its folder, and its weights by their original names."""

    folder: Path
    config: Path
    weights: dict[str, Tensor]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    known: dict[str, Made] = {}

    def of(family: str) -> Made:
        if family not in known:
            place = tmp_path_factory.mktemp(family)
            pipe = MAKERS[family](place)
            pipe.save_pretrained(place / "saved")
            shutil.copytree(place / "saved", place / "config", ignore=shutil.ignore_patterns("*.safetensors"))
            known[family] = Made(place / "saved", place / "config", single_files.tensors(pipe, family == "sd2"))
        return known[family]

    return of


def drawn(system: System, **more: Any) -> Tensor:
    if system.denoiser.network.concat:
        picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        more["condition"] = system.codec.masked_condition(picture, torch.eye(16))  # pyright: ignore[reportAttributeAccessIssue]
    return system.generate(["a cat", "the hat"], seeds=[3], steps=4, sampler="ddim", guidance=3.0, **more).data


@pytest.mark.parametrize("family", MAKERS)
def test_a_file_draws_what_its_folder_draws(made: Callable[[str], Made], family: str, tmp_path: Path) -> None:
    one = made(family)
    leftover = {"model_ema.decay": torch.ones(()), "betas": torch.ones(9), "alphas_cumprod": torch.ones(9)}
    leftover |= {"first_stage_model.loss.logvar": torch.ones(()), "denoiser.sigmas": torch.ones(3)}
    path = single_files.written(tmp_path / "model.safetensors", {**one.weights, **leftover})
    given = {"prediction": "v"} if family == "sd2" else {}
    system = sfumato.load(path, "cpu", "float32", config=one.config, **given)
    theirs = sfumato.load(one.folder, "cpu", "float32")
    assert system.settings == theirs.settings
    expected = drawn(theirs)
    assert float(expected.std()) > 0.02
    assert torch.equal(drawn(system), expected)


@pytest.mark.parametrize(("family", "sampler"), [("sd1", "plms"), ("sd2", "ddim"), ("xl", "euler")])
def test_a_file_draws_what_diffusers_draws_from_it(
    made: Callable[[str], Made], family: str, sampler: str, tmp_path: Path
) -> None:
    one = made(family)
    path = single_files.written(tmp_path / "model.safetensors", one.weights)
    kind = diffusers.StableDiffusionXLPipeline if family == "xl" else diffusers.StableDiffusionPipeline
    kept = {}
    if family == "xl":  # theirs knows open_clip's tower in XL by its published width alone
        two = transformers.CLIPTextModelWithProjection.from_pretrained(one.folder / "text_encoder_2")
        kept["text_encoder_2"] = two
    pipe = kind.from_single_file(str(path), config=str(one.config), **kept)
    pipe.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(3)]
    theirs = pipe(
        "a cat", num_inference_steps=4, guidance_scale=3.0, generator=generator, height=16, width=16, output_type="pt"
    ).images
    system = sfumato.load(path, "cpu", "float32", config=one.config)
    found = system.generate("a cat", seeds=[3], steps=4, sampler=sampler, guidance=3.0).data / 2 + 0.5
    assert float((found - theirs).abs().max()) < 1e-4 and float(found.std()) > 0.02


def test_half_precision_is_brought_to_what_is_asked(made: Callable[[str], Made], tmp_path: Path) -> None:
    one = made("sd1")
    half = {name: value.half() if value.is_floating_point() else value for name, value in one.weights.items()}
    system = sfumato.load(single_files.written(tmp_path / "m.safetensors", half), "cpu", "float32", config=one.config)
    assert {value.dtype for value in system.denoiser.parameters()} == {torch.float32}
    expected = drawn(sfumato.load(one.folder, "cpu", "float32"))
    assert 0 < float((drawn(system) - expected).abs().mean()) < 0.01


def test_an_opened_file_is_saved_and_read_again_while_it_is_there(made: Callable[[str], Made], tmp_path: Path) -> None:
    one = made("xl")
    path = single_files.written(tmp_path / "model.safetensors", one.weights)
    system = sfumato.load(path, "cpu", "float32", config=one.config)
    system.save(tmp_path / "ours")
    again = sfumato.load(tmp_path / "ours", "cpu", "float32")
    assert torch.equal(drawn(again), drawn(system))
    tower = "conditioner.embedders.1.model.ln_final.bias"
    single_files.written(path, {**one.weights, tower: one.weights[tower] + 1})
    with pytest.raises(FormatError, match="the text encoders in .* changed since the system was made"):
        drawn(sfumato.load(tmp_path / "ours", "cpu", "float32"))
    path.unlink()
    with pytest.raises(NotFoundError, match="there is no file .*model.safetensors, which holds the text encoder"):
        drawn(sfumato.load(tmp_path / "ours", "cpu", "float32"))


# As published ---------------------------------------------------------------------------------------------------------

PUBLISHED = {
    "sd1": (768, "cond_stage_model.transformer.", 859_520_964, [123_060_480]),
    "sd2": (1024, "cond_stage_model.model.", 865_910_724, [340_387_840]),
    "xl": (2048, "conditioner.embedders.0.transformer.", 2_567_463_684, [123_060_480, 694_659_840]),
    "refiner": (1280, "conditioner.embedders.0.model.", 2_259_526_660, [694_659_840]),
}
"""The width of tokens, the names of a text encoder, and how many parameters network and text encoders were published
with."""
AUTOENCODER = 83_653_863


def full(family: str, channels: int = 4) -> dict[str, tuple[str, list[int]]]:
    """Names and shapes of a whole file, by the published configurations."""
    width, prefix, *_ = PUBLISHED[family]
    places = next(places for _, places in clip_file.SINGLE_FILE_LAYOUTS if places[0].prefix == prefix)
    shapes: dict[str, tuple[str, list[int]]] = {}

    def put(module: nn.Module, entries: list[Entry]) -> None:
        state = module.state_dict()
        for entry in entries:
            for name, value in zip(entry.theirs, entry.write(state[entry.ours]), strict=True):
                shapes[name] = ("F16", list(value.shape))

    own = families.FAMILIES[width]
    config = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": width, "in_channels": channels, **own.unet}
    ups = config.get("up_block_types", ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3])
    attended = tuple(kind.startswith("CrossAttn") for kind in ups)
    with torch.device("meta"):
        network = read_unet_config(config, family)
        rename = lambda name: families.UNET_PREFIX + original_unet_name(name, 2, attended)  # noqa: E731
        put(network, renamed_entries(unet_entries(network), rename))
        codec = read_autoencoder_config({"_class_name": "AutoencoderKL", **families._VAE}, family)
        rename = lambda name: families.AUTOENCODER_PREFIX + original_autoencoder_name(name, 4)  # noqa: E731
        put(codec, renamed_entries(autoencoder_entries(codec), rename))
        for place in places:
            tower = clip_checkpoint.read_config(place.config, family)
            plain = renamed_entries(clip_checkpoint.clip_entries(tower), f"{place.prefix}{{}}".format)
            put(tower, open_clip.open_clip_entries(tower, place.prefix) if place.open else plain)
    return shapes


@pytest.mark.parametrize("family", PUBLISHED)
def test_what_was_published_is_known_by_its_widths(family: str, tmp_path: Path) -> None:
    *_, count, towers = PUBLISHED[family]
    shapes = full(family)
    counts = [
        sum(int(torch.Size(shape).numel()) for name, (_, shape) in shapes.items() if name.startswith(prefix))
        for prefix in ("model.diffusion_model.", "first_stage_model.")
    ]
    assert counts == [count, AUTOENCODER]
    found = read_single_file(single_files.sparse(tmp_path / "model.safetensors", shapes))
    prefixes = [part.prefix for part in found.components.values() if isinstance(part, SingleFileComponent)]
    counts = [
        sum(int(torch.Size(shape).numel()) for name, (_, shape) in shapes.items() if name.startswith(prefix))
        for prefix in prefixes
    ]
    assert counts == [AUTOENCODER, count, *towers]
    assert found.component("scheduler").config["prediction_type"] == ("v_prediction" if family == "sd2" else "epsilon")


def parameterization(found: Checkpoint) -> object:
    component = found.component("scheduler")
    return read_scheduler({"_class_name": component.kind, **component.config}).parameterization


def test_what_the_network_gives_is_given_in_the_header_or_guessed(tmp_path: Path) -> None:
    shapes = full("sd2")
    plain = single_files.sparse(tmp_path / "plain.safetensors", shapes)
    named = single_files.sparse(tmp_path / "named.safetensors", shapes, {"modelspec.prediction_type": "epsilon"})
    inside = single_files.sparse(tmp_path / "inside.safetensors", full("sd2", 9))
    marked = single_files.sparse(tmp_path / "marked.safetensors", {**full("xl"), "v_pred": ("F32", [0])})
    assert parameterization(read_single_file(plain)) == VPrediction()
    assert parameterization(read_single_file(plain, prediction="eps")) == EpsPrediction()
    assert parameterization(read_single_file(named)) == EpsPrediction()
    assert parameterization(read_single_file(named, prediction="v")) == VPrediction()
    assert parameterization(read_single_file(inside)) == EpsPrediction()
    assert parameterization(read_single_file(marked)) == VPrediction()
    sides = [read_single_file(plain, prediction=word).component("unet").config["sample_size"] for word in ("eps", "v")]
    assert sides == [64, 96]
    assert read_single_file(inside).pipeline == "StableDiffusionInpaintPipeline"
    both = {**full("xl"), "v_pred": ("F32", [0]), "ztsnr": ("F32", [0])}
    ends = read_single_file(single_files.sparse(tmp_path / "ends.safetensors", both))
    assert (
        parameterization(ends) == VPrediction() and ends.component("scheduler").config["rescale_betas_zero_snr"] is True
    )
    assert "rescale_betas_zero_snr" not in read_single_file(marked).component("scheduler").config
    with pytest.raises(InputError, match="eps, epsilon, v, v_prediction, not 'x0'"):
        read_single_file(plain, prediction="x0")


def test_a_base_of_eps_is_known_by_its_steps(made: Callable[[str], Made], tmp_path: Path) -> None:
    one = made("sd1")
    path = single_files.written(tmp_path / "m.safetensors", {**one.weights, "global_step": torch.tensor(875_000)})
    assert families._steps(MappedWeights([path])) == families._BASE


@pytest.mark.parametrize(
    "name",
    [
        "cond_stage_model.logit_scale",
        "cond_stage_model.clip_l.logit_scale",
        "cond_stage_model.clip_l.transformer.text_projection.weight",
        "cond_stage_model.transformer.text_projection.weight",
        "cond_stage_model.transformer.logit_scale",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
        "embedding_manager.string_to_param_dict.*",
        "model_ema.diffusion_modelinput_blocks00weight",
        "first_stage_model.loss.logvar",
        "alphas_cumprod",
    ],
)
def test_what_draws_nothing_is_passed_over(made: Callable[[str], Made], name: str, tmp_path: Path) -> None:
    one = made("sd1")
    path = single_files.written(tmp_path / "model.safetensors", {**one.weights, name: torch.eye(16)})
    sfumato.load(path, "cpu", "float32", config=one.config)


# Refusals -------------------------------------------------------------------------------------------------------------


def without(weights: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if not name.startswith(start)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: without(w, "model.diffusion_model.out.2.bias"),
            "missing|'model.diffusion_model.out.2.bias' missing",
        ),
        (lambda w: without(w, "first_stage_model."), r"'first_stage_model\.\S+' and [\d,]+ more missing"),
        (lambda w: without(w, "cond_stage_model."), r"holds no text encoder of Stable Diffusion"),
        (lambda w: without(w, "model.diffusion_model."), "it is no Stable Diffusion in the original layout"),
        (lambda w: {**w, "control_model.x": torch.ones(1)}, "holds 'control_model.x', which no Stable Diffusion has"),
        (
            lambda w: {**w, "model.diffusion_model.odd.weight": torch.ones(1)},
            "holds 'model.diffusion_model.odd.weight'",
        ),
        (lambda w: {**w, "edm_mean": torch.ones(1)}, "holds 'edm_mean': it is a model of EDM"),
        (
            lambda w: {**w, "first_stage_model.quant_conv.bias": torch.ones(3)},
            r"'first_stage_model.quant_conv.bias' should give a weight of \[8\]",
        ),
    ],
)
def test_what_is_not_whole_or_not_known_is_refused_by_its_name(
    made: Callable[[str], Made], change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, tmp_path: Path
) -> None:
    one = made("sd1")
    path = single_files.written(tmp_path / "model.safetensors", change(one.weights))
    with pytest.raises(FormatError, match=message):
        sfumato.load(path, "cpu", "float32", config=one.config)


def test_sizes_that_were_not_published_need_a_configuration(made: Callable[[str], Made], tmp_path: Path) -> None:
    path = single_files.written(tmp_path / "model.safetensors", made("sd1").weights)
    with pytest.raises(
        FormatError, match="attends to tokens of width 16, and those of Stable Diffusion are of 768, 1024"
    ):
        sfumato.load(path)
    with pytest.raises(NotFoundError, match="config should be a folder in the layout of diffusers"):
        sfumato.load(path, config=tmp_path / "none")
    with pytest.raises(NotFoundError, match="there is no file"):
        sfumato.load(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="config and prediction are for a single .safetensors file"):
        sfumato.load(made("sd1").folder, prediction="v")


def test_a_tokenizer_that_is_not_to_be_had_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: Any, **more: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", absent)
    path = single_files.sparse(tmp_path / "model.safetensors", full("xl"))
    source = clip_file.SingleFile(path)
    with pytest.raises(NotFoundError, match="hf download openai/clip-vit-large-patch14 vocab.json merges.txt`, or put"):
        source.tokenizers()


def test_a_tokenizer_beside_the_file_is_read_and_pads_as_each_encoder_does(tmp_path: Path) -> None:
    words = pipelines.tokenizer(tmp_path / "words")
    words.add_tokens("!")
    words.save_pretrained(tmp_path / "tokenizer")
    source = clip_file.SingleFile(single_files.sparse(tmp_path / "model.safetensors", full("xl")))
    one, two = source.tokenizers()
    ends = words.convert_tokens_to_ids(["<|endoftext|>", "!"])
    assert [one.ids("a", 5)[-1], two.ids("a", 5)[-1]] == ends


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "model.PTH"])
def test_pickles_are_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a pickle, which can run code, and is not read. .*from_single_file"):
        sfumato.load(tmp_path / name)


@pytest.mark.parametrize("hostile", ["long", "many"])
def test_hostile_headers_are_refused_before_they_are_parsed(
    made: Callable[[str], Made], hostile: str, tmp_path: Path
) -> None:
    shutil.copytree(made("sd1").folder, tmp_path / "copy")
    place = tmp_path / "copy" / "unet" / "diffusion_pytorch_model.safetensors"
    if hostile == "long":
        place.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    else:
        single_files.sparse(place, {f"weight.{n}": ("F16", [1]) for n in range(60_000)})
    shutil.copy(place, tmp_path / "single.safetensors")
    message = {"long": "not a whole safetensors file", "many": "more than 20,000 tensors"}[hostile]
    for where in (tmp_path / "copy", tmp_path / "single.safetensors"):
        with pytest.raises(FormatError, match=message):
            sfumato.load(where, "cpu", "float32")
