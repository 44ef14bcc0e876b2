"""Pictures as PNG, JPEG and WebP: pixels, the record in each, what other tools read of it, and how it is left out."""

import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import JpegImagePlugin

from media.records import RECORDS
from sfumato.errors import FormatError, InputError
from sfumato.foreign.samplers import SAMPLER_NAMES, SPACING_NAMES, own_sampler, own_spacing
from sfumato.media import Audio, Embedding, Image
from sfumato.media.image.texts import read_texts
from sfumato.media.infotext import infotext
from sfumato.media.metadata import COMPOSITE, TRAINED, source_type
from sfumato.media.xmp import read_xmp, xmp_packet
from sfumato.parts import SAMPLERS, SPACINGS
from sfumato.system.drawing import MOST_PROMPT
from sfumato.system.samples import Samples, read_record

FORMATS = ("png", "jpg", "webp")
RECORD = {
    "prompt": 'a "red, round" cat,\nsteps: none\n  of it: 3',
    "negative": "blurred, Seed: 9,\nugly",
    "seed": 7,
    "steps": 12,
    "guidance": 4.5,
    "size": [24, 16],
    "sampler": {"kind": "dpm++", "order": 2, "eta": 0.0, "form": "midpoint"},
    "spacing": {"kind": "karras", "rho": 7.0},
    "model": "runs/of mine/a, b",
    "system": "0123456789ab",
    "sfumato": "0.1.0",
}


def picture(channels: int = 3, size: tuple[int, int] = (24, 16)) -> torch.Tensor:
    """Smooth colours, as bytes in [−1, 1]."""
    x, y = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="xy")
    values = torch.stack([x * 255 // size[0], y * 255 // size[1], 255 - x * 255 // size[0]])[:channels]
    return values.float() / 127.5 - 1


def written(tmp_path: Path, format: str, record: dict[str, Any] | None = None, keep: Any = "full") -> Path:
    return Image(3).write(picture(), RECORD if record is None else record, tmp_path / "a", format, keep)


# Pixels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("format", "most"), [("png", 0), ("webp", 0), ("jpg", 12)])
def test_png_and_webp_keep_the_very_pixels_and_jpeg_nearly(
    format: str, most: int, channels: int, tmp_path: Path
) -> None:
    medium, datum = Image(channels), picture(channels)
    path = medium.write(datum, RECORD, tmp_path / "a", format)
    stored = medium.decode(path.read_bytes(), path.name)
    assert path.name == f"a.{format}" and stored.shape == (channels, 16, 24)
    assert np.abs(stored.astype(int) - ((datum.numpy() + 1) * 127.5).round().astype(int)).max() <= most


def test_a_jpeg_has_its_colours_in_full_resolution_and_quality_95(tmp_path: Path) -> None:
    with Pillow.open(written(tmp_path, "jpeg")) as image:
        found = image.quantization  # pyright: ignore[reportAttributeAccessIssue]
        assert image.format == "JPEG" and JpegImagePlugin.get_sampling(image) == 0
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(buffer, "JPEG", quality=95)
    with Pillow.open(buffer) as image:
        assert image.quantization == found  # pyright: ignore[reportAttributeAccessIssue]


def test_jpeg_is_jpg_by_another_ending_and_an_unknown_format_is_refused(tmp_path: Path) -> None:
    short, long = written(tmp_path, "jpg"), written(tmp_path, "jpeg")
    assert long.name == "a.jpeg" and long.read_bytes() == short.read_bytes()
    with pytest.raises(InputError, match="pictures cannot be written as 'gif'; known: jpeg, jpg, png, webp"):
        written(tmp_path, "gif")


def test_a_webp_of_more_pixels_than_the_format_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a WebP has at most 16,383 pixels a side, not 16,384: write a PNG"):
        Image(1).write(torch.zeros(1, 1, 16384), {}, tmp_path / "a", "webp")


@pytest.mark.parametrize("format", FORMATS)
def test_no_file_is_written_over_another_and_the_same_one_not_twice(format: str, tmp_path: Path) -> None:
    first, again, other = (written(tmp_path, format, {"seed": seed}) for seed in (1, 1, 2))
    assert (first.name, again.name, other.name) == (f"a.{format}", f"a.{format}", f"a_2.{format}")


# The record -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("record", [*RECORDS, {"prompt": "]]> <!-- & \x7f \ufffe \x00"}], ids=lambda r: str(r)[:30])
def test_every_format_gives_back_its_record(record: dict[str, Any], format: str, tmp_path: Path) -> None:
    assert read_record(written(tmp_path, format, record)) == record


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("sign", ["a", "猫", "😀"])
def test_a_record_of_any_length_is_kept(sign: str, format: str, tmp_path: Path) -> None:
    """A segment of a JPEG holds 64 kB: the record goes on in others, and parameters that do not fit are left out."""
    record = RECORD | {"prompt": sign * MOST_PROMPT, "negative": sign * MOST_PROMPT}
    path = written(tmp_path, format, record)
    assert read_record(path) == record
    assert ("parameters" in read_texts(path)) == (format != "jpg")


def test_a_long_record_with_a_part_lost_is_no_record(tmp_path: Path) -> None:
    path = written(tmp_path, "jpg", RECORD | {"prompt": "a" * MOST_PROMPT})
    data = path.read_bytes()
    for lost in (re.sub(rb"aaaa", b"aaab", data, count=1), data.replace(b"xmp/extension/\0", b"xmp/extension/ ", 1)):
        path.write_bytes(lost)
        with pytest.raises(FormatError, match="carries no record of Sfumato's"):
            read_record(path)


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_that_was_encoded_anew_says_that_its_record_is_gone(format: str, tmp_path: Path) -> None:
    path = written(tmp_path, format)
    with Pillow.open(path) as image:
        image.load()
        image.info.clear()
        image.convert("RGB").save(tmp_path / f"b.{format}")
    with pytest.raises(
        FormatError, match="carries no record of Sfumato's: it was drawn by something else, or was edit"
    ):
        read_record(tmp_path / f"b.{format}")


# What other tools read ------------------------------------------------------------------------------------------------


def parsed(text: str) -> dict[str, str]:
    """`parameters` as tools read them: the last line is settings, and "Negative prompt:" begins the negative one."""
    *lines, last = text.strip().split("\n")
    prompt, _, negative = "\n".join(line.strip() for line in lines).partition("\nNegative prompt: ")
    found = {"prompt": prompt, "negative": negative}
    while last:
        name, _, last = last.partition(": ")
        if last.startswith('"'):
            value, end = json.JSONDecoder().raw_decode(last)
            last = last[end:].removeprefix(", ")
        else:
            value, _, last = last.partition(", ")
        found[name] = value
    return found


def user_comment(path: Path) -> str:
    """The comment in EXIF, by the bytes: the block is big-endian, and so is its UTF-16."""
    with Pillow.open(path) as image:
        exif = image.info["exif"].removeprefix(b"Exif\0\0")
    assert exif[:4] == b"MM\0\x2a"
    place = exif.index(b"UNICODE\0")
    (size,) = struct.unpack(">I", exif[exif.index(b"\x92\x86\0\x07") + 4 :][:4])  # of the type UNDEFINED
    return exif[place + 8 : place + size].decode("utf-16-be")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("prompt", [RECORD["prompt"], "a cat", "猫, 😀 \\ ü", "ends with: a, b: c"])
def test_parameters_are_read_by_tools_of_the_format(prompt: str, format: str, tmp_path: Path) -> None:
    path = written(tmp_path, format, RECORD | {"prompt": prompt})
    if format == "png":
        with Pillow.open(path) as image:
            text = image.info["parameters"]
    else:
        text = user_comment(path)
    assert text == read_texts(path)["parameters"]
    assert parsed(text) == {
        "prompt": "\n".join(line.strip() for line in prompt.split("\n")),
        "negative": RECORD["negative"],
        **{"Steps": "12", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "4.5", "Seed": "7"},
        **{"Size": "24x16", "Model hash": "0123456789ab", "Model": "a, b", "Version": "Sfumato 0.1.0"},
    }


@pytest.mark.parametrize("method", [m for m in SAMPLER_NAMES if m.a1111], ids=lambda m: m.a1111[0])
def test_samplers_have_their_names_there_and_the_names_mean_them(method: Any) -> None:
    name = parsed(infotext({"sampler": SAMPLERS.dump(SAMPLERS.parse(method.here)), "seed": 1}))["Sampler"]
    assert name == method.a1111[0] and own_sampler(name) == (method.here, None)


@pytest.mark.parametrize("method", [m for m in SPACING_NAMES if m.a1111], ids=lambda m: m.a1111[0])
def test_spacings_have_their_names_there_and_the_names_mean_them(method: Any) -> None:
    name = parsed(infotext({"spacing": SPACINGS.dump(SPACINGS.parse(method.here)), "seed": 1}))["Schedule type"]
    assert name == method.a1111[0] and own_spacing(name) == method.here


@pytest.mark.parametrize("here", ["dpm++,order=3", "ddim,eta=0.5", "ddpm", "euler,churn=40", "lms,order=2"])
def test_a_sampler_without_a_name_there_is_called_by_none_of_theirs(here: str) -> None:
    sampler = SAMPLERS.dump(SAMPLERS.parse(here))
    assert infotext({"sampler": sampler}) == f"Sampler: {sampler['kind']}"


def test_a_cascade_says_how_its_last_stage_drew() -> None:
    stages = [{"steps": 4, "size": [16, 16]}, {"steps": 9, "size": [64, 64], "guidance": 3.0, "negative": "y"}]
    assert parsed(infotext({"prompt": "x", "seed": 3, "stages": stages})) == {
        **{"prompt": "x", "negative": "y", "Steps": "9", "CFG scale": "3", "Seed": "3", "Size": "64x64"}
    }
    assert infotext({}) == infotext({"stages": 3}) == ""


# The mark -------------------------------------------------------------------------------------------------------------

EDIT = {"condition": {"kind": "masked-image", "image": {"path": "a.png"}, "mask": {"path": "b.png"}}}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("more", "source"), [({}, TRAINED), (EDIT, COMPOSITE), ({"stages": [EDIT, {}]}, COMPOSITE)])
def test_the_mark_says_that_a_model_made_it(more: Any, source: str, format: str, tmp_path: Path) -> None:
    path = written(tmp_path, format, RECORD | more)
    with Pillow.open(path) as image:
        packet = image.info["xmp"]
    text = packet if isinstance(packet, str) else packet.decode()
    assert f"<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>" in text
    assert text.startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert read_texts(path)["DigitalSourceType"] == source == source_type(RECORD | more)


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_can_be_left_out(format: str, tmp_path: Path) -> None:
    assert read_texts(written(tmp_path, format, keep="source")) == {"DigitalSourceType": TRAINED}
    bare = written(tmp_path, format, keep="none")
    assert read_texts(bare) == {}
    with Pillow.open(bare) as image:
        assert set(image.info) <= {
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "loop",
            "background",
            "timestamp",
        }


@pytest.mark.parametrize(("medium", "format"), [(Audio(8000), "wav"), (Audio(8000), "flac"), (Embedding(4), None)])
def test_metadata_means_the_same_for_other_media(medium: Any, format: str | None, tmp_path: Path) -> None:
    if format == "flac":
        pytest.importorskip("soundfile")
    datum = torch.zeros(4) if isinstance(medium, Embedding) else torch.zeros(1, 4)
    full, source, none = (
        medium.write(datum, RECORD, tmp_path / keep, format, keep).read_bytes() for keep in ("full", "source", "none")
    )
    assert [TRAINED.encode() in data for data in (full, source, none)] == [True, True, False]
    assert [b"0123456789ab" in data for data in (full, source, none)] == [True, False, False]
    assert len(none) < len(source) < len(full)


def test_an_unknown_metadata_is_refused(tmp_path: Path) -> None:
    drawn = Samples(picture()[None], Image(3), (RECORD,))
    with pytest.raises(InputError, match="there is no metadata 'ful'; did you mean 'full'"):
        drawn.save(tmp_path, metadata="ful")  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())


# Hostile files --------------------------------------------------------------------------------------------------------

ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
SOURCE = "Iptc4xmpExt:DigitalSourceType"


def test_packets_of_others_are_read_in_their_forms() -> None:
    own = xmp_packet({SOURCE: TRAINED})
    assert read_xmp(own) == read_xmp(own + b"\0" * 9) == {SOURCE: TRAINED}
    space = (
        'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    )
    for form in (
        f'<r:RDF {space}><r:Description i:DigitalSourceType="{TRAINED}"/></r:RDF>',
        f'<r:RDF {space}><r:Description><i:DigitalSourceType r:resource="{TRAINED}"/></r:Description></r:RDF>',
    ):
        assert read_xmp(form.encode()) == {SOURCE: TRAINED}


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\xff\xfe",
        b"<x",
        xmp_packet({SOURCE: TRAINED}).replace(b"<x:xmpmeta", ENTITIES.encode() + b"<x:xmpmeta"),
        b"<a>" * 9_000,
        b"<a>" * 10**6,
        b"\0" * 100,
    ],
    ids=["nothing", "bytes", "cut", "entities", "deep", "very deep", "zeros"],
)
def test_a_damaged_or_hostile_packet_says_nothing(packet: bytes) -> None:
    assert read_xmp(packet) == {}


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_picture_is_a_typed_error_or_another_record(format: str, tmp_path: Path) -> None:
    path = written(tmp_path, format)
    data, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for place in random.integers(0, len(data), 4):
            broken[place] ^= int(random.integers(1, 256))
        path.write_bytes(bytes(broken[: random.integers(1, len(data) + 1)]))
        try:
            assert isinstance(read_record(path), dict)
        except FormatError as error:
            assert "\n" not in str(error)
