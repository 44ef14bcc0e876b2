"""The prompts of Stable Diffusion beside the pipelines of diffusers: small ones, saved and opened."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging
from safetensors.torch import load_file, save_file
from small_clip import END, LENGTH, stirred, text_model, tokenizer_folder
from torch import Tensor
from transformers import CLIPTokenizer

from sfumato.condition import ClipText
from sfumato.condition.clip import text as clip
from sfumato.condition.clip import tokenizer as clip_tokenizer
from sfumato.core.condition import Condition
from sfumato.errors import FormatError, InputError, NotFoundError
from sfumato.parts import CONDITIONERS
from sfumato.store import MappedWeights

PROMPTS = ["A cat's hat!", "", "the cat in the hat, " * 3, "🐱 猫"]
FREQUENCY_WIDTH = 8


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Without the bars and warnings of diffusers."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
    logging.set_verbosity(verbosity)


def tokenizer(folder: Path, pad: str = END) -> Any:
    return CLIPTokenizer.from_pretrained(tokenizer_folder(folder, pad))


def unet(vector: int) -> Any:
    """A network conditioned on sizes."""
    sizes: Any = {"block_out_channels": (8, 8), "norm_num_groups": 4, "cross_attention_dim": 8, "layers_per_block": 1}
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    options: Any = {"addition_embed_type": "text_time", "addition_time_embed_dim": FREQUENCY_WIDTH}
    return stirred(
        UNet2DConditionModel(
            down_block_types=down,
            up_block_types=up,
            attention_head_dim=2,
            projection_class_embeddings_input_dim=vector,
            **sizes,
            **options,
        )
    )


def class_input(network: Any, pooled: Tensor, numbers: Tensor) -> Tensor:
    """What reaches the layers that read SDXL's vector."""
    seen: list[Tensor] = []
    hook = network.add_embedding.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    with torch.no_grad():
        network.get_aug_embed(
            torch.zeros(1), torch.zeros(1), {"text_embeds": pooled, "time_ids": numbers.repeat(len(pooled), 1)}
        )
    hook.remove()
    return seen[0]


def sd(folder: Path, act: str = "quick_gelu", pad: str = END) -> Any:
    pipeline = StableDiffusionPipeline(
        vae=None,  # pyright: ignore
        text_encoder=text_model(act=act),
        tokenizer=tokenizer(folder / "vocabulary", pad),
        unet=None,  # pyright: ignore
        scheduler=EulerDiscreteScheduler(steps_offset=1),  # pyright: ignore
        safety_checker=None,  # pyright: ignore
        feature_extractor=None,  # pyright: ignore
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "model")
    return pipeline


def sdxl(folder: Path, zeros: bool = True) -> Any:
    pipeline = StableDiffusionXLPipeline(
        vae=None,  # pyright: ignore
        text_encoder=text_model(),
        text_encoder_2=text_model(10, width=24, act="gelu", seed=1),
        tokenizer=tokenizer(folder / "vocabulary"),
        tokenizer_2=tokenizer(folder / "vocabulary_2", "!"),
        unet=unet(10 + 6 * FREQUENCY_WIDTH),
        scheduler=EulerDiscreteScheduler(steps_offset=1),  # pyright: ignore
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder / "model")
    return pipeline


def refiner(folder: Path) -> Any:
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=None,  # pyright: ignore
        text_encoder=None,  # pyright: ignore
        text_encoder_2=text_model(10, width=24, act="gelu", seed=1),
        tokenizer=None,  # pyright: ignore
        tokenizer_2=tokenizer(folder / "vocabulary_2", "!"),
        unet=unet(10 + 5 * FREQUENCY_WIDTH),
        scheduler=EulerDiscreteScheduler(steps_offset=1),  # pyright: ignore
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder / "model")
    return pipeline


def encoded(pipeline: Any, negative: str | None) -> list[Tensor]:
    """The prompts and what is led away from, each as states and as texts where the pipeline gives these too."""
    with torch.no_grad():
        given = None if negative is None else [negative] * len(PROMPTS)
        options: Any = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
        return pipeline.encode_prompt(PROMPTS, negative_prompt=given, **options)


def gap(ours: Tensor | None, theirs: Tensor) -> float:
    assert ours is not None and ours.dtype == torch.float32 and ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


@pytest.mark.parametrize(("act", "pad"), [("quick_gelu", END), ("gelu", "!")])
def test_stable_diffusion_is_conditioned_as_by_diffusers(act: str, pad: str, tmp_path: Path) -> None:
    pipeline = sd(tmp_path, act, pad)
    ours = ClipText.open(str(tmp_path / "model"))
    assert (ours.family, ours.widths, ours.zeros) == ("sd", {"context": 16}, False)
    for negative in (None, "the hat"):
        prompts, away = encoded(pipeline, negative)
        condition = ours(PROMPTS)
        assert condition.vector is None and condition.mask is None
        assert gap(condition.context, prompts) < 1e-5
        assert gap(ours.null([negative] * len(PROMPTS)).context, away) < 1e-5


@pytest.mark.parametrize("zeros", [True, False])
def test_sdxl_is_conditioned_as_by_diffusers(zeros: bool, tmp_path: Path) -> None:
    pipeline = sdxl(tmp_path, zeros)
    ours = ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH)
    assert (ours.family, ours.widths, ours.zeros) == (
        "sdxl",
        {"vector": 10 + 6 * FREQUENCY_WIDTH, "context": 40},
        zeros,
    )
    numbers = pipeline._get_add_time_ids((768, 1024), (0, 32), (768, 1024), torch.float32, 10)
    ours = replace(ours, crop=(0, 32)).at((1024, 768))
    for negative in (None, "", "the hat"):
        prompts, away, texts, away_texts = encoded(pipeline, negative)
        condition, unconditional = ours(PROMPTS), ours.null([negative] * len(PROMPTS))
        assert gap(condition.context, prompts) < 1e-5 and gap(unconditional.context, away) < 1e-5
        assert gap(condition.vector, class_input(pipeline.unet, texts, numbers)) < 1e-5
        assert gap(unconditional.vector, class_input(pipeline.unet, away_texts, numbers)) < 1e-5
        assert unconditional.context is not None and unconditional.context.any() != (zeros and negative is None)


def test_the_refiner_is_conditioned_as_by_diffusers(tmp_path: Path) -> None:
    pipeline = refiner(tmp_path)
    ours = ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH).at((640, 512))
    assert (ours.family, ours.widths, ours.zeros) == (
        "sdxl-refiner",
        {"vector": 10 + 5 * FREQUENCY_WIDTH, "context": 24},
        False,
    )
    size, corner = (512, 640), (0, 0)
    numbers, away_numbers = pipeline._get_add_time_ids(
        size, corner, size, 6.0, 2.5, size, corner, size, torch.float32, 10
    )
    prompts, away, texts, away_texts = encoded(pipeline, None)
    condition, unconditional = ours(PROMPTS), ours.null([None] * len(PROMPTS))
    assert gap(condition.context, prompts) < 1e-5 and gap(unconditional.context, away) < 1e-5
    assert gap(condition.vector, class_input(pipeline.unet, texts, numbers)) < 1e-5
    assert gap(unconditional.vector, class_input(pipeline.unet, away_texts, away_numbers)) < 1e-5


def differs(one: Condition, other: Condition) -> bool:
    return any(not torch.equal(value, other.given()[name]) for name, value in one.given().items())


def test_it_is_data(tmp_path: Path) -> None:
    sdxl(tmp_path)
    ours = ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH)
    data = CONDITIONERS.dump(ours)
    again = CONDITIONERS.load(data)
    assert again == ours and isinstance(again, ClipText) and data["kind"] == "clip"
    assert again.widths == ours.widths and "towers" not in vars(again._encoders), "sizes are known without the weights"
    assert not differs(again(PROMPTS), ours(PROMPTS))
    assert again.fingerprint() == ours.fingerprint() == ClipText(ours.name, "sdxl", 40, 10).fingerprint()
    assert differs(again.at((64, 64))(PROMPTS), ours(PROMPTS))
    assert again.at((64, 64)).towers is again.towers, "weights are read once"


def test_opening_checks_all_shapes_and_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdxl(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(MappedWeights, "__getitem__", lambda *_: pytest.fail("a weight is read"))
        patch.setattr(clip_tokenizer, "_backend", lambda *_: pytest.fail("a tokenizer is built"))
        ours = ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH, pinned=False)
        assert ours.widths == {"vector": 10 + 6 * FREQUENCY_WIDTH, "context": 40}
    assert ours.towers[0].words.device.type == "cpu" and ours.truncated("the cat") == ""
    path = tmp_path / "model" / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("final_layer_norm.bias"))
    save_file({**weights, name: torch.zeros(3)}, path)
    with pytest.raises(FormatError, match=r"final_layer_norm.bias' should give a weight of \[16\].* gives \[3\]"):
        ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH, pinned=False)


def test_a_text_is_encoded_alone_so_that_no_other_reaches_it_by_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for before, as by a batch that is left out because it is there, must not change a sample."""
    sdxl(tmp_path)
    ours, encoded, asked = ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH), ClipText._encoded, []
    monkeypatch.setattr(ClipText, "_encoded", lambda own, texts: asked.append(texts) or encoded(own, texts))
    ours(PROMPTS[:1])
    ours(PROMPTS)
    assert asked == [[text] for text in dict.fromkeys(map(ours.normalize, PROMPTS))]


def test_the_truncated_part_is_returned_and_prompts_are_read_as_they_are(tmp_path: Path) -> None:
    sd(tmp_path)
    ours = ClipText.open(str(tmp_path / "model"))
    assert ours.truncated("the cat") == "" and ours.truncated("the " * (LENGTH - 2) + "cat 🐱") == "cat 🐱"
    assert ours.normalize("a  🐱") == "a  🐱" and ours.normalize("\ud800") == "\ufffd"
    assert differs(ours(["🐱"]), ours(["cat face"]))
    with pytest.raises(InputError, match="in words, not 3"):
        ours([3])


def test_each_text_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdxl(tmp_path)
    ours = ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH)
    wanted, seen = ours(PROMPTS), []
    monkeypatch.setattr(ClipText, "_encoded", lambda _, texts: seen.extend(texts))
    assert not differs(ours(PROMPTS), wanted) and not differs(ours.at((64, 64)).at(ours.size)(PROMPTS), wanted)
    assert not seen
    monkeypatch.undo()
    many = [f"cat {nth}" for nth in range(clip.RECENT)]
    alone = ours(many[-1:])
    condition = ours([*PROMPTS, *many])
    assert condition.context is not None and alone.context is not None and wanted.context is not None
    assert (
        gap(condition.context[-1], alone.context[0]) < 1e-5
        and gap(condition.context[: len(PROMPTS)], wanted.context) < 1e-5
    )
    assert len(ours._encoders.recent) == clip.RECENT, "and no more are remembered"
    assert not differs(ours(PROMPTS), ClipText.open(ours.name, FREQUENCY_WIDTH)(PROMPTS)), (
        "what was forgotten is encoded anew"
    )


def test_bfloat16_is_near(tmp_path: Path) -> None:
    sdxl(tmp_path)
    ours = ClipText.open(str(tmp_path / "model"), FREQUENCY_WIDTH)
    exact = ours(PROMPTS)
    near = ours.to("cpu", torch.bfloat16)(PROMPTS)
    assert ours.towers[0].words.dtype == torch.bfloat16
    assert exact.context is not None and near.context is not None and near.context.dtype == torch.float32
    assert 0 < (near.context - exact.context).norm() / exact.context.norm() < 0.05


def rewritten(place: str, change: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda root: (root / place).write_text(change((root / place).read_text()))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            rewritten("tokenizer/tokenizer.json", lambda old: old + "\n"),
            "tokenizer.json.* changed since the system was",
        ),
        (
            lambda root: text_model(seed=5).save_pretrained(root / "text_encoder"),
            r"model.safetensors in .*text_encoder changed .* SHA-256 should be .*, and is [0-9a-f]{64}",
        ),
        (
            lambda root: (root / "text_encoder" / "model.safetensors").rename(
                root / "text_encoder" / "pytorch_model.bin"
            ),
            "pytorch_model.bin is a pickle, which can run code",
        ),
        (lambda root: (root / "text_encoder" / "config.json").unlink(), "there is no config.json in it"),
    ],
)
def test_what_is_not_as_it_was_is_refused(change: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    sd(tmp_path)
    opened = ClipText.open(str(tmp_path / "model"))
    change(tmp_path / "model")
    with pytest.raises(FormatError, match=text):
        ClipText(opened.name, "sd", 16, sha256=opened.sha256, tokenizer_sha256=opened.tokenizer_sha256)(["a cat"])


def test_what_is_no_stable_diffusion_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sd(tmp_path)
    name = str(tmp_path / "model")
    with pytest.raises(
        FormatError, match="gives vectors of 16 for a token and 0 for a text, and 8 and 0 were expected"
    ):
        ClipText(name, "sd", 8)(["a cat"])
    (tmp_path / "model" / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(FormatError, match="holds no tokenizer: it should have vocab.json and merges.txt"):
        ClipText.open(name)
    with pytest.raises(FormatError, match="holds no text_encoder"):
        ClipText.open(str(tmp_path / "vocabulary"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NotFoundError, match="there is no folder nobody/nothing, and the Hub gives no such model"):
        ClipText.open("nobody/nothing")


def test_a_tokenizer_with_more_tokens_than_the_encoder_is_refused(tmp_path: Path) -> None:
    sd(tmp_path)
    (tmp_path / "model" / "tokenizer").rename(tmp_path / "before")
    merges = [f"{one} {other}" for one in "abcd" for other in "efgh"]
    tokenizer_folder(tmp_path / "model" / "tokenizer", merges=merges)
    with pytest.raises(FormatError, match="gives 530 numbers, and its text encoder knows 524: take both from the same"):
        ClipText.open(str(tmp_path / "model"))(["a cat"])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"family": "sd4"}, "family must be one of sd, sdxl, sdxl-refiner"),
        ({"sha256": ("0", "1")}, "sd has 1 text encoders"),
        ({"frequency_width": 7}, "frequency_width must be even"),
        ({"size": (0, 8)}, "a size of 1 or more"),
    ],
)
def test_arguments_that_cannot_be_are_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        ClipText(**{"name": "x", "family": "sd", "width": 16, **wrong})
