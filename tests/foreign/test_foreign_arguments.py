"""A drawing in the words of other tools: the same drawing, or an error that names ours."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sfumato import Cascade
from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.foreign.drawing import own_arguments
from sfumato.foreign.words import DRAWING_WORDS
from sfumato.media import Image
from sfumato.nn.image.unet import UNet
from sfumato.system import Settings, System
from sfumato.system.drawing import Drawing


@pytest.fixture
def system() -> System:
    conditioner = Labels(("cat", "dog"))
    inputs: dict[str, Any] = {**conditioner.widths}
    network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), **inputs)
    return System(Identity(Image(1)), conditioner, Denoiser(network, Cosine(), X0Prediction()), Settings((8, 4)))


@pytest.mark.parametrize(
    ("foreign", "own"),
    [
        ({"seed": 7}, {"seeds": range(7, 8)}),
        ({"num_images_per_prompt": 3}, {"seeds": range(3)}),
        ({"seed": 7, "n": 3}, {"seeds": range(7, 10)}),
        ({"num_inference_steps": 20}, {"steps": 20}),
        ({"guidance_scale": 7.5}, {"guidance": 7.5}),
        ({"guidance_scale": 0.0}, {"guidance": 1.0}),
        ({"cfg": 0.0}, {"guidance": 0.0}),
        ({"cfg_scale": 7}, {"guidance": 7}),
        ({"guidance_rescale": 0.7}, {"rescale": 0.7}),
        ({"negative_prompt": "dark"}, {"negative": "dark"}),
        ({"negative_prompt": ["dark"]}, {"negative": "dark"}),
        ({"height": 64, "width": 32}, {"size": (32, 64)}),
        ({"sampler_name": "Euler a"}, {"sampler": "Euler a"}),
        ({"schedule_type": "Karras"}, {"spacing": "Karras"}),
        ({"scheduler": "karras"}, {"spacing": "karras"}),
        ({"scheduler": "dpmpp_2m_k"}, {"sampler": "dpmpp_2m_k"}),
        ({"class_labels": [1, 2]}, {"prompt": [1, 2]}),
        ({"generator": None, "eta": None, "steps": 4}, {"steps": 4}),
        ({"steps": None, "num_inference_steps": 4}, {"steps": 4}),
    ],
)
def test_a_word_with_one_meaning_is_taken(foreign: dict[str, Any], own: dict[str, Any]) -> None:
    assert own_arguments(foreign) == own


@pytest.mark.parametrize(
    ("foreign", "text"),
    [
        (
            {"steps": 20, "num_inference_steps": 30},
            "^steps and num_inference_steps are one argument here, steps: give one",
        ),
        ({"cfg": 5, "guidance_scale": 5}, "^cfg and guidance_scale are one argument here, guidance: give one of them$"),
        ({"seeds": [1], "seed": 2}, "^seeds and seed are one argument here"),
        ({"size": (8, 8), "height": 8, "width": 8}, "^size and height and width are one argument here"),
        ({"n": 2, "num_images": 2}, "^num_images and n are one argument here"),
        ({"height": 64}, r"^height alone leaves the other side open: give both, or size=\(WIDTH, 64\)$"),
        ({"seed": -1}, "seed, for one sample .* must be a whole number from 0 to .*, not -1$"),
        ({"eta": 0.5}, "^eta is an argument of diffusers, A1111; here it is .*: sampler='ddim,eta=0.5'$"),
        ({"generator": torch.Generator().manual_seed(7)}, r"^generator is .*: seeds=\[7\]$"),
        ({"batch_size": 16}, r": seeds=range\(16\); how many are drawn at once is batch=16$"),
        ({"strength": 0.6}, "there is no strength$"),
        (
            {"scheduler": SimpleNamespace()},
            "^a scheduler is a sampler in some tools, a spacing in others; here they are two",
        ),
        ({"scheduler": "ddim"}, "^a scheduler is a sampler in some tools, a spacing in others"),
        ({"negative_prompt": ["dark", "blurred"]}, "^one negative prompt serves all samples"),
    ],
)
def test_any_other_is_refused_with_ours(foreign: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        own_arguments(foreign)


def test_every_word_has_a_meaning_here_or_says_what_has() -> None:
    for name, word in DRAWING_WORDS.items():
        assert name not in Drawing.__annotations__ and word.name == name and word.tool
        if word.instead:
            assert "{" not in word.instead.format(value=3)
        else:
            assert word.here in Drawing.__annotations__


def test_records_are_the_same_as_with_our_own_words(system: System) -> None:
    own = system.generate("cat", seeds=[3, 4], size=(8, 8), steps=4, sampler="dpm++", spacing="karras", guidance=2)
    words: dict[str, Any] = {"seed": 3, "num_images_per_prompt": 2, "height": 8, "width": 8, "num_inference_steps": 4}
    words |= {"guidance_scale": 2, "sampler_name": "DPM++ 2M Karras"}
    foreign = system.generate("cat", **words)
    assert foreign.records == own.records and torch.equal(foreign.data, own.data)


@pytest.mark.parametrize("size", [8, "8x8", "8", (8, 8)])
def test_a_size_may_be_spelled_and_one_side_is_a_square(system: System, size: Any) -> None:
    assert system.generate(size=size, steps=1).data.shape == (1, 1, 8, 8)


def test_a_number_in_the_place_of_seeds_is_refused_with_both_meanings(system: System) -> None:
    with pytest.raises(InputError, match=r"^seeds are a list: seeds=\[3\] is one sample, and seeds=range\(3\) as many"):
        system.generate(seeds=3)  # pyright: ignore[reportArgumentType]


def test_a_prompt_that_is_given_twice_is_refused(system: System) -> None:
    with pytest.raises(InputError, match="the prompt was given twice"):
        system.generate("cat", prompt="dog")


def test_a_cascade_and_its_stages_take_the_words_too(system: System) -> None:
    words: dict[str, Any] = {"seed": 3, "stages": [{"num_inference_steps": 2}]}
    own = Cascade([system]).generate("cat", seeds=[3], steps=2)
    assert Cascade([system]).generate("cat", **words).records == own.records
    with pytest.raises(InputError, match="seeds is the same for all stages"):
        Cascade([system]).generate(stages=[{"seed": 3}])  # pyright: ignore[reportArgumentType]
