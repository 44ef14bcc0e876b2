"""What the commands on the pages read, in small: pictures, captions, sounds, a checkpoint of another tool."""

import shutil
import wave
from pathlib import Path

import numpy as np
from PIL import Image

import sfumato
from interop import pipelines, single_files
from sfumato.recipes import __file__ as recipes


def prepare(folder: Path) -> None:
    """All of it, under the names that the pages give it."""
    for name, classes in (("PICTURES", ("cat", "dog")), ("photos", ("cats", "dogs"))):
        for place, one in enumerate(classes):
            pictures(folder / name / one, f"a {one}", seed=place)
    pictures(folder / "CAPTIONED", "a red shirt")
    parquet(folder / "CAPTIONED", folder / "photos.parquet")
    sounds(folder / "SOUNDS")
    shutil.copy(Path(recipes).parent / "ddpm.toml", folder / "mine.toml")
    checkpoint = pipelines.stable_diffusion(folder / "made")
    checkpoint.save_pretrained(folder / "path" / "to" / "stable-diffusion")
    sfumato.load(folder / "path" / "to" / "stable-diffusion", "cpu").save(folder / "path" / "to" / "system")
    single_files.written(folder / "FILE.safetensors", single_files.tensors(checkpoint))


def pictures(folder: Path, caption: str, count: int = 8, seed: int = 0) -> None:
    """Discs of some colour on white, each with a caption beside it."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(seed)
    away = np.hypot(*(np.mgrid[:48, :48] - 24))
    for number in range(count):
        picture = np.full((48, 48, 3), 255, np.uint8)
        picture[away < draws.integers(8, 20)] = draws.integers(0, 200, 3)
        Image.fromarray(picture).save(folder / f"{number:03}.png")
        (folder / f"{number:03}.txt").write_text(f"{caption}\n")


def parquet(folder: Path, path: Path) -> None:
    """The same pictures and captions as one file."""
    import pyarrow
    import pyarrow.parquet

    images = [{"bytes": one.read_bytes(), "path": one.name} for one in sorted(folder.glob("*.png"))]
    texts = [one.read_text().strip() for one in sorted(folder.glob("*.txt"))]
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "text": texts}), path)


def sounds(folder: Path, count: int = 6) -> None:
    """Tones that fade, half a second each."""
    folder.mkdir()
    times = np.arange(11_264) / 22_050
    for number in range(count):
        tone = np.sin(2 * np.pi * 110 * (number + 2) * times) * np.exp(-8 * times)
        with wave.open(str(folder / f"{number:03}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(22_050)
            file.writeframes((tone * 30_000).astype("<i2").tobytes())
