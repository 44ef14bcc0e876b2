"""The figures of a model card, on a small data set and systems that stand in for trained ones."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sfumato import media
from sfumato.codec import Identity
from sfumato.errors import DataError, InputError
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.system.settings import Settings

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
import pyarrow  # noqa: E402

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIDE = 16
CAPTIONS, STYLES = ("cat", "dog", "owl", "fox", "bee", "ant", "elk", "hen"), ("flat", "3d")
HELD_PAIRS, HELD_CAPTIONS = [("cat", "3d"), ("dog", "flat")], [("hen", "flat"), ("hen", "3d")]


def emoji(caption: str, style: str, clear: bool = True) -> Image.Image:
    """A pattern for each caption, in colours of its style, on nothing."""
    stream = np.random.default_rng(CAPTIONS.index(caption))
    pattern = np.kron(stream.random((4, 4)) < 0.5, np.ones((SIDE // 4, SIDE // 4)))
    image = np.zeros((SIDE, SIDE, 4), np.uint8)
    image[pattern > 0] = (200, 30, 30, 255) if style == "flat" else (120, 30, 90, 255)
    picture = Image.fromarray(image)
    return picture if clear else Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


class Eye(nn.Module):
    """Sees the pixels, so that a picture's neighbours are known."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nothing", torch.zeros(1))

    def forward(self, pictures: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(1 - pictures, 4).flatten(1)


class Dull(Identity):
    """A codec that loses something."""

    def decode(self, samples: Tensor) -> Tensor:
        return samples * 0.9


class Painter:
    """A system that draws exactly what it is asked, or, if it is `wrong`, a cat."""

    settings = Settings(size=(SIDE, SIDE), steps=2)
    device = torch.device("cpu")

    def __init__(self, wrong: bool = False, codec: Identity = Identity(media.Image())) -> None:
        self.wrong, self.codec = wrong, codec
        self.asked: list[tuple[str, int]] = []

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None, guidance: float | None
    ) -> SimpleNamespace:
        (seed,) = seeds
        drawn = []
        for prompt in prompts:
            self.asked.append((prompt, seed))
            caption, style = ("cat", "flat") if self.wrong else prompt.removesuffix(" style").split(", ")
            drawn.append(np.asarray(emoji(caption, style, clear=False).convert("RGB")))
        return SimpleNamespace(data=torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2) / 127.5 - 1)

    def stream(self, prompt: str, seeds: Sequence[int], steps: int | None, guidance: float | None) -> None:
        if guidance == -1:
            raise InputError("guidance must be a number from 0 up")

    def fingerprint(self) -> str:
        return "0123456789ab"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import text_to_image

    monkeypatch.setattr(MobileNet, "read", lambda path: Eye())
    return text_to_image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    everything = [(caption, style) for caption in CAPTIONS for style in STYLES]
    train = [row for row in everything if row not in HELD_PAIRS + HELD_CAPTIONS]
    for name, rows in {"train": train, "held_out_pairs": HELD_PAIRS, "held_out_captions": HELD_CAPTIONS}.items():
        write(tmp_path / f"{name}.parquet", rows)
    return tmp_path


def write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    images = []
    for caption, style in rows:
        stream = io.BytesIO()
        emoji(caption, style).save(stream, "PNG")
        images.append(stream.getvalue())
    captions, styles = ([row[n] for row in rows] for n in (0, 1))
    texts = [[f"{caption}, {style} style", caption] for caption, style in rows]
    table = {"image": images, "text": texts, "caption": captions, "style": styles}
    parquet.write_table(pyarrow.table(table), path)


def measured(card: ModuleType, data: Path, painter: Painter, monkeypatch: pytest.MonkeyPatch, *more: str) -> dict:
    monkeypatch.setattr(card, "load", lambda folder: painter)
    files = ("--json", str(data / "out.json"), "--markdown", str(data / "out.md"), "--sheet", str(data / "out.png"))
    card.main(["anywhere", "--data", str(data), "--features", "none.npz", "--count", "5", *files, *more])
    return json.loads((data / "out.json").read_text())


def test_a_system_that_draws_what_it_is_asked(
    card: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    painter = Painter()
    monkeypatch.setattr(card, "TOGETHER", 4)
    (data / "out.md").write_text(f"# The card\n\n{card.MARK}\n\nwhat was here before")
    found = measured(card, data, painter, monkeypatch, "--seed", "7", "--steps", "9", "--guidance", "3")
    assert [seed for _, seed in painter.asked] == [7, 7, 7, 7, 8, 8, 8, 8, 9], "so many together have one seed"
    asked = ["cat, 3d style", "dog, flat style", "hen, flat style", "hen, 3d style"]
    assert [prompt for prompt, _ in painter.asked[5:]] == asked, "the first text of each"
    assert list(found["sets"]) == ["seen captions", "held-out pairs", "held-out captions"]
    for kinds in found["sets"].values():
        assert list(kinds) == ["drawn", "real, without itself"]
        assert [kinds["drawn"][share] for share in ("top1", "top5", "style")] == [1, 1, 1]
        assert kinds["drawn"]["frechet"] == pytest.approx(0, abs=1e-6)
    seen, pairs, captions = found["sets"].values()
    for kinds in (pairs, captions):
        assert kinds["drawn"]["probe"] == kinds["real, without itself"]["probe"], "they are the same pictures"
    assert seen["drawn"]["probe"] == 1
    assert seen["real, without itself"]["probe"] is None, "the probe was fitted to them"
    assert [kinds["drawn"]["pictures"] for kinds in (seen, pairs, captions)] == [5, 2, 2]
    assert seen["drawn"]["to_training"]["mean"] == pytest.approx(0, abs=1e-6), "they are copies"
    assert pairs["drawn"]["to_training"] == pairs["real, without itself"]["to_training"]
    assert pairs["drawn"]["to_training"]["least"] > 1e-3, "no training picture is a held-out one"
    # without itself, a held-out pair still finds its caption in the other style, and so never its own style
    assert (pairs["real, without itself"]["top1"], pairs["real, without itself"]["style"]) == (1, 0)
    assert pairs["real, without itself"]["frechet"] > 0.1
    assert found["codec"] is None
    assert found["settings"]["steps"] == 9 and found["settings"]["guidance"] == 3
    report = (data / "out.md").read_text()
    assert report.startswith(f"# The card\n\n{card.MARK}\n\nSystem `0123456789ab`: 16×16, ")
    assert "9 steps, guidance 3.0, seeds from 7 on." in report and "before" not in report
    assert "| held-out captions | drawn | 2 | 100.0% | 100.0% | 100.0% | 100.0% | 0.0 |" in report
    assert report.partition(card.MARK)[2].strip() == capsys.readouterr().out.strip()


def test_a_system_that_draws_one_thing_only(card: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(card, data, Painter(wrong=True), monkeypatch, "--shown", "1")
    _, pairs, captions = (kinds["drawn"] for kinds in found["sets"].values())
    assert (pairs["top1"], pairs["style"]) == (0.5, 0.5)  # a flat cat, asked for a 3d cat and a flat dog
    assert (captions["top1"], captions["style"], captions["probe"]) == (0, 0.5, 0.5)
    assert captions["frechet"] > 0.1
    with Image.open(data / "out.png") as page:
        assert page.size == (4 * 208 + 8, 3 * (30 + 132) + 8)
        # each set begins with the flat cat, drawn and, since it is a training picture, found
        drawn, real = (page.crop((x, 8 + 22, x + 96, 8 + 22 + 96)) for x in (8, 8 + 96))
    assert np.array_equal(drawn, real)
    expected = emoji("cat", "flat", clear=False).convert("RGB").resize((96, 96), Image.Resampling.BICUBIC)
    assert np.array_equal(drawn, expected)


def test_a_codec_that_loses_something_is_measured(
    card: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "Identity", type("Other", (), {}))  # so that Dull counts as a codec of its own
    found = measured(card, data, Painter(codec=Dull()), monkeypatch)
    pictures = [np.asarray(emoji(*row, clear=False).convert("RGB")) / 127.5 - 1 for row in HELD_PAIRS + HELD_CAPTIONS]
    wanted = np.mean([10 * np.log10(4 / np.mean((0.1 * picture) ** 2)) for picture in pictures])
    assert found["codec"]["psnr"] == pytest.approx(wanted, abs=1e-4)
    assert 0.5 < found["codec"]["ssim"] < 0.9999
    rebuilt = found["sets"]["held-out pairs"]["real, after the codec"]
    assert rebuilt["top1"] == 1 and rebuilt["frechet"] > 1e-3
    assert "The codec on held-out pictures: PSNR " in (data / "out.md").read_text()


def test_what_cannot_be_measured_stops_before_anything_is_drawn(
    card: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = Painter()
    for more, message in (
        (("--count", "1"), "count must be at least 2, not 1"),
        (("--guidance", "-1"), "guidance must"),
    ):
        with pytest.raises(InputError, match=message):
            measured(card, data, painter, monkeypatch, *more)
    path = data / "held_out_captions.parquet"
    parquet.write_table(pyarrow.table({"image": [b""], "caption": ["hen"]}), path)
    with pytest.raises(DataError, match="held_out_captions.parquet .* it has no style, text"):
        measured(card, data, painter, monkeypatch)
    write(path, HELD_CAPTIONS[:1])
    with pytest.raises(DataError, match="held_out_captions.parquet has 1 row, and two or more are needed"):
        measured(card, data, painter, monkeypatch)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot read .*held_out_captions.parquet"):
        measured(card, data, painter, monkeypatch)
    path.unlink()
    with pytest.raises(DataError, match="cannot read .*held_out_captions.parquet"):
        measured(card, data, painter, monkeypatch)
    assert painter.asked == []
