"""Sounds as files, as stored numbers and as pictures; other tools read what is written, and the other way round."""

import io
import math
import struct
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from media.records import RECORDS
from sfumato.errors import DataError, FormatError, InputError, NonFiniteError, ShapeError
from sfumato.media import Audio
from sfumato.media.audio import decode
from sfumato.media.audio.wav import wav
from sfumato.system.samples import Samples, read_record

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


def tone(hertz: float, rate: int, samples: int, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * math.pi * hertz * np.arange(samples) / rate)


def noise(samples: int, channels: int = 1) -> np.ndarray:
    """int16 [channels, samples], full scale among them."""
    found = np.random.default_rng(0).integers(-32768, 32768, (channels, samples), dtype=np.int16)
    found[:, : min(samples, 2)] = [-32768, 32767][: min(samples, 2)]
    return found


def encoded(sound: np.ndarray, rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    """A file of another tool's, from [n] or [n, channels]."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, format=format, subtype=subtype)
    return buffer.getvalue()


# Sizes ----------------------------------------------------------------------------------------------------------------


def test_sizes_are_samples_and_read_as_seconds() -> None:
    audio = Audio(22050, 2)
    assert audio.parse_size("4.5s") == (99225,) and audio.parse_size("99225") == (99225,)
    assert audio.size_text((99225,)) == "4.5 s" and audio.size_text((1,)) == "1 sample"
    assert audio.shape(audio.check_size([np.int64(7)])) == (2, 7)


@pytest.mark.parametrize("text", ["", "s", "4.5", "-1", "1m", "64x64", "1e9", "9" * 99, "٣s"])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a size reads SECONDSs or SAMPLES, as in 4.5s or 99225, not"):
        Audio().parse_size(text)


@pytest.mark.parametrize("size", [(0,), (2**26 + 1,), (1.5,), (True,), (4, 4), (), "4"])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(InputError, match="size must be"):
        Audio().check_size(size)


@pytest.mark.parametrize("wrong", [{"rate": 999}, {"rate": 1e4}, {"channels": 0}, {"channels": 9}])
def test_a_medium_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="(rate|channels) must be a whole number from"):
        Audio(**wrong)


# Writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize(("samples", "channels"), [(1, 1), (2, 2), (4097, 1), (999, 3)])
def test_what_is_stored_comes_back_from_a_file(format: str, samples: int, channels: int, tmp_path: Path) -> None:
    """By this library, and by another one."""
    stored, audio = noise(samples, channels), Audio(8000, channels)
    path = audio.write(audio.floats(torch.from_numpy(stored)), {"seed": 1}, tmp_path / "a", format)
    assert path == tmp_path / f"a.{format}"
    np.testing.assert_array_equal(audio.decode(path.read_bytes(), "a"), stored)
    found, rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert rate == 8000 and soundfile.info(path).subtype == "PCM_16"
    np.testing.assert_array_equal(found.T, stored)


def test_the_standard_library_reads_a_wav(tmp_path: Path) -> None:
    stored, audio = noise(101, 2), Audio(44100, 2)
    path = audio.write(audio.floats(torch.from_numpy(stored)), RECORDS[3], tmp_path / "a")
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth(), file.getnframes()) == (2, 44100, 2, 101)
        np.testing.assert_array_equal(np.frombuffer(file.readframes(101), "<i2").reshape(101, 2).T, stored)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_samples_are_rounded_to_the_nearest_and_clipped(dtype: torch.dtype, tmp_path: Path) -> None:
    sound = torch.tensor([[-9.0, -1.0, -0.5, 0.0, 0.5, 1.0, math.inf]], dtype=dtype)
    path = Audio().write(sound, {}, tmp_path / "a")
    found, _ = soundfile.read(path, dtype="int16")
    assert found.tolist() == [-32768, -32768, -16384, 0, 16384, 32767, 32767]
    halves = torch.tensor([[0.5, 1.5, 1.51, -0.49]]) / 32768
    found, _ = soundfile.read(Audio().write(halves, {}, tmp_path / "b"), dtype="int16")
    assert found.tolist() == [0, 2, 2, 0], "half to even"


def test_a_sound_of_no_numbers_is_none(tmp_path: Path) -> None:
    sound = torch.tensor([[0.0, math.nan]])
    for attempt in (lambda: Audio().write(sound, {}, tmp_path / "a"), lambda: Audio().preview(sound[None])):
        with pytest.raises(NonFiniteError, match="a sound holds NaN"):
            attempt()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(2, 4), (4,), (1, 0), (1, 1, 4)], ids=str)
def test_a_tensor_of_another_shape_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"a sound is \[1, samples\], not \["):
        Audio().write(torch.zeros(shape), {}, tmp_path / "a")


# Records --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_record_comes_back_whole(format: str, record: dict[str, Any], tmp_path: Path) -> None:
    path = Audio().write(torch.zeros(1, 3), record, tmp_path / "a", format)
    assert Audio.read_record(path) == record == read_record(path)
    assert soundfile.info(path).frames == 3


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_half_a_character_is_written_as_it_is_read(format: str, tmp_path: Path) -> None:
    path = Audio().write(torch.zeros(1, 3), {"prompt": "half \ud83d"}, tmp_path / "a", format)
    assert read_record(path) == {"prompt": "half \ufffd"}


def test_samples_are_saved_as_sounds_with_their_records(tmp_path: Path) -> None:
    drawn = Samples(torch.zeros(2, 1, 5), Audio(8000), ({"prompt": "a bell", "seed": 3}, {"seed": 4}))
    paths = drawn.save(tmp_path)
    assert [path.name for path in paths] == ["a-bell-3.wav", "4.wav"]
    assert [read_record(path) for path in paths] == list(drawn.records)
    assert [path.suffix for path in drawn.save(tmp_path, "flac")] == [".flac", ".flac"]
    with pytest.raises(InputError, match="sounds cannot be written as 'png'; known: flac, wav"):
        drawn.save(tmp_path, "png")
    with pytest.raises(InputError, match="sounds are no pictures: preview"):
        drawn.images()


def test_a_record_behind_the_samples_is_found(tmp_path: Path) -> None:
    """Where an editor has moved it, with a chunk of its own before it."""
    data = wav(noise(5), 8000, {"seed": 1})
    fmt, comment, samples = data[12:36], data[36 : data.index(b"data")], data[data.index(b"data") :]
    moved = b"WAVE" + fmt + b"cue \3\0\0\0abc\0" + samples + comment
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(moved)) + moved)
    assert read_record(path) == {"seed": 1} and soundfile.info(path).frames == 5


def foreign() -> dict[str, tuple[bytes, str]]:
    none = "carries no record of Sfumato's: it was drawn by something else, or was edited since$"
    ours = wav(noise(5), 8000, {"seed": 1})
    return {
        "another's WAV": (encoded(tone(440, 8000, 50), 8000), none),
        "another's FLAC": (encoded(tone(440, 8000, 50), 8000, "FLAC"), none),
        "another's comment": (ours.replace(b"sfumato {", b"sfumata {"), none),
        "no JSON": (ours.replace(b'{"seed"', b'{,seed"'), "the record in .* is not valid JSON"),
        "cut short": (ours[:60], none + "|is not valid JSON"),
        "a size beyond the end": (ours.replace(b"LIST", b"LIST\xff\xff\xff\x7f"[:4]).replace(b"ICMT", b"ICMX"), none),
        "an AVI": (b"RIFF\4\0\0\0AVI ", "cannot be read as a WAV: it is something else, or damaged$"),
        "an OGG": (encoded(tone(440, 8000, 50), 8000, "OGG"), "cannot be read as a WAV or FLAC: it is something else"),
        "a text": (b"hello", "cannot be read as a WAV or FLAC"),
        "nothing": (b"", "cannot be read as a WAV or FLAC"),
        "a FLAC without an end": (b"fLaC" + b"\1\0\0\0" * 5, "cannot be read as a FLAC: it ends within its header$"),
        "a FLAC of blocks": (b"fLaC" + b"\1\0\0\0" * 2000, none),
        "comments without number": (b"fLaC" + bytes([0x84, 0, 0, 8]) + b"\0\0\0\0" + b"\xff\xff\xff\xff", none),
    }


@pytest.mark.parametrize("name", foreign())
def test_a_file_without_a_record_says_so(name: str, tmp_path: Path) -> None:
    data, text = foreign()[name]
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=text) as caught:
        read_record(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_a_scrambled_file_is_read_or_refused(format: str, tmp_path: Path) -> None:
    data = Audio(8000).write(torch.zeros(1, 64), {"prompt": "cat", "seed": 1}, tmp_path / "a", format).read_bytes()
    rng, path, read = np.random.default_rng(0), tmp_path / f"b.{format}", 0
    for _ in range(120):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(broken), 200), rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        path.unlink(missing_ok=True)
        path.write_bytes(broken)
        try:
            read_record(path)
            read += 1
        except FormatError:
            pass
        try:
            Audio(8000).decode(bytes(broken), "b")
        except DataError:
            pass
    assert 0 < read < 120


# Decoding -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "subtype", "near"),
    [
        ("WAV", "PCM_16", 0),
        ("WAV", "PCM_24", 1),
        ("WAV", "PCM_U8", 256),
        ("WAV", "FLOAT", 1),
        ("WAVEX", "PCM_16", 0),
        ("RF64", "PCM_16", 0),
        ("FLAC", "PCM_16", 0),
        ("OGG", "VORBIS", 1500),
    ],
)
def test_files_of_other_tools_are_decoded(format: str, subtype: str, near: int) -> None:
    sound = decode.to_int16(tone(440, 8000, 4000))
    source = sound if subtype == "PCM_16" else sound / 32768
    found = Audio(8000).decode(encoded(source, 8000, format, subtype), "a")
    assert found.shape == (1, 4000) and found.dtype == np.int16
    assert np.abs(found[0].astype(int) - sound).max() <= near


def test_another_rate_is_resampled() -> None:
    """A tone is the same tone: away from the ends, where the filter sees silence."""
    found = Audio(22050).decode(encoded(tone(1000, 44100, 44100), 44100, subtype="FLOAT"), "a")
    assert found.shape == (1, 22050)
    wanted = tone(1000, 22050, 22050) * 32768
    assert np.abs(found[0] - wanted)[500:-500].max() <= 1.5
    high = Audio(22050).decode(encoded(tone(15_000, 44100, 44100), 44100, subtype="FLOAT"), "a")
    assert np.abs(high)[:, 500:-500].max() <= 1, "what the rate cannot hold is taken away, and not folded"


def test_channels_are_mixed_by_their_mean() -> None:
    left, right = noise(100), noise(100)[:, ::-1]
    data = encoded(np.concatenate([left, right]).T, 8000)
    mean = np.rint((left.astype(int) + right) / 2)
    np.testing.assert_array_equal(Audio(8000).decode(data, "a"), mean)
    np.testing.assert_array_equal(Audio(8000, 3).decode(data, "a"), np.repeat(mean, 3, 0))
    np.testing.assert_array_equal(Audio(8000, 2).decode(data, "a"), np.concatenate([left, right]))


@pytest.mark.parametrize("rate", [8000, 11025])
def test_a_size_cuts_or_pads_with_silence(rate: int) -> None:
    data = encoded(tone(440, rate, 30_000), rate)
    whole = Audio(8000).decode(data, "a")
    for size in (1, 777, whole.shape[1], whole.shape[1] + 5):
        found = Audio(8000).decode(data, "a", (size,))
        assert found.shape == (1, size)
        shared = min(size, whole.shape[1])
        assert np.abs(found[:, :shared].astype(int) - whole[:, :shared]).max() <= 1, "as if the whole had been decoded"
        assert not found[:, shared:].any()


def test_a_wav_of_unknown_length_is_read_to_its_end() -> None:
    """As a program writes it into a pipe."""
    sound = noise(9)
    data = bytearray(encoded(sound[0], 8000))
    for size in (0xFFFFFFFF, 0x7FFFF000):
        data[40:44] = size.to_bytes(4, "little")
        np.testing.assert_array_equal(Audio(8000).decode(bytes(data), "a"), sound)


def header(rate: int = 8000, channels: int = 1, frames: int = 4) -> bytes:
    """The header of a WAV that names so much, and the start of its samples."""
    size = frames * channels * 2
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2 % 2**16, 16)
    start = b"RIFF" + struct.pack("<I", (36 + size) % 2**32) + b"WAVEfmt \x10\0\0\0"
    return start + fmt + b"data" + struct.pack("<I", size % 2**32) + bytes(8)


BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "expected a sound, came an empty file"),
    "a text": (b"hello, hello", r"expected a sound \(WAV, FLAC, OGG\), came something else"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "came a pointer of Git LFS",
    ),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(64), "came something else"),
    "an AVI": (b"RIFF\4\0\0\0AVI " + bytes(64), "expected a whole sound, came damaged or hostile data"),
    "no samples": (encoded(np.zeros(0), 8000), "came one without samples"),
    "a cut FLAC": (encoded(noise(9000)[0], 8000, "FLAC")[:9000], "expected a whole sound, came"),
    "a cut WAV": (encoded(noise(9)[0], 8000)[:-3], "expected a whole sound, came one without its last 3 bytes"),
    "not a number": (encoded(np.array([0, np.nan]), 8000, subtype="FLOAT"), "expected finite samples"),
    "an infinity": (encoded(np.array([0, np.inf]), 8000, subtype="FLOAT"), "expected finite samples"),
    "no rate": (header(rate=1), "1,000 to 768,000 Hz, came 1 and 1 Hz"),
    "a rate beyond all": (header(rate=2**31 - 1), "expected"),
    "many channels": (header(channels=1000), "expected"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_sound_is_an_error_that_names_it(name: str) -> None:
    data, text = BROKEN[name]
    with pytest.raises(DataError, match=text) as caught:
        Audio(8000).decode(data, f"{name}.wav")
    message = str(caught.value)
    assert (
        message.startswith(f"{name}.wav: ") and message.endswith("; replace it or take it out") and "\n" not in message
    )


def test_a_sound_that_is_too_long_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(np.zeros((600, 2)), 8000)
    monkeypatch.setattr(decode, "MOST_DECODED", 1000)
    with pytest.raises(DataError, match="expected at most 1,000 samples, came 1,200: cut it into parts"):
        Audio(8000).decode(data, "a")


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And a WAV can be written still."""
    data = encoded(tone(440, 8000, 50), 8000)
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(InputError, match=r"^a.wav: expected soxr, .*: pip install sfumato\[audio\]$"):
        Audio(11025).decode(data, "a.wav")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(InputError, match=r"^a.wav: expected soundfile, .*: pip install sfumato\[audio\]$"):
        Audio(8000).decode(data, "a.wav")
    with pytest.raises(InputError, match=r"^a FLAC file: expected soundfile, .*: pip install sfumato\[audio\]$"):
        Audio(8000).write(torch.zeros(1, 4), {}, tmp_path / "a", "flac")
    assert read_record(Audio(8000).write(torch.zeros(1, 4), {"seed": 1}, tmp_path / "a")) == {"seed": 1}


# Pictures -------------------------------------------------------------------------------------------------------------


def sounds(n: int, samples: int, channels: int = 1) -> Tensor:
    time = torch.arange(samples) / 22050
    return torch.stack([(torch.sin(2 * math.pi * 200 * (i + 1) * time) / 2).expand(channels, -1) for i in range(n)])


@pytest.mark.parametrize(("n", "samples", "channels"), [(1, 1, 1), (1, 2, 2), (3, 999, 1), (5, 4001, 2)])
def test_every_sound_has_a_waveform_and_a_spectrogram(n: int, samples: int, channels: int) -> None:
    page = Audio(22050, channels).preview(sounds(n, samples, channels))
    columns = math.ceil(math.sqrt(n))
    assert page.mode == "RGB" and page.width > columns * 400
    assert page.height > math.ceil(n / columns) * (128 + channels * 48)
    assert Audio(22050, channels).preview(sounds(n, samples, channels), columns=n).width > n * 400


def test_a_tone_is_a_bright_line_at_its_pitch_and_silence_is_dark() -> None:
    page = np.asarray(Audio(22050).preview(torch.cat([sounds(1, 22050), torch.zeros(1, 1, 22050)]), columns=2)).sum(-1)
    rows = page.shape[0] - 18 - 128  # below the waveform, above the words
    tone_at, silent = page[rows : rows + 128, 200], page[rows : rows + 128, page.shape[1] // 2 + 200]
    place = 200 * 3 / 200 / (15 + 27 * math.log(11.025) / math.log(6.4))  # 200 Hz of 11,025, in mel
    assert abs((127 - int(tone_at.argmax())) / 127 - place) < 0.03
    assert tone_at.max() > 500 and silent.max() < 50


def test_a_picture_of_a_sound_is_the_same_in_every_thread_and_by_any_default() -> None:
    data = sounds(1, 3000)
    plain = Audio().preview(data).tobytes()
    with ThreadPoolExecutor(2) as threads:
        assert set(threads.map(lambda _: Audio().preview(data).tobytes(), range(2))) == {plain}
    torch.set_default_dtype(torch.float64)
    try:
        assert Audio().preview(data).tobytes() == plain
        with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
            assert Audio().preview(data).tobytes() == plain
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_notebook_plays_each_sound() -> None:
    drawn = Samples(sounds(2, 300), Audio(), ({"prompt": "<b>", "seed": 1}, {"seed": 2}))
    shown = drawn._repr_html_()
    assert shown.count("<audio controls") == 2 == shown.count("<img") and "data:audio/wav;base64,UklGR" in shown
    assert "&lt;b&gt; · 1" in shown and "<b>" not in shown
    assert drawn._repr_png_().startswith(b"\x89PNG")
