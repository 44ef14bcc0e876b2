"""What was drawn, as pictures and as files that say how to draw them again."""

import base64
import io
import json
import os
import random
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

import sfumato
from sfumato import media
from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.errors import FormatError, InputError, NonFiniteError, StorageError
from sfumato.media.image import png, sheet, to_image
from sfumato.nn.image.unet import UNet
from sfumato.parts import SAMPLERS, SPACINGS
from sfumato.system import System
from sfumato.system.drawing import MOST_PROMPT
from sfumato.system.samples import Samples, read_record
from sfumato.system.settings import Settings


def ramp(n: int, channels: int = 1, height: int = 4, width: int = 6) -> Tensor:
    """n pictures, each value in [−1, 1] another."""
    return torch.linspace(-1, 1, n * channels * height * width).reshape(n, channels, height, width)


def samples(*prompts: Any, channels: int = 1) -> Samples:
    """A sample a prompt, with seeds 0, 1, …"""
    records = tuple({"prompt": prompt, "seed": seed} for seed, prompt in enumerate(prompts))
    return Samples(ramp(len(prompts), channels), media.Image(channels), records)


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pictures_keep_their_pixels(channels: int, mode: str) -> None:
    drawn = samples("a", "b", channels=channels)
    images = drawn.images()
    assert len(drawn) == len(images) == 2
    for image, picture in zip(images, drawn.data, strict=True):
        assert image.mode == mode and image.size == (6, 4)
        values = torch.from_numpy(np.array(image)).reshape(4, 6, channels).permute(2, 0, 1) / 127.5 - 1
        assert (values - picture).abs().max() <= 0.5 / 127.5 + 1e-6


def test_black_white_and_what_lies_beyond() -> None:
    picture = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 5)
    assert np.asarray(to_image(picture)).tolist() == [[0, 0, 128, 255, 255]]
    assert np.asarray(to_image(picture.to(torch.bfloat16))).tolist() == [[0, 0, 128, 255, 255]]


def test_a_picture_of_no_numbers_is_none(tmp_path: Path) -> None:
    drawn = Samples(torch.full((1, 1, 2, 2), torch.nan), media.Image(1), ({"seed": 0},))
    with pytest.raises(NonFiniteError, match="a picture holds NaN"):
        drawn.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_channels_are_no_picture() -> None:
    with pytest.raises(InputError, match="a picture has 1 or 3 channels, not 2$"):
        to_image(torch.zeros(2, 4, 4))


def test_a_grid_sets_pictures_row_by_row() -> None:
    drawn = samples(*"abcde")
    page = media.Image(1).preview(drawn.data, columns=2, scale=3, gap=1)
    width, height = 6 * 3 + 1, 4 * 3 + 1
    assert page.size == (2 * width + 1, 3 * height + 1) and page.mode == "L"
    for i, image in enumerate(drawn.images()):
        left, top = 1 + i % 2 * width, 1 + i // 2 * height
        cell = page.crop((left, top, left + 18, top + 12))
        assert np.array_equal(np.asarray(cell), np.asarray(image).repeat(3, 0).repeat(3, 1))
    gaps = np.asarray(page)
    assert (gaps[::height] == 255).all() and (gaps[:, ::width] == 255).all()
    assert (gaps[2 * height + 1 :, width + 1 :] == 255).all(), "the place that no picture takes is white"


@pytest.mark.parametrize(("n", "size"), [(1, (1, 1)), (4, (2, 2)), (5, (3, 2)), (12, (4, 3))])
def test_a_sheet_is_nearly_square_by_default(n: int, size: tuple[int, int]) -> None:
    page = media.Image(1).preview(ramp(n), scale=1, gap=0)
    assert page.size == (6 * size[0], 4 * size[1])


def test_small_pictures_are_enlarged_and_large_ones_are_not() -> None:
    assert media.Image(1).preview(ramp(1), gap=0).size == (60, 40)
    assert media.Image(3).preview(torch.zeros(1, 3, 100, 80), gap=0).size == (80, 100)


@pytest.mark.parametrize(
    "asked",
    [
        {"columns": -1},
        {"columns": 1.5},
        {"columns": "2"},
        {"columns": 10**9},
        {"scale": 0.5},
        {"scale": -1},
        {"scale": 10**6},
        {"gap": -5},
        {"gap": 10**6},
    ],
    ids=str,
)
def test_a_sheet_that_cannot_be_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(
        InputError, match="^(columns|scale|gap) must be a whole number|^a sheet holds at most"
    ) as caught:
        media.Image(1).preview(ramp(2), **asked)
    assert len(str(caught.value)) < 200


def test_a_sheet_of_nothing_says_so() -> None:
    with pytest.raises(InputError, match="a sheet needs at least one picture$"):
        sheet([])


# Files ----------------------------------------------------------------------------------------------------------------


def test_files_are_named_by_prompt_and_seed(tmp_path: Path) -> None:
    paths = samples("a cat, in a hat!", "Ünï 1", None, 7).save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["a-cat-in-a-hat-0.png", "Ünï-1-1.png", "2.png", "7-3.png"]
    assert all(path.parent == tmp_path / "new" / "folder" and path.is_file() for path in paths)
    assert sorted(tmp_path.rglob("*.*")) == sorted(paths), "and nothing else is written"


ODD = [
    "../x",
    "/etc/passwd",
    "a/b",
    "..",
    ".",
    "",
    "\0",
    "a\nb",
    "C:\\x",
    "😀",
    "x" * 500,
    "あ" * 500,
    "-rf",
    "~",
    "%s",
]


def test_an_odd_prompt_stays_inside_the_folder(tmp_path: Path) -> None:
    paths = samples(*ODD).save(tmp_path / "out")
    assert len(set(paths)) == len(ODD)
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(paths) and {path.parent for path in found} == {tmp_path / "out"}
    assert not any(path.name.startswith((".", "-")) for path in paths)
    assert [read_record(path)["prompt"] for path in paths] == ODD


@pytest.mark.parametrize(
    "prompt", ["word " * 40, "a" * 98 + " cat", "a" * 300], ids=["cut amid a word", "after", "one"]
)
def test_a_seed_stands_apart_from_a_long_prompt(prompt: str, tmp_path: Path) -> None:
    (path,) = Samples(torch.zeros(1, 1, 4, 4), media.Image(1), ({"prompt": prompt, "seed": 7},)).save(tmp_path)
    assert path.stem.rpartition("-")[2] == "7" and "--" not in path.stem and len(path.stem) <= 102


def test_a_long_prompt_of_wide_letters_has_a_name(tmp_path: Path) -> None:
    (path,) = Samples(ramp(1), media.Image(1), ({"prompt": "\U00020000" * 90, "seed": 2**63 - 1},)).save(tmp_path)
    assert read_record(path)["seed"] == 2**63 - 1


def test_another_picture_of_the_name_stays(tmp_path: Path) -> None:
    """One that is the same is not written twice."""
    drawn = Samples(ramp(3), media.Image(1), ({"prompt": "a", "seed": 1},) * 3)
    paths = drawn.save(tmp_path)
    assert [path.name for path in paths] == ["a-1.png", "a-1_2.png", "a-1_3.png"]
    assert drawn.save(tmp_path) == paths
    held = [np.asarray(Image.open(path)) for path in paths]
    assert all(np.array_equal(one, np.asarray(image)) for one, image in zip(held, drawn.images(), strict=True))


def test_what_is_in_the_way_of_a_picture_stays(tmp_path: Path) -> None:
    """A folder, a pipe, a link to nowhere, a file that may not be read: none is a picture of ours."""
    (tmp_path / "a-0.png").mkdir()
    os.mkfifo(tmp_path / "a-0_2.png")
    (tmp_path / "a-0_3.png").symlink_to("nowhere")
    held = sorted(tmp_path.iterdir())
    assert [path.name for path in samples("a").save(tmp_path)] == ["a-0_4.png"]
    assert sorted(tmp_path.iterdir()) == [*held, tmp_path / "a-0_4.png"]


def test_no_picture_is_lost_where_several_keep_theirs_at_once(tmp_path: Path) -> None:
    def keep(kind: int) -> list[Path]:
        pictures = Samples(
            torch.full((5, 1, 2, 2), kind / 4), media.Image(1), tuple({"prompt": "a", "seed": s} for s in range(5))
        )
        return pictures.save(tmp_path)

    with ThreadPoolExecutor(4) as threads:
        kept = [path for paths in threads.map(keep, range(4)) for path in paths]
    assert len(set(kept)) == 20 and sorted(kept) == sorted(tmp_path.iterdir())


def test_a_picture_that_comes_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may write between the look and the write."""
    (tmp_path / "a-0.png").write_text("another's")
    monkeypatch.setattr("sfumato.media.keep.os.path.lexists", lambda _: False)
    assert [path.name for path in samples("a").save(tmp_path)] == ["a-0_2.png"]
    assert (tmp_path / "a-0.png").read_text() == "another's"


@pytest.mark.parametrize("seed", ["../../up", "/etc/x", "a/b", ".", "\udc80"])
def test_an_odd_seed_stays_inside_the_folder(seed: str, tmp_path: Path) -> None:
    (path,) = Samples(ramp(1), media.Image(1), ({"seed": seed},)).save(tmp_path / "out")
    assert path.parent == tmp_path / "out" and list(tmp_path.rglob("*.png")) == [path]


def test_a_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StorageError, match=r"cannot write .*a-0\.png: .*; choose a folder that you may write to$"):
        samples("a").save(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_samples_say_how_many_there_are_and_of_what_shape() -> None:
    samples = Samples(ramp(2), media.Image(1), ({"seed": 0}, {"seed": 1}))
    assert repr(samples) == "Samples(2 pictures, [1, 4, 6])" and repr(samples[0]) == "Samples(1 picture, [1, 4, 6])"


def test_samples_and_records_must_be_as_many() -> None:
    with pytest.raises(InputError, match="each sample wants a record: 2 samples came with 1$"):
        Samples(ramp(2), media.Image(1), ({"prompt": "a"},))


def test_the_format_of_a_file_is_one_of_the_medium(tmp_path: Path) -> None:
    (path,) = samples("a").save(tmp_path, "png")
    assert path.suffix == ".png"
    with pytest.raises(InputError, match="pictures cannot be written as 'wav'; known: jpeg, jpg, png, webp"):
        samples("a").save(tmp_path, "wav")
    odd: Any = 3
    with pytest.raises(InputError, match="pictures cannot be written as 3; known: jpeg, jpg, png, webp"):
        samples("a").save(tmp_path, odd)


# Parts ----------------------------------------------------------------------------------------------------------------


def test_the_longest_prompts_are_read_back_from_every_file(tmp_path: Path) -> None:
    record = {"prompt": "🦔" * MOST_PROMPT, "negative": "🦔" * MOST_PROMPT, "seed": 1}
    for medium, shape in ((media.Image(1), (1, 4, 4)), (media.Audio(8000), (1, 80)), (media.Embedding(4), (4,))):
        (path,) = Samples(torch.zeros(1, *shape), medium, (record,)).save(tmp_path)
        assert read_record(path) == record
    with pytest.raises(InputError, match="a prompt has at most 65,536 characters, not 65,537: shorten it"):
        small().stream("x" * (MOST_PROMPT + 1))


def test_some_of_the_samples_keep_their_records() -> None:
    drawn = samples(*"abcde")
    for index, held in ((0, "a"), (-1, "e"), (slice(1, 3), "bc"), (slice(None, None, -2), "eca"), (slice(7, 9), "")):
        some = drawn[index]
        assert "".join(record["prompt"] for record in some.records) == held
        assert torch.equal(some.data, drawn.data[[record["seed"] for record in some.records]])
    assert [one.records[0]["prompt"] for one in drawn] == [*"abcde"]
    with pytest.raises(IndexError):
        _ = drawn[5]


def test_samples_are_joined_in_order() -> None:
    drawn = samples(*"abcde")
    joined = drawn[:2] + drawn[2] + drawn[3:]
    assert torch.equal(joined.data, drawn.data) and joined.records == drawn.records


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [samples("a"), samples("a", channels=3)],
        [samples("a"), Samples(torch.zeros(1, 1, 2, 2), media.Image(1), ({},))],
    ],
    ids=["none", "media", "shapes"],
)
def test_what_cannot_be_joined_is_refused(parts: list[Samples]) -> None:
    with pytest.raises(InputError, match="only samples of one medium and one shape can be joined"):
        Samples.concat(parts)


def test_samples_are_joined_to_samples_alone() -> None:
    odd: Any = 3
    with pytest.raises(InputError, match="only samples can be joined to samples, not 3$"):
        _ = samples("a") + odd


# In a notebook --------------------------------------------------------------------------------------------------------


def test_a_notebook_shows_each_picture_above_its_prompt_and_seed() -> None:
    shown = samples("a cat", None)._repr_html_()
    assert shown.count("<img") == 2 and "a cat · 0" in shown and ">1<" in shown
    (first, _) = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", shown)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(first)))), np.asarray(to_image(ramp(2)[0])))


def test_nothing_of_a_prompt_is_markup() -> None:
    shown = samples("<script>alert(1)</script>", '"><img src=x onerror=y>&amp;')._repr_html_()
    assert "<script" not in shown and "onerror" not in shown.replace("&quot;&gt;&lt;img src=x onerror", "")
    assert "&amp;amp;" in shown


def test_a_notebook_keeps_few_large_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.system.samples.MOST_SHOWN_NUMBERS", 50)
    drawn = Samples(ramp(3), media.Image(1), ({},) * 3)
    assert len(drawn._first()) == 2


def test_a_notebook_shows_so_many_and_says_how_many_more() -> None:
    drawn = Samples(torch.zeros(70, 1, 2, 2), media.Image(1), ({},) * 70)
    assert drawn._repr_html_().count("<img") == 64 and drawn._repr_html_().endswith("<p>… and 6 more</p>")
    assert Image.open(io.BytesIO(drawn._repr_png_())).size == drawn[:64].preview().size


# Records --------------------------------------------------------------------------------------------------------------


def small() -> System:
    torch.manual_seed(0)
    network = UNet(3, 3, width=8, multipliers=(1,), blocks=1, attention=(), scale_shift=True, vector=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    denoiser = Denoiser(network, Cosine(), X0Prediction())
    return System(Identity(media.Image(3)), Labels(("cat", "Hund ü")), denoiser, Settings((6, 4), steps=4)).to(
        "cpu", "float32"
    )


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"sampler": "ddpm,variance=large", "spacing": "quadratic,reach=0.8", "steps": 7},
        {"sampler": "ddim,eta=0.7", "guidance": 2.5, "size": (4, 10)},
    ],
    ids=str,
)
def test_the_record_in_a_file_repeats_the_picture(how: dict[str, Any], tmp_path: Path) -> None:
    folder = small().save(tmp_path / "system")
    system = sfumato.load(folder, "cpu", "float32")
    paths = system.generate(["cat", None, "Hund ü", 1], seeds=[3, 2**63 - 1], **how).save(tmp_path)
    assert len(paths) == 8
    for path in paths[1:5]:
        record = read_record(path)
        assert record["system"] == system.fingerprint() and record["sfumato"] == "0.1.0"
        assert record["precision"] == "float32"
        again = sfumato.load(folder, "cpu", record["precision"]).generate(
            record["prompt"],
            seeds=[record["seed"]],
            size=tuple(record["size"]),
            sampler=SAMPLERS.load(record["sampler"]),
            spacing=SPACINGS.load(record["spacing"]),
            steps=record["steps"],
            guidance=record["guidance"],
        )
        assert again.records[0] == record
        assert np.array_equal(np.asarray(again.images()[0]), np.asarray(Image.open(path)))


def test_any_record_survives_the_file(tmp_path: Path) -> None:
    record = {"prompt": 'ü "\\ \n [/b] 😀 \0', "n": [1, 2.5, None, True], "t": {"a": {}}}
    path = tmp_path / "a.png"
    path.write_bytes(png(Image.new("L", (3, 3)), record))
    assert read_record(path) == record


@pytest.mark.parametrize(
    ("prompt", "held"),
    [("a \udcff cat", "a \ufffd cat"), ("half \ud83d", "half \ufffd"), ("\ud83d\ude00", "😀")],
)
def test_a_record_of_broken_text_is_written_as_it_is_read(prompt: str, held: str, tmp_path: Path) -> None:
    (path,) = Samples(ramp(1), media.Image(1), ({"prompt": prompt, "guide": prompt},)).save(tmp_path)
    assert read_record(path) == {"prompt": held, "guide": held}


def image_bytes(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind, **options)
    return stream.getvalue()


def chunk(text: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("sfumato", text)
    return info


FOREIGN = {
    "another's PNG": (image_bytes("PNG"), "carries no record of Sfumato's: .* or was edited since$"),
    "a JPEG": (image_bytes("JPEG"), "carries no record of Sfumato's"),
    "a GIF": (image_bytes("GIF"), "cannot be read as a PNG, JPEG or WebP"),
    "a text": (b"hello", "cannot be read as a PNG"),
    "nothing": (b"", "cannot be read as a PNG"),
    "a PNG cut short": (image_bytes("PNG")[:40], "carries no record|cannot be read as a PNG"),
    "no JSON": (image_bytes("PNG", pnginfo=chunk("cat")), "the record in .* is not valid JSON"),
    "a list": (image_bytes("PNG", pnginfo=chunk("[1]")), "should hold a JSON object, and holds a list$"),
    "a deep list": (image_bytes("PNG", pnginfo=chunk("[" * 10**5)), "is not valid JSON"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_without_a_record_says_so(name: str, tmp_path: Path) -> None:
    data, text = FOREIGN[name]
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=text) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file"):
        read_record(tmp_path / "none.png")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A PNG that claims a gigapixel, and one whose text would unpack to a gigabyte."""
    import struct
    import zlib

    def block(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = b"\x89PNG\r\n\x1a\n" + block(b"IHDR", struct.pack(">IIBBBBB", 2**15, 2**15, 8, 2, 0, 0, 0))
    (tmp_path / "large.png").write_bytes(head + block(b"IDAT", zlib.compress(b"\0")) + block(b"IEND", b""))
    with pytest.raises(FormatError, match="cannot be read as a PNG, JPEG or WebP: .*decompression bomb"):
        read_record(tmp_path / "large.png")

    small = b"\x89PNG\r\n\x1a\n" + block(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    text = block(b"zTXt", b"sfumato\0\0" + zlib.compress(b" " * 2**26))
    (tmp_path / "text.png").write_bytes(small + text + block(b"IDAT", zlib.compress(b"\0")) + block(b"IEND", b""))
    with pytest.raises(FormatError, match="cannot be read as a PNG"):
        read_record(tmp_path / "text.png")


def test_a_text_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    """Pillow bounds packed text alone."""
    path = tmp_path / "a.png"
    path.write_bytes(image_bytes("PNG", pnginfo=chunk(json.dumps({"a": [{}] * 2**20}))))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="cannot be read as a PNG|carries no record"):
            read_record(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(FormatError, match="a device or pipe, and not a file"):
        read_record(tmp_path / "a.png")


def test_reading_a_record_decodes_no_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a small file could ask for half a gigabyte."""
    path = tmp_path / "a.png"
    path.write_bytes(png(Image.new("L", (4, 4)), {"seed": 1}))

    def fail(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    assert read_record(path) == {"seed": 1}


def scramble(path: Path, times: int) -> int:
    """Read a record `times` times, its file broken each time in another way; returns how often it could be read."""
    data, rng, read = png(Image.new("RGB", (8, 8)), {"prompt": "cat", "seed": 1}), random.Random(0), 0
    for _ in range(times):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at, way = rng.randrange(len(broken)), rng.random()
            if way < 0.6:
                broken[at] = rng.randrange(256)
            elif way < 0.8:
                del broken[at : at + rng.randint(1, 9)]
            else:
                broken[at:at] = rng.randbytes(4)
        path.unlink(missing_ok=True)  # writing over a file would wait for the disk
        path.write_bytes(broken)
        try:
            json.dumps(read_record(path))
            read += 1
        except FormatError:
            pass
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} on {bytes(broken)!r}") from error
    return read


@pytest.mark.parametrize("times", [2_000, pytest.param(100_000, marks=pytest.mark.release)])
def test_a_scrambled_file_is_read_or_refused(times: int, tmp_path: Path) -> None:
    assert 0 < scramble(tmp_path / "a.png", times) < times
