"""The command line: what it writes, what it prints, how it ends."""

import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from program import SMALL, Sfumato

from sfumato import load, media
from sfumato.codec import Identity, Latent
from sfumato.condition import Labels, Nothing
from sfumato.core.parameterization import EpsPrediction
from sfumato.core.schedule import Linear
from sfumato.denoise import Denoiser
from sfumato.errors import DataError, FormatError, NonFiniteError, Stopped, WorkerError
from sfumato.media.image import png
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.unet import UNet
from sfumato.parts import CODECS
from sfumato.sample import DDIM
from sfumato.system import Cascade, System, Upsample
from sfumato.system import file as system_file
from sfumato.system.masked import MaskedImage
from sfumato.system.samples import read_record
from sfumato.system.settings import Settings
from sfumato.train import train

PLACE = ("--device", "cpu", "--precision", "float32")
SET = [word for setting in SMALL for word in ("--set", setting)]


def drawn_again(sfumato: Sfumato, path: str) -> bytes:
    """The bytes of the picture that the command in a picture's record draws, in a folder of its own."""
    shown = sfumato("inspect", path).out.splitlines()
    assert not [line for line in shown if line.startswith("differs")]
    (line,) = [line for line in shown if line.startswith("again")]
    done = sfumato(*shlex.split(line)[2:], "--out", "second", *PLACE[:2])
    assert done.code == 0, done.err
    return Path(done.out.strip()).read_bytes()


def pixels(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# Generate -------------------------------------------------------------------------------------------------------------


def test_generate_writes_files_and_prints_their_paths(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    result = sfumato("generate", "cat", "--model", run, "-n", 3, "--seed", 5, "--out", "drawn", *PLACE)
    assert result.code == 0
    assert result.out.splitlines() == [f"drawn/cat-{seed}.png" for seed in (5, 6, 7)]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["cat-5.png", "cat-6.png", "cat-7.png"]
    assert [read_record(tmp_path / line)["seed"] for line in result.out.splitlines()] == [5, 6, 7]
    record = read_record(tmp_path / "drawn" / "cat-5.png")
    assert f"{run}: {record['system']} on cpu in float32" in result.err


def test_generate_follows_its_options(sfumato: Sfumato, run: Path) -> None:
    options = ["--sampler", "ddim,eta=0.5", "--spacing", "leading", "--steps", 4, "--guidance", 2, "--size", "10x6"]
    result = sfumato("generate", "1", "--model", run, *options, *PLACE)
    (name,) = result.out.split()
    record = read_record(Path(name))
    assert name == "out/1-0.png" and pixels(name).shape == (6, 10)
    assert record["sampler"] == {"kind": "ddim", "eta": 0.5} and record["spacing"]["kind"] == "leading"
    assert (record["steps"], record["guidance"], record["prompt"]) == (4, 2.0, "1")


def test_generate_without_a_prompt_asks_for_anything(sfumato: Sfumato, run: Path) -> None:
    result = sfumato("generate", "-m", run / "system", *PLACE)
    assert result.out == "out/0.png\n" and read_record(Path("out/0.png"))["prompt"] is None


def test_generating_again_gives_the_same_files(sfumato: Sfumato, run: Path) -> None:
    one = sfumato("generate", "hen", "-m", run, "-n", 2, *PLACE)
    held = [Path(name).read_bytes() for name in one.out.split()]
    assert sfumato("generate", "hen", "-m", run, "-n", 2, *PLACE).out == one.out
    assert [Path(name).read_bytes() for name in one.out.split()] == held
    other = sfumato("generate", "hen", "-m", run, "--steps", 2, *PLACE)
    assert other.out == "out/hen-0_2.png\n" and Path("out/hen-0.png").read_bytes() == held[0]


def test_generate_guides_by_what_its_options_say(sfumato: Sfumato, run: Path) -> None:
    options = ["--guidance", 3, "--interval", "0.1,2", "--rescale", 0.5, "--negative", "dog"]
    result = sfumato("generate", "cat", "-m", run, *options, *PLACE)
    record = read_record(Path("out/cat-0.png"))
    assert result.code == 0 and record["interval"] == [0.1, 2.0]
    assert (record["rescale"], record["negative"]) == (0.5, "dog")
    again = sfumato("inspect", "out/cat-0.png").out
    assert "--interval 0.1,2.0 --rescale 0.5 --negative dog" in again
    wrong = sfumato("generate", "cat", "-m", run, "--interval", "wide", *PLACE)
    assert wrong.code == 2 and "--interval wants LOW,HIGH, as in 0.2,3, not 'wide'" in wrong.err


def test_generate_guides_by_a_classifier(sfumato: Sfumato, run: Path, data: Path) -> None:
    settings = ["network.width=8", "network.patch=1", "train.batch=8"]
    train(data, out="cls", recipe="classifier", settings=settings, steps=2, device="cpu", precision="float32")
    plain = sfumato("generate", "-m", run, *PLACE)
    guided = sfumato("generate", "-m", run, "--classifier", "cls", "--class", "hen", "--classifier-scale", 9, *PLACE)
    assert plain.code == guided.code == 0 and plain.out != guided.out
    record = read_record(Path(guided.out.strip()))
    assert (record["guide"]["path"], record["guide"]["class"], record["guide"]["scale"]) == ("cls", "hen", 9.0)
    assert drawn_again(sfumato, guided.out.strip()) == Path(guided.out.strip()).read_bytes()
    assert not np.array_equal(pixels(plain.out.strip()), pixels(guided.out.strip()))
    alone = sfumato("generate", "-m", run, "--class", "hen", *PLACE)
    assert alone.code == 2 and "--classifier and --class go together: give both, or neither" in alone.err
    unknown = sfumato("generate", "-m", run, "--classifier", "cls", "--class", "cow", *PLACE)
    assert unknown.code == 2 and "there is no class 'cow' here" in unknown.err


def test_a_sampler_within_a_sampler_is_drawn_with_again(sfumato: Sfumato, run: Path) -> None:
    inner = '{"kind": "predictor-corrector", "predictor": {"kind": "ddim", "eta": 0.5}, "corrections": 2, "snr": 0.1}'
    assert sfumato("generate", "-m", run, "--sampler", inner, *PLACE).code == 0
    assert drawn_again(sfumato, "out/0.png") == Path("out/0.png").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["--sampler", "dpm++"],
        ["--sampler", "dpm++pairs,eta=0.5", "--steps", 4],
        ["--spacing", "discrete,round_times=false,timestep_spacing=linspace,drop_last=true"],
        ["--spacing", '{"kind": "explicit", "times": [900, 500, 20.0]}'],
    ],
    ids=str,
)
def test_whatever_settings_a_part_has_the_command_in_a_record_runs(
    options: list[Any], sfumato: Sfumato, run: Path
) -> None:
    """Truth values, nothing and lists too."""
    assert sfumato("generate", "cat", "-m", run, *options, *PLACE).code == 0
    assert drawn_again(sfumato, "out/cat-0.png") == Path("out/cat-0.png").read_bytes()


@pytest.mark.parametrize(
    "prompt", ["-n 3", "--help", 'it\'s "so"', "$(id) `id` \\ !", "two\nlines\t\x1b[31m", "", "[/b] ünï 😀", "\u200b"]
)
def test_a_shell_reads_the_command_in_a_record_as_it_was_given(prompt: str, sfumato: Sfumato, tmp_path: Path) -> None:
    record = {"prompt": prompt, "model": "-a b'\n", "negative": prompt, "seed": 3}
    (tmp_path / "a.png").write_bytes(png(Image.new("L", (4, 4)), record))
    (line,) = [line for line in sfumato("inspect", "a.png").out.splitlines() if line.startswith("again")]
    asked = "sfumato() { printf '%s\\0' \"$@\"; }; " + line.removeprefix("again").lstrip()
    done = subprocess.run(["bash", "-c", asked], capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=True)
    command, *words = done.stdout.decode().split("\0")[:-1]
    found = {}
    while words and words[0].startswith("--") and words[0] != "--" and len(words) > 1:
        name, equals, value = words.pop(0).partition("=")
        found[name] = value if equals else words.pop(0)
    assert command == "generate" and words == (["--", prompt] if prompt.startswith("-") else [prompt])
    assert found == {"--model": "-a b'\n", "--negative": prompt, "--seed": "3"}


def test_a_record_of_what_no_command_brings_back_says_so(sfumato: Sfumato, tmp_path: Path) -> None:
    """Also a record of an older version's, whose words were others."""
    older = {"guide": "classifier toward hen, scale 9", "beside": "0" * 64, "bound": {"limit": 1.0}}
    for name, more in {"plain": {}, "guided": older}.items():
        (tmp_path / f"{name}.png").write_bytes(png(Image.new("L", (4, 4)), {"seed": 1} | more))
    assert "differs" not in sfumato("inspect", "plain.png").out
    lines = sfumato("inspect", "guided.png").out.splitlines()
    assert [line for line in lines if line.startswith("beside  ") and "0" * 64 in line]
    guide, condition = [line for line in lines if line.startswith("differs")]
    assert "its guide was given in Python, and the record holds no more of it than 'classifier toward hen" in guide
    assert "its condition was given in Python" in condition and condition.endswith("the same, another one is drawn")


def test_a_picture_painted_within_another_is_drawn_again(sfumato: Sfumato, tmp_path: Path) -> None:
    """As long as both files are there and the same; if not, a message says so."""
    codec = Latent(KLAutoencoder(1, 2, width=8, multipliers=(1, 2), blocks=1, attention=False))
    network = UNet(2, 2, width=8, multipliers=(1,), blocks=1, attention=(), concat=3)
    System(codec, Nothing(), Denoiser(network, Linear(), EpsPrediction()), Settings((8, 8), steps=2)).save("painter")
    masks()["L"].save("mask -.png")
    masks()["LA"].save("photo.png")
    done = sfumato("generate", "-m", "painter", "--image", "photo.png", "--mask", "mask -.png", *PLACE)
    assert done.code == 0, done.err
    assert drawn_again(sfumato, "out/0.png") == Path("out/0.png").read_bytes()
    masks()["LA"].save("mask -.png")
    assert "differs    its mask 'mask -.png' has changed since: without" in sfumato("inspect", "out/0.png").out
    Path("photo.png").unlink()
    assert "differs    its image is gone: there is no picture photo.png: " in sfumato("inspect", "out/0.png").out
    alone = sfumato("generate", "-m", "painter", "--mask", "mask -.png", *PLACE)
    assert alone.code == 2 and "--mask is of an --image: give both, or neither" in alone.err


def masks() -> dict[str, Image.Image]:
    """White strokes on nothing, in each mode that can say so; what nobody sees may have any colour."""
    grey = np.zeros((8, 8), np.uint8)
    grey[2:6, 3:8] = 255
    clear = Image.fromarray(np.stack([np.full_like(grey, 255), grey], 2))  # white everywhere, seen where it was painted
    palette = Image.fromarray((grey > 0).astype(np.uint8))
    palette.putpalette([90, 200, 255, 255, 255, 255])
    palette.info["transparency"] = 0
    deep = Image.fromarray(np.where(grey > 0, 65_535, 40_000).astype(np.uint16))
    deep.info["transparency"] = 40_000
    return {
        "L": Image.fromarray(grey),
        "1": Image.fromarray(grey).convert("1"),
        "RGB": Image.fromarray(grey).convert("RGB"),
        "RGBA": Image.fromarray(np.stack([grey] * 4, 2)),
        "LA": clear,
        "clear RGBA": clear.convert("RGBA"),
        "P": palette,
        "I;16": deep,
    }


@pytest.mark.parametrize("mode", masks())
def test_what_is_transparent_in_a_mask_is_not_painted(mode: str, tmp_path: Path) -> None:
    codec = Latent(KLAutoencoder(3, 1, width=8, multipliers=(1,), blocks=1, attention=False))
    network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), groups=8)
    system = System(codec, Nothing(), Denoiser(network, Linear(), EpsPrediction()), Settings((8, 8)))
    picture, mask, plain = (tmp_path / f"{name}.png" for name in ("picture", "mask", "plain"))
    Image.new("RGB", (8, 8), (90, 30, 200)).save(picture)
    masks()[mode].save(mask)
    masks()["L"].save(plain)
    found, wanted = (MaskedImage(picture, path)(system.codec, (8, 8))[0].given()["concat"] for path in (mask, plain))
    assert torch.equal(found, wanted) and found[0, 0].sum() == 20


@pytest.fixture
def cascade(tmp_path: Path) -> str:
    """A folder of two systems in a row: pictures of 4×4 of a class, made 8×8; and beside it one of the first alone."""
    sizes = {4: (Labels(("cat", "hen")), 0), 8: (Nothing(), 1)}
    stages = []
    for side, (conditioner, concat) in sizes.items():
        network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), concat=concat, **conditioner.widths)
        denoiser = Denoiser(network, Linear(), EpsPrediction())
        stages.append(System(Identity(media.Image(1)), conditioner, denoiser, Settings((side, side), steps=2)))
    stages[0].save("one")
    return str(Cascade(stages, [Upsample(0.25)]).save("pair"))


def test_a_cascade_is_drawn_from_shown_and_exported(sfumato: Sfumato, cascade: str) -> None:
    options = ["--steps", 4, "--set", "1.steps=3", "--set", "0.interval=0.5,2", "--set", "0.sampler=ddim,eta=0.5"]
    done = sfumato("generate", "hen", "-m", cascade, "--seed", 4, *options, *PLACE)
    assert done.code == 0 and done.out == "out/hen-4.png\n" and pixels("out/hen-4.png").shape == (8, 8), done.err
    first, last = read_record(Path("out/hen-4.png"))["stages"]
    assert (first["steps"], first["interval"], first["sampler"]["eta"], last["steps"]) == (4, [0.5, 2.0], 0.5, 3)
    assert drawn_again(sfumato, "out/hen-4.png") == Path("out/hen-4.png").read_bytes()
    lines = sfumato("inspect", "out/hen-4.png").out.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("stage")] == [
        ["stage", "0", "size"],
        ["stage", "1", "size"],
    ]
    assert "--set 1.steps=3" in lines[-1] and "--set 1.size" not in lines[-1], "the defaults of the system stay out"
    shown = sfumato("inspect", cascade).out
    for words in ("cascade  ", "upsample (noise 0.25)", "stage 0, network", "stage 1, weights", "labels (", "hen"):
        assert words in shown, words
    assert sfumato("export", cascade, "--out", "copy").code == 0
    again = sfumato("generate", "hen", "-m", "copy", "--seed", 4, *options, "--out", "second", *PLACE[:2])
    assert np.array_equal(pixels(again.out.strip()), pixels("out/hen-4.png"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["generate", "cat", "-m", "pair", "--set", "2.steps=3"], r"--set wants STAGE\.OPTION=VALUE, STAGE from 0"),
        (["generate", "cat", "-m", "pair", "--set", "steps=3"], r"--set wants .*, not 'steps=3'$"),
        (["generate", "cat", "-m", "pair", "--set", "0.step=3"], "a stage has no option 'step'; did you mean 'steps'"),
        (["generate", "cat", "-m", "pair", "--set", "0.steps=0"], "steps must be between 1 and"),
        (["generate", "cat", "-m", "one", "--set", "0.steps=3"], "--set is for the stages of a cascade, and this is"),
        (["export", "pair", "--out", "new", "--to", "diffusers"], "is a cascade, of which diffusers knows no folder"),
        (["export", "pair", "--out", "new", "--codec", "x"], "is a cascade of 2, where one system is wanted"),
    ],
    ids=str,
)
def test_what_a_cascade_is_not_is_one_line(words: list[str], text: str, sfumato: Sfumato, cascade: str) -> None:
    done = sfumato(*words, *(PLACE if words[0] == "generate" else ()))
    assert done.code == 2 and re.search(text, done.err.strip()), done.err


# Inspect --------------------------------------------------------------------------------------------------------------


def test_inspect_says_what_made_a_picture(sfumato: Sfumato, run: Path) -> None:
    sfumato("generate", "cat", "--model", run, "--seed", 9, *PLACE)
    result = sfumato("inspect", "out/cat-9.png")
    facts = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert result.code == 0 and not result.err
    assert facts["prompt"] == "cat " or facts["prompt"].strip() == "cat"
    record = read_record(Path("out/cat-9.png"))
    for key in ("seed", "system", "steps", "precision", "sfumato"):
        assert facts[key].strip() == str(record[key])
    assert record["interval"] is None and "interval" not in facts, "what is left open is not shown"


@pytest.mark.parametrize(
    "how", [[], ["--sampler", "ddim,eta=0.25", "--guidance", "1.5", "--size", "6x10", "--steps", "5"]]
)
def test_inspect_says_the_command_that_draws_it_again(
    how: list[str], sfumato: Sfumato, run: Path, tmp_path: Path
) -> None:
    sfumato("generate", "dog", "--model", run, "--seed", 3, *how, *PLACE)
    (path,) = Path("out").iterdir()
    line = next(line for line in sfumato("inspect", path).out.splitlines() if line.startswith("again"))
    command, *words = shlex.split(line.removeprefix("again"))
    assert command == "sfumato"
    result = sfumato(*words, "--device", "cpu", "--out", tmp_path / "again")
    assert result.code == 0, result.err
    assert np.array_equal(pixels(result.out.strip()), pixels(path))
    assert read_record(Path(result.out.strip())) == read_record(path)


def test_a_command_to_copy_stays_on_one_line(sfumato: Sfumato, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    (tmp_path / "a.png").write_bytes(png(Image.new("L", (4, 4)), {"prompt": "a cat " * 30, "seed": 1}))
    lines = sfumato("inspect", "a.png").out.splitlines()
    assert [line.split()[0] for line in lines] == ["prompt", "seed", "again"] and len(lines[2]) > 180


def test_inspect_shows_the_beginning_of_a_long_list(sfumato: Sfumato, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(Image.new("L", (4, 4)), {"prompt": "a cat", "numbers": [*range(1000)]}))
    assert "numbers  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … 1,000 in all\n" in sfumato("inspect", "a.png").out
    assert json.loads(sfumato("inspect", "a.png", "--json").out)["numbers"] == [*range(1000)]


def test_inspect_knows_what_ships_by_name(sfumato: Sfumato) -> None:
    result = sfumato("inspect", "emoji")
    assert result.code == 0 and result.out.count("M parameters") == 2, result.err


def test_inspect_says_what_is_in_a_system(sfumato: Sfumato, run: Path) -> None:
    by_run, by_folder = sfumato("inspect", run), sfumato("inspect", run / "system")
    assert by_run == by_folder and by_run.code == 0 and not by_run.err
    for words in (str(run / "system"), "M parameters, F32", "unet (", "cosine (", "labels (", "cat", "hen", "steps 3"):
        assert words in by_run.out, words
    assert "None" not in by_run.out and "depth ," not in by_run.out, "what is left open is not shown"


@pytest.mark.parametrize("prompt", ["[/b]", "[red]cat", "[link=file:///x]y", "\\[", ":smile:"])
def test_inspect_shows_a_record_as_it_is(prompt: str, sfumato: Sfumato, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(Image.new("L", (4, 4)), {"prompt": prompt, prompt: "x"}))
    result = sfumato("inspect", "a.png")
    assert result.code == 0 and result.out.splitlines()[0].split(maxsplit=1)[1].strip() == prompt
    assert result.out.splitlines()[1].startswith(prompt)


def test_inspect_shows_a_system_as_it_is(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "system", tmp_path / "odd")
    table = tmp_path / "odd" / "system.json"
    table.write_text(table.read_text().replace('"dog"', '"[/b] dog"'))
    assert "cat, [/b] dog, hen" in sfumato("inspect", "odd").out


DEEP: dict[str, Any] = {}
for _ in range(300):
    DEEP = {"a": DEEP}

HOSTILE = [
    {"prompt": DEEP},
    {"prompt": ["x"] * 10_000},
    {"sampler": 5, "size": "big", "spacing": [1]},
    {"size": [[1]], "seed": None},
    {},
    {"prompt": "\x1b[31mred\x07"},
]


@pytest.mark.parametrize("record", HOSTILE, ids=lambda record: str(record)[:40])
def test_inspect_survives_any_record(record: dict[str, Any], sfumato: Sfumato, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(Image.new("L", (4, 4)), record))
    result = sfumato("inspect", "a.png")
    assert result.code in (0, 3) and "Traceback" not in result.err
    assert "\x1b" not in result.out, "a record cannot speak to the terminal"


SYSTEMS = [
    {"weights": 5},
    {"weights": []},
    {"weights": [{}]},
    {"weights": [{"file": "../../x", "sha256": ""}]},
    {"weights": [{"file": "odd.safetensors", "sha256": ""}]},
    {"weights": [{"file": "odder.safetensors", "sha256": ""}]},
    {"format": 7},
]


@pytest.mark.parametrize("change", SYSTEMS, ids=str)
def test_inspect_says_what_is_wrong_with_a_system(change: dict[str, Any], sfumato: Sfumato, tmp_path: Path) -> None:
    for name, header in (("odd", b'{"a":{}}'), ("odder", b'{"a":{"shape":["x"],"dtype":5}}')):
        data = len(header).to_bytes(8, "little") + header
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    (tmp_path / "system.json").write_text(json.dumps({"format": system_file.SYSTEM_FORMAT} | change))
    result = sfumato("inspect", tmp_path)
    assert result.code == 3 and result.err.startswith("sfumato: ") and result.err.count("\n") == 1


@pytest.mark.parametrize("end", ["cat [/INST] draw", "[red]x[/b]", ":smile:"])
def test_what_is_not_read_of_a_prompt_is_shown_as_it_is(
    end: str, sfumato: Sfumato, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(System, "truncated", lambda *_: end)
    result = sfumato("generate", "cat", "-m", run, *PLACE)
    assert result.code == 0 and f"the prompt is too long; of it, this is not read: {end}\n" in result.err


def test_what_is_not_drawn_as_it_is_asked_for_is_a_line_and_the_picture_the_same(
    sfumato: Sfumato, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sfumato("generate", "cat", "-m", run, "--out", tmp_path / "a.png", *PLACE)
    monkeypatch.setattr(System, "warnings", lambda own, prompts: [f"{prompts[0]} is not known"])
    result = sfumato("generate", "cat", "-m", run, "--out", tmp_path / "b.png", *PLACE)
    assert result.code == 0 and "warning: cat is not known\n" in result.err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_names_that_speak_to_the_terminal_are_spelled(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    odd = "[/b]\x1b[31m\n"
    shutil.copytree(run / "system", tmp_path / odd)
    result = sfumato("generate", "-m", odd, "--out", odd + "out", *PLACE)
    assert (
        result.code == 0
        and result.err.startswith(r"[/b]\x1b[31m\n: ")
        and result.out == r"[/b]\x1b[31m\nout/0.png" + "\n"
    )
    moved = sfumato("export", odd, "--out", odd + "new")
    assert moved.code == 0 and "\x1b" not in moved.out


def test_paths_go_to_a_pipe_though_a_bar_is_in_the_terminal(
    sfumato: Sfumato, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    result = sfumato("generate", "-m", run, *PLACE)
    assert result.out == "out/0.png\n" and "drawing" in result.err


# Consoles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_cannot_show_a_name_spells_it(
    encoding: str, sfumato: Sfumato, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "猫.png").write_bytes(png(Image.new("L", (4, 4)), {"prompt": "猫 😀", "seed": 1}))
    for name, code in (("猫.png", 0), ("犬.png", 4)):
        streams = {stream: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for stream in ("stdout", "stderr")}
        for stream, held in streams.items():
            monkeypatch.setattr(sys, stream, held)
        assert sfumato("inspect", name).code == code
        out, err = (held.buffer.getvalue().decode("ascii") for held in streams.values())
        assert r"\u732b \U0001f600" in out if code == 0 else r"came '\u72ac.png', which does not exist" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_or_closed_output_ends_in_no_traceback() -> None:
    words = [sys.executable, "-m", "sfumato", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5 and re.fullmatch(r"sfumato: .*No space left on device\n", done.stderr)
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert done.returncode == 141 and not done.stderr
    closed = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *words[:-1], "inspect", "none"], stdout=subprocess.PIPE)
    assert (closed.returncode, closed.stdout) == (4, b""), "an error is not among the results"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 5, "more memory was needed than there is: ask for less at once, or close other programs"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "more memory was needed than there is"),
        (PermissionError(13, "Permission denied", "weights"), 5, "weights: Permission denied"),
        (OSError(28, "No space left on device", "out"), 5, "out: No space left on device"),
        (FileNotFoundError(2, "No such file or directory", "weights"), 4, "weights: No such file or directory"),
        (ConnectionRefusedError(111, "Connection refused"), 4, "Connection refused"),
        (TimeoutError("timed out"), 4, "timed out"),
        (socket.gaierror(-2, "Name or service not known"), 4, "Name or service not known"),
        (NonFiniteError("the loss is not finite"), 6, "the loss is not finite"),
        (WorkerError("a worker ended"), 5, "a worker ended"),
        (DataError("nothing is left"), 3, "nothing is left"),
    ],
    ids=repr,
)
def test_what_the_machine_refuses_is_one_line(
    error: Exception, code: int, message: str, sfumato: Sfumato, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("sfumato.load", fail)
    done = sfumato("generate", "cat")
    assert done.code == code and done.err.startswith(f"sfumato: {message}") and done.err.count("\n") == 1
    found = json.loads(sfumato("--json-errors", "generate", "cat").err)
    assert found["error"] == type(error).__name__ and found["code"] == code and found["message"].startswith(message)


# Export ---------------------------------------------------------------------------------------------------------------


def test_export_writes_a_system_in_small_files_that_draws_the_same(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    result = sfumato("export", run, "--out", "small", "--precision", "float32")
    assert result.code == 0 and re.match(r"small: \d+\.\d MB in float32$", result.out)
    for model in (run, "small"):
        sfumato("generate", "cat", "--model", model, "--out", f"by-{Path(model).name}", *PLACE)
    one, other = (pixels(next((tmp_path / f"by-{name}").iterdir())) for name in (run.name, "small"))
    assert np.array_equal(one, other)


def test_export_halves_a_system(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        assert sfumato("export", run, "--out", precision, "--precision", precision).code == 0
    whole, half = (
        sum(path.stat().st_size for path in (tmp_path / precision).glob("*.safetensors"))
        for precision in ("float32", "bfloat16")
    )
    assert 0.4 < half / whole < 0.8, "the header stays"
    assert "BF16" in sfumato("inspect", "bfloat16").out


def test_export_puts_a_codec_that_was_trained_on_into_a_system(sfumato: Sfumato, tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = Latent(KLAutoencoder(1, 1, width=8, multipliers=(1,), blocks=1), (0.5,), (2.0,))
    network = UNet(1, 1, width=4, multipliers=(1,), blocks=1, attention=())
    System(codec, Nothing(), Denoiser(network, Linear(), EpsPrediction()), Settings((4, 4), DDIM(), steps=2)).save(
        tmp_path / "one"
    )
    with torch.no_grad():
        next(codec.network.decoder.parameters()).add_(1.0)
    spec = {"codec": CODECS.dump(codec), "about": {"steps": 7}}
    system_file.write_folder(tmp_path / "on", spec, {"codec": codec}, system_file.CODEC_FILE)

    result = sfumato("export", "one", "--codec", "on", "--out", "other", "--precision", "bfloat16")
    assert result.code == 0, result.err
    other = load(tmp_path / "other", "cpu", "bfloat16")
    z = torch.randn(1, 1, 4, 4)
    assert torch.equal(other.codec.decode(z), codec.to("cpu", torch.bfloat16).decode(z))
    assert other.about["codec"] == {"steps": 7}


def test_export_writes_what_is_in_format_2_in_todays(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "system", tmp_path / "old")
    table = json.loads((tmp_path / "old/system.json").read_bytes())
    older = {"format": 2, "codec": {"kind": "pixels", "channels": table["codec"]["medium"]["channels"]}}
    (tmp_path / "old/system.json").write_text(json.dumps(table | older))
    refused = sfumato("generate", "-m", "old", *PLACE)
    assert refused.code == FormatError.code and "convert it: sfumato export old --out NEW" in refused.err
    wrong = sfumato("export", "old", "--out", "new", "--to", "diffusers")
    assert wrong.code == 2 and "old is in format 2: write it in today's first" in wrong.err
    done = sfumato("export", "old", "--out", "new")
    assert done.code == 0 and done.out == "new: system of format 2 in format 3, its weights as they were\n", done.err
    for file in (run / "system").iterdir():
        assert file.read_bytes() == (tmp_path / "new" / file.name).read_bytes()


def test_export_writes_a_folder_of_diffusers_and_says_what_differs(sfumato: Sfumato, tmp_path: Path) -> None:
    network = UNet(width=8, multipliers=(1, 2), blocks=1, groups=8)
    settings = Settings((8, 8), DDIM(), steps=10)
    System(Identity(media.Image()), Nothing(), Denoiser(network, Linear(), EpsPrediction()), settings).save(
        tmp_path / "system"
    )
    result = sfumato("export", "system", "--to", "diffusers", "--out", "there")
    assert result.code == 0, result.err
    notes = result.err.splitlines()
    assert re.match(r"there: \d+\.\d MB in float32\n$", result.out)
    assert all(note.startswith("warning: ") for note in notes)
    assert "use_clipped_model_output=True" in notes[0] and "num_inference_steps=10" in notes[1]
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"model_index.json", "scheduler", "unet"}
    assert sfumato("generate", "--model", "there", "--steps", 2, *PLACE).code == 0


# Train ----------------------------------------------------------------------------------------------------------------


def test_train_says_its_cost_first_and_leaves_a_system(sfumato: Sfumato, data: Path, tmp_path: Path) -> None:
    result = sfumato("train", data, "--recipe", "digits", "--out", "run", "--steps", 2, *SET, *PLACE)
    assert result.code == 0 and not result.out
    for words in ("24 pictures of 8×8 in 3 classes", "parameters", "float32", "about 2 steps from 0", "2 steps made"):
        assert words in result.err, words
    files = {"run.json", "log.jsonl", "history.json", "index.html"}
    assert {*files, "checkpoints", "samples", "system"} == {p.name for p in (tmp_path / "run").iterdir()}
    again = sfumato("train", "--out", "run", "--resume", "--steps", 3, *PLACE)
    assert again.code == 0 and "about 1 step from 2" in again.err
    assert sfumato("generate", "cat", "-m", "run", *PLACE).code == 0


def test_an_odd_name_of_the_data_is_shown_as_it_is(sfumato: Sfumato, data: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a[" / "b]x[red]"
    odd.mkdir(parents=True)
    (odd / "data.npz").write_bytes(data.read_bytes())
    result = sfumato("train", "a[/b]x[red]/data.npz", "--recipe", "digits", "--out", "run", "--steps", 1, *SET, *PLACE)
    assert result.code == 0 and "a[/b]x[red]/data.npz: 24 pictures" in result.err


# Version, help --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["train", "--help"], ["generate", "-h"], ["inspect", "-h"]])
def test_help_helps(words: list[str], sfumato: Sfumato) -> None:
    result = sfumato(*words)
    assert result.code == 0 and result.out.lstrip().startswith("Usage: sfumato") and not result.err


def test_every_summary_of_a_command_is_whole(sfumato: Sfumato, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in sfumato("--help").out.partition("Commands:")[2]


def test_the_version_is_printed(sfumato: Sfumato) -> None:
    assert sfumato("--version") == (0, f"sfumato {version('sfumato')}\n", "")


@pytest.mark.parametrize(("policy", "spins"), [(None, "10000"), ("passive", None)])
def test_threads_that_wait_spin_for_a_while(
    policy: str | None, spins: str | None, sfumato: Sfumato, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    assert sfumato("--version").code == 0
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_help_loads_no_torch() -> None:
    """That of the program and of each command, in one process."""
    code = """
import sys
from sfumato.cli import app, main
for words in [], *([command.name or command.callback.__name__] for command in app.registered_commands):
    sys.argv = ["sfumato", *words, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
print(*({"torch", "numpy", "rich"} & {*sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.returncode and done.stdout.splitlines()[-1] == "", done.stdout + done.stderr


# Errors ---------------------------------------------------------------------------------------------------------------

MODEL = ("--model", "RUN", *PLACE)
TRAIN = ("train", "DATA", "--out", "new", "--device", "cpu")

WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no model": (("generate", "cat", "--model", "none"), "there is no folder none; give one that `sfumato train` made"),
    "no system": (("generate", "cat", "--model", "."), "holds no system.json"),
    "class": (("generate", "cow", *MODEL), "there is no class 'cow' here; known: "),
    "steps 0": (("generate", "cat", "--steps", "0", *MODEL), "steps must be .*not 0$"),
    "steps -1": (("generate", "cat", "--steps", "-1", *MODEL), "steps must be .*not -1$"),
    "steps 10^9": (("generate", "cat", "--steps", "1000000000", *MODEL), "steps must be .*not 1,000,000,000$"),
    "sampler": (("generate", "cat", "--sampler", "dim", *MODEL), "there is no sampler 'dim'; did you mean 'ddim'"),
    "spacing": (("generate", "cat", "--spacing", "x", *MODEL), "there is no spacing 'x'"),
    "interval": (("generate", "--interval", "nan,3", *MODEL), r"interval must be two sigma/alpha .*not \(nan, 3\.0\)$"),
    "interval to infinity": (("generate", "--interval", "0,inf", *MODEL), "interval must be two sigma/alpha"),
    "interval of three": (("generate", "--interval", "0,1,2", *MODEL), "--interval wants LOW,HIGH"),
    "size of many digits": (("generate", "--size", f"{'9' * 5000}x8", *MODEL), "a size reads .*, not '9{96}\\.\\.\\.$"),
    "endless": (
        ("generate", "--sampler", "annealed-langevin,steps=4294967296", *MODEL),
        "asks the network 4,294,967,297 times a step, in 3 steps: at most 1,000 a step and 1,000,000 in all",
    ),
    "guidance": (("generate", "cat", "--guidance", "nan", *MODEL), "guidance must be a number from 0 up, not nan"),
    "seed": (("generate", "cat", "--seed", "-1", *MODEL), "a seed must be a whole number"),
    "last seed": (("generate", "cat", "-n", "2", "--seed", str(2**63 - 1), *MODEL), "a seed must be a whole number"),
    "number": (("generate", "cat", "-n", "0", *MODEL), "-n must be from 1 to 100,000, not 0$"),
    "size": (("generate", "cat", "--size", "8by8", *MODEL), "a size reads WIDTHxHEIGHT, as in 64x64, not '8by8'$"),
    "size zero": (("generate", "--size", "0x8", *MODEL), "size must be"),
    "device": (("generate", "--model", "RUN", "--device", "abacus"), "device 'abacus' is not to be had here"),
    "precision": (("generate", "--model", "RUN", "--precision", "half"), "precision must be float32 or bfloat16"),
    "class of two lines": (("generate", "a\nb", *MODEL), "there is no class 'a.*b' here"),
    "nothing to export": (("export", "none", "--out", "new"), "there is no folder none"),
    "precision to export": (("export", "RUN", "--out", "new", "--precision", "half"), "precision must be float32 or"),
    "tiny files": (("export", "RUN", "--out", "new", "--megabytes", "0"), "--megabytes must be at least 1, not 0$"),
    "steps of the system that ships": (("generate", "a cat", "--steps", "0"), "steps must be .*not 0$"),
    "no codec to export": (
        ("export", "RUN", "--out", "new", "--codec", "none"),
        "none holds no codec: there is no codec.json in it$",
    ),
    "layout to export": (
        ("export", "RUN", "--out", "new", "--to", "torch"),
        "--to cannot be 'torch'; known: diffusers",
    ),
    "nothing like it": (
        ("export", "RUN", "--out", "new", "--to", "diffusers"),
        "diffusers has no pipeline with a UNet conditioned by Labels, in pixels; it has them for",
    ),
    "nothing to inspect": (
        ("inspect", "none"),
        "expected a picture, the folder of a system, .* came 'none', which does not exist$",
    ),
    "no record": (("inspect", "FOREIGN"), "carries no record of Sfumato's"),
    "no picture": (("inspect", "DATA"), "cannot be read as a PNG"),
    "recipe": ((*TRAIN, "--recipe", "digit"), "there is no recipe 'digit'; did you mean 'digits'"),
    "setting": ((*TRAIN, "--set", "train.bach=3"), "there is no setting 'train.bach'; did you mean 'batch'"),
    "bad setting": ((*TRAIN, "--set", "train.batch"), "--set wants key=value"),
    "no data": (("train", "--out", "new"), "what to train on"),
    "no such data": (
        ("train", "none", "--out", "new"),
        "expected a folder of pictures, .* came '/.*/none', which does not exist",
    ),
    "no run": (("train", "--out", "new", "--resume"), "there is no run to resume in new: it holds no run.json$"),
    "a run": (("train", "DATA", "--out", "RUN"), "is not empty: --resume goes on with it"),
    "no steps": ((*TRAIN, "--steps", "0"), "--steps must be more than 0"),
    "no time": ((*TRAIN, "--minutes", "nan"), "--minutes must be more than 0"),
    "two budgets": (
        (*TRAIN, "--steps", "2", "--minutes", "1"),
        "give one of --steps, --images, --epochs and --minutes",
    ),
    "device to train on": (
        ("train", "DATA", "--out", "new", "--steps", "1", *SET, "--device", "abacus"),
        "device 'abacus' is not to be had",
    ),
    "precision to train in": ((*TRAIN, "--steps", "1", *SET, "--precision", "half"), "precision must be float32 or"),
    "a file for a folder": (("train", "DATA", "--out", "FOREIGN"), "is not empty|is a file"),
}


CODES = {
    "no record": 3,
    "no picture": 3,
    "no model": 4,
    "nothing to export": 4,
    "no codec to export": 4,
    "nothing to inspect": 4,
    "no such data": 4,
}
"""Exit codes other than that of a wrong use."""


@pytest.mark.parametrize("name", WRONG)
def test_an_error_is_one_line_and_has_an_exit_code_of_its_kind(
    name: str, sfumato: Sfumato, run: Path, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    foreign = tmp_path / "foreign.png"
    Image.new("L", (4, 4)).save(foreign)
    words, text = WRONG[name]
    places = {"RUN": str(run), "DATA": str(data), "FOREIGN": str(foreign)}
    result = sfumato(*(places.get(word, word) for word in words))
    assert result.code == CODES.get(name, 2) and not result.out
    assert result.err.startswith("sfumato: ") and result.err.endswith("\n") and result.err.count("\n") == 1, result.err
    assert re.search(text, result.err.rstrip("\n")), result.err
    assert list(tmp_path.iterdir()) == [foreign], "nothing is written"


@pytest.mark.parametrize(
    "words",
    [["--nonsense"], ["export", "x"], ["generate", "x", "--model"], ["paint"], ["train", "--steps", "x"]],
)
def test_a_wrong_use_is_a_message_and_exit_code_two(words: list[str], sfumato: Sfumato, tmp_path: Path) -> None:
    result = sfumato(*words)
    assert result.code == 2 and "Traceback" not in result.err and "Error" in result.err
    assert not list(tmp_path.iterdir())


def test_debug_shows_where_an_error_arose(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sfumato", "--debug", "inspect", "none"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "sfumato.errors.NotFoundError: expected a picture, the folder of a system"
    )


def test_debug_lets_errors_through(sfumato: Sfumato, monkeypatch: pytest.MonkeyPatch) -> None:
    for off in ("", "0", "false", "No"):
        monkeypatch.setenv("SFUMATO_DEBUG", off)
        assert sfumato("inspect", "none").code == 4
    with pytest.raises(Exception, match="came 'none', which does not exist$"):
        sfumato("--debug", "inspect", "none")
    assert os.environ.pop("SFUMATO_DEBUG")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Stopped("stopped by a signal", 15), 143, "sfumato: stopped by a signal\n"),
        (Stopped("stopped by a signal", 2), 130, "sfumato: stopped by a signal\n"),
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_a_signal_has_its_own_exit_code(
    error: BaseException, code: int, message: str | None, sfumato: Sfumato, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("sfumato.train.train", stop)
    done = sfumato("train", data, "--out", "new")
    assert done.code == code and "Traceback" not in done.err
    assert message is None or done.err == message


def test_a_folder_that_cannot_be_written_is_refused_before_drawing(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/deeper"):
        result = sfumato("generate", "cat", *(str(run) if word == "RUN" else word for word in MODEL), "--out", out)
        assert result.code == 5 and "cannot write" in result.err and result.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"
