"""Previews while drawing: pictures in terminals, decoded again by the definition of each protocol; else a file."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.cli.pictures import COLORS, iterm, kitty, protocol_of, sixel
from sfumato.cli.preview import LivePreview
from sfumato.system.draw import Frame

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))
FEW = Image.new("RGB", (40, 15), (255, 0, 0))
FEW.paste((0, 102, 51), (3, 2, 30, 11))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def decode_sixel(text: str) -> np.ndarray:
    """The pixels of sixels, for a picture whose size they give."""
    found = re.fullmatch(r'\x1bP[0-9;]*q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert found is not None
    image = np.zeros((int(found[2]) + 6, int(found[1]), 3))
    palette: dict[str, np.ndarray] = {}
    color, x, y = "0", 0, 0
    for part in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)(.)|([?-~])|([$-])", found[3]):
        number, r, g, b, count, repeated, single, move = part.groups()
        if number is not None:
            color = number
            if r is not None:
                palette[color] = np.array([int(r), int(g), int(b)]) * 2.55
        elif move is not None:
            x, y = 0, y + 6 * (move == "-")
        else:
            bits, length = ord(single or repeated) - 63, int(count or 1)
            for row in range(6):
                if bits >> row & 1:
                    image[y + row, x : x + length] = palette[color]
            x += length
    return image[: int(found[2])]


def test_kitty_receives_the_picture_in_chunks() -> None:
    codes = re.findall(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\", kitty(PICTURE, 12, 7))
    (removed, _), *sent = codes
    assert removed == "a=d,d=I,i=7,q=2"
    assert len(sent) > 1 and all(len(part) <= 4096 for _, part in sent)
    keys = [dict(pair.split("=") for pair in head.split(",")) for head, _ in sent]
    assert keys[0] | {"m": "1"} == {"a": "T", "f": "100", "i": "7", "p": "1", "r": "12", "C": "1", "q": "2", "m": "1"}
    assert [key["m"] for key in keys] == ["1"] * (len(sent) - 1) + ["0"]
    assert (pixels(base64.b64decode("".join(part for _, part in sent))) == np.asarray(PICTURE)).all()


def test_iterm_receives_the_picture_inline() -> None:
    found = re.fullmatch(r"\x1b]1337;File=([^:]*):(.*)\x07", iterm(PICTURE, 12))
    assert found is not None
    data = base64.b64decode(found[2])
    assert found[1] == f"inline=1;size={len(data)};height=12;preserveAspectRatio=1"
    assert (pixels(data) == np.asarray(PICTURE)).all()


def test_sixels_are_the_picture_in_few_colours() -> None:
    assert np.abs(decode_sixel(sixel(FEW)) - np.asarray(FEW)).max() <= 2  # a hundredth of 255
    quantized = np.asarray(PICTURE.quantize(COLORS).convert("RGB"))
    assert np.abs(decode_sixel(sixel(PICTURE)) - quantized).max() <= 2


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux", "KITTY_WINDOW_ID": "1"}, None),
        ({}, None),
    ],
)
def test_a_terminal_is_known_by_its_environment(environment: dict[str, str], protocol: str | None) -> None:
    assert protocol_of(environment) == protocol


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class FakeSystem:
    """What a preview asks of a system."""

    def __init__(self) -> None:
        from sfumato.codec import Identity
        from sfumato.media import Image as Pictures

        self.medium = Pictures(3)
        self.codec = Identity(self.medium)


def frame(done: int, samples: Any = None) -> Frame:
    return Frame(done, 4, torch.zeros(6, 3, 8, 8), torch.full((6, 3, 8, 8), 0.5), samples)


def show(folder: Path, environment: dict[str, str]) -> None:
    with LivePreview(FakeSystem(), folder, environment) as preview:  # pyright: ignore[reportArgumentType]
        preview(frame(1))
        preview(frame(2))  # too soon


def test_a_terminal_shows_the_picture_below_the_line_and_the_cursor_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    show(tmp_path, {"TERM": "foot"})
    shown = screen.getvalue()
    assert shown.count("\x1bP") == 1 and shown.count("\x1b7") == shown.count("\x1b8") == 2
    assert decode_sixel(shown[shown.index("\x1bP") : shown.index("\x1b\\") + 2]).shape[0] <= 192
    assert shown.endswith("\x1b[J\x1b8") and not any(tmp_path.iterdir())


@pytest.mark.parametrize("environment", [{"TERM": "foot"}, {"TERM": "xterm"}])
def test_anything_else_has_a_file_that_is_gone_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    (tmp_path / "preview.png").write_bytes(b"somebody's own")
    monkeypatch.setattr("sys.stderr", io.StringIO() if environment["TERM"] == "foot" else Screen())
    with LivePreview(FakeSystem(), tmp_path, environment) as preview:  # pyright: ignore[reportArgumentType]
        preview(frame(1))
        assert pixels((tmp_path / "preview-2.png").read_bytes()).mean() > 100
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"somebody's own"]


def test_a_file_that_came_before_the_first_preview_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a sample of that name, or the preview of another process."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with LivePreview(FakeSystem(), tmp_path, {}) as preview:  # pyright: ignore[reportArgumentType]
        (tmp_path / "preview.png").write_bytes(b"a sample")
        preview(frame(1))
        assert (tmp_path / "preview-2.png").exists()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"a sample"]


def test_previews_take_a_tenth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 10.0, 20.0, 21.0, 22.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    shown: list[Any] = []
    preview = LivePreview(FakeSystem(), tmp_path, {})  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(preview, "_show", shown.append)
    preview(frame(1))  # from 0 to 2, and so not again before 20
    preview(frame(2))
    assert len(shown) == 1
    preview(frame(3))
    assert len(shown) == 2
