"""Options of other tools on the command line."""

import pytest

from sfumato.cli.foreign import FOREIGN_OPTIONS, own_options
from sfumato.errors import InputError

OURS = ("-n", "--seed", "--steps", "--guidance", "--negative", "--sampler", "--spacing", "--size", "--out", "--model")


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("cat --num-inference-steps 20", "cat --steps 20"),
        ("cat --num_inference_steps=20 --seed 3", "cat --steps 20 --seed 3"),
        ("cat --guidance-scale 7.5", "cat --guidance 7.5"),
        ("cat --guidance-scale 0", "cat --guidance 1"),
        ("cat --cfg-scale 0", "cat --guidance 0"),
        ("--prompt cat --negative-prompt dark", "cat --negative dark"),
        ("cat --width 32 --height 64 --steps 4", "cat --steps 4 --size 32x64"),
        ("cat --num-images 4 --output there", "cat -n 4 --out there"),
        ("cat --ckpt model.safetensors --sampler-name dpmpp_2m", "cat --model model.safetensors --sampler dpmpp_2m"),
        ("cat --steps 4 --unknown 3", "cat --steps 4 --unknown 3"),
        ("cat --width 8 --height 8 -- --cfg", "cat --size 8x8 -- --cfg"),
    ],
)
def test_an_option_with_one_meaning_is_taken(given: str, own: str) -> None:
    assert own_options(given.split(), OURS) == own.split()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("--steps 20 --num-inference-steps 30", "^--num-inference-steps and --steps are one option here"),
        ("--height 64", "^--height alone leaves the other side open: give both, or --size 64x64$"),
        ("--eta 0.5", "^--eta is an option of diffusers, A1111; here: .*sampler='ddim,eta=…'$"),
        ("--batch-size 16", "^--batch-size is an option of .*; here: -n 16 draws sixteen$"),
        ("--scheduler karras", "here: --sampler and --spacing$"),
        ("--strength 0.5", "there is no strength$"),
    ],
)
def test_any_other_is_refused_with_ours(given: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        own_options(given.split(), OURS)


def test_every_option_stands_for_one_of_ours() -> None:
    assert {*FOREIGN_OPTIONS.values()} <= {*OURS, ""}
