"""Pictures on the command line: `inspect` of ours and of other tools', as JSON; formats and metadata of `generate`."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin
from program import Sfumato

from sfumato import media
from sfumato.media.image import read_texts
from sfumato.media.metadata import TRAINED

PARAMETERS = (
    "a cat, it's\nred\nNegative prompt: dog\nSteps: 7, Sampler: Euler a, Schedule type: Karras, CFG scale: 2.5,"
    " Seed: 9, Size: 8x8, Model: some model, Clip skip: 2, Version: v1.10.1"
)
RECORD = {"prompt": "cat", "seed": 3, "steps": 4, "system": "0123456789ab", "sfumato": "0.1.0", "model": "runs/mine"}


def foreign(path: Path, **texts: str) -> Path:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("L", (4, 4)).save(path, pnginfo=info)
    return path


def drawn(tmp_path: Path, format: str = "png", keep: Any = "full", **more: Any) -> Path:
    return media.Image(1).write(torch.zeros(1, 4, 4), RECORD | more, tmp_path / "drawn", format, keep)


def test_a_picture_of_another_tool_says_what_it_is_and_what_can_be_repeated(sfumato: Sfumato, tmp_path: Path) -> None:
    result = sfumato("inspect", foreign(tmp_path / "a.png", parameters=PARAMETERS))
    facts = [tuple(part.strip() for part in line.partition("  ")[::2]) for line in result.out.splitlines()]
    assert result.code == 0 and facts[0] == ("drawn by", "A1111") and ("prompt", r"a cat, it's\nred") in facts
    assert ("sampler", "Euler a, Karras") in facts and ("also", "Clip skip 2, Version v1.10.1") in facts
    assert [value for name, value in facts if name == "not here"][-1] == "clip skip 2"
    (command,) = (value for name, value in facts if name == "here")
    assert command.startswith("sfumato generate --model 'some model.safetensors' --seed 9 --steps 7")


def test_the_command_for_a_picture_of_another_tool_draws(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:
    """All but the model, which the user has to have."""
    path = foreign(tmp_path / "a.png", parameters=PARAMETERS.replace("a cat, it's\nred", "cat"))
    facts = json.loads(sfumato("inspect", path, "--json").out)
    words = shlex.split(facts["here"].replace("'some model.safetensors'", shlex.quote(str(run))))
    result = sfumato(*words[1:])
    assert result.code == 0, result.err
    again = json.loads(sfumato("inspect", result.out.strip(), "--json").out)
    assert (again["seed"], again["steps"], again["guidance"], again["negative"]) == (9, 7, 2.5, "dog")
    assert (again["sampler"]["kind"], again["spacing"]["kind"]) == ("euler-ancestral", "karras")


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_a_picture_of_ours_as_json_is_its_record_with_the_command(
    format: str, sfumato: Sfumato, tmp_path: Path
) -> None:
    facts = json.loads(
        sfumato("inspect", drawn(tmp_path, format, guide="one in Python", odd=float("inf")), "--json").out
    )
    assert {name: facts[name] for name in RECORD} == RECORD and facts["odd"] == "Infinity"
    assert facts["again"] == "sfumato generate --model runs/mine --seed 3 --steps 4 cat"
    assert len(facts["differs"]) == 1 and "its guide was given in Python" in facts["differs"][0]


def test_a_system_as_json(sfumato: Sfumato, run: Path) -> None:
    facts = json.loads(sfumato("inspect", run, "--json").out)
    assert facts["system"] == str(run / "system") and facts["network"]["kind"] == "unet"


def test_a_picture_with_the_mark_alone_says_what_it_has(sfumato: Sfumato, tmp_path: Path) -> None:
    result = sfumato("inspect", drawn(tmp_path, keep="source"))
    assert result.code == 0 and TRAINED in result.out and "none is left" in result.out


def test_parameters_of_ours_are_read_where_the_record_is_gone(sfumato: Sfumato, tmp_path: Path) -> None:
    path = drawn(tmp_path)
    with Image.open(path) as image:
        text = image.info["parameters"]
    result = sfumato("inspect", foreign(tmp_path / "b.png", parameters=text))
    assert "drawn by  Sfumato" in result.out and "not here" not in result.out
    assert "sfumato generate --model mine --seed 3 --steps 4 cat" in result.out


@pytest.mark.parametrize("keep", ["none", "foreign"])
def test_a_picture_without_any_record_says_so(keep: str, sfumato: Sfumato, tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.png", Comment="by hand") if keep == "foreign" else drawn(tmp_path, keep=keep)
    result = sfumato("inspect", path)
    assert result.code and not result.out and "carries no record of Sfumato's" in result.err


def test_a_damaged_record_of_another_tool_is_one_line(sfumato: Sfumato, tmp_path: Path) -> None:
    result = sfumato("inspect", foreign(tmp_path / "a.png", prompt="{3: "))
    assert result.code and result.err.count("\n") == 1 and "the graph of ComfyUI is not valid JSON" in result.err


def test_a_foreign_record_cannot_speak_to_the_terminal(sfumato: Sfumato, tmp_path: Path) -> None:
    text = f"a \x1b[31m\nred{PARAMETERS}, Odd\x1b[1m: \x1b[2m"
    result = sfumato("inspect", foreign(tmp_path / "a.png", parameters=text))
    assert result.code == 0 and "\x1b" not in result.out


# How `generate` writes ------------------------------------------------------------------------------------------------


def test_out_is_a_file_by_its_ending_and_of_several_samples_each_has_its_number(
    sfumato: Sfumato, run: Path, tmp_path: Path
) -> None:
    one, again = (sfumato("generate", "cat", "-m", run, "--out", "new/{x}.webp", "--seed", seed) for seed in (1, 2))
    assert (one.out, again.out) == ("new/{x}.webp\n", "new/{x}_2.webp\n"), one.err
    several = sfumato("generate", "cat", "-m", run, "--out", "y.jpeg", "-n", 2)
    assert several.out == "y-0.jpeg\ny-1.jpeg\n" and (tmp_path / "y-0.jpeg").read_bytes()[:3] == b"\xff\xd8\xff"
    assert sfumato("generate", "cat", "-m", run, "--out", "cat-.png").out == "cat-.png\n", "the very file"
    (tmp_path / "folder.png").mkdir()
    assert sfumato("generate", "cat", "-m", run, "--out", "folder.png").out == "folder.png/cat-0.png\n"


@pytest.mark.parametrize("keep", ["full", "source", "none"])
def test_the_format_and_the_metadata_are_those_that_are_asked_for(
    keep: str, sfumato: Sfumato, run: Path, tmp_path: Path
) -> None:
    result = sfumato("generate", "cat", "-m", run, "--format", "webp", "--metadata", keep)
    assert result.out == "out/cat-0.webp\n", result.err
    texts = read_texts(tmp_path / "out/cat-0.webp")
    assert [*sorted(texts)] == {"full": ["DigitalSourceType", "parameters", "sfumato"], "none": []}.get(
        keep, ["DigitalSourceType"]
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--out", "x.gif"), "pictures cannot be written as 'gif'; known: jpeg, jpg, png, webp"),
        (("--format", "wav"), "pictures cannot be written as 'wav'"),
        (("--out", "y.png", "--format", "webp"), "--out 'y.png' says the format, and --format another"),
        (("--out", "y.PNG"), "write the ending in small letters, as in y.png"),
        (("--out", "y.png", "--name", "a"), "names the file, and so does --name"),
        (("--metadata", "all"), "there is no metadata 'all'; known: full, none, source"),
        (("--metadata", "none", "--skip-existing"), "--skip-existing knows samples by their record"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_drawn(
    words: tuple[str, ...], text: str, sfumato: Sfumato, run: Path, tmp_path: Path
) -> None:
    result = sfumato("generate", "cat", "-m", run, *words)
    assert result.code == 2 and text in result.err and not result.out and not list(tmp_path.iterdir())
