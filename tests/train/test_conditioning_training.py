"""Training on pictures that others are conditioned on: in pixels and in latents."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import sfumato
from data.small_pictures import encode, noise
from sfumato.codec import Identity
from sfumato.condition import Nothing
from sfumato.core.condition import Condition
from sfumato.data import Dataset
from sfumato.errors import InputError, ShapeError
from sfumato.media import Image as Pictures
from sfumato.system import System
from sfumato.train import recipe, train
from sfumato.train.batches import Batches
from sfumato.train.build import build
from sfumato.train.feed import ImageFeed, LatentFeed, latents_size
from train.small_runs import FIT, SMALL, everything, newest
from train.test_feed import Doubled

PIXELS = (*SMALL, "condition.image=true", "data.channels=3", "data.size=[8,8]", "train.show_minutes=99")
LATENTS = (
    *PIXELS,
    "codec.kind=latent",
    f"codec.settings={json.dumps([*FIT, 'train.steps=3', 'optimizer.warmup=1'])}",
)


def pairs(n: int = 3, channels: int = 3) -> Dataset:
    random = np.random.default_rng(0)
    pixels, beside = (random.integers(0, 256, (n, channels, 4, 6), dtype=np.uint8) for _ in range(2))
    names = tuple(map(str, range(n)))
    return Dataset(Pictures(channels), pixels, None, ((),) * n, names, (), (), (), "", conditioning=beside)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two dozen pictures, each with a smaller one and a caption."""
    images, canvases = ([encode(noise(side, side, seed=i)) for i in range(24)] for side in (8, 4))
    texts = [[f"number {i}", "a picture"] for i in range(24)]
    pq.write_table(
        pa.table({"image": images, "conditioning_image": canvases, "text": texts}), tmp_path / "pairs.parquet"
    )
    return tmp_path / "pairs.parquet"


def begin(data: Path | None, out: Path | None, *settings: str, **options: Any) -> Any:
    chosen: dict[str, Any] = {"device": "cpu", "precision": "float32", "steps": 4} | options
    return train(data, out=out, **({"recipe": "digits", "settings": settings} if settings else {}), **chosen)


def test_views_of_both_are_the_same() -> None:
    data = pairs(channels=4)
    feed = ImageFeed(data, flip=True, backgrounds=("black",))
    swapped = ImageFeed(replace(data, stored=data.conditioning), flip=True, backgrounds=("black",))  # type: ignore[arg-type]
    index = torch.arange(3)
    for view in range(4):
        of = torch.full_like(index, view)
        beside = feed.concat(index, of)
        assert beside is not None and torch.equal(beside, swapped.samples(index, of))
    assert ImageFeed(replace(data, conditioning=None)).concat(index, torch.zeros_like(index)) is None


def test_latents_of_both_are_computed_once(tmp_path: Path) -> None:
    Doubled.calls = 0
    plain = ImageFeed(pairs(), flip=True)
    feed = LatentFeed(plain, Doubled(), tmp_path / "latents.npy")
    index, view = torch.arange(3), torch.tensor([0, 1, 1])
    seen, beside = feed.samples(index, view), feed.concat(index, view)
    assert (
        Doubled.calls == 4
        and feed.latents.shape == (3, 2, 6, 4, 6)
        and feed.latents.nbytes == latents_size(plain, Doubled())
    )
    wanted = plain.concat(index, view)
    assert beside is not None and wanted is not None
    assert (seen - 2 * plain.samples(index, view)).abs().max() <= 2**-10
    assert (beside - 2 * wanted).abs().max() <= 2**-10


def test_a_dropped_prompt_keeps_its_picture() -> None:
    feed = ImageFeed(pairs(20))
    kept, dropped = (Batches(feed, (3, 4, 6), seed=1, batch=8, dropout=share)[3] for share in (0.0, 0.999))
    assert dropped.dropped.all() and not kept.dropped.any()
    assert kept.condition.concat is not None and dropped.condition.concat is not None
    assert torch.equal(kept.condition.concat, dropped.condition.concat)
    wanted = feed.concat(kept.sample, kept.view)
    assert wanted is not None and torch.equal(kept.condition.concat, wanted)


def test_the_network_has_as_many_channels_beside_its_samples() -> None:
    own = recipe.load_recipe("digits", [*PIXELS, "condition.layout=4"])
    assert isinstance(own, recipe.TASKS["denoise"].recipe)
    system = build(own, pairs(), Identity(Pictures(3)), Nothing())  # type: ignore[arg-type]
    assert system.network.concat == 3
    with pytest.raises(InputError, match=r"network\.concat follows from the data"):
        build(recipe.load_recipe("digits", [*PIXELS, "network.concat=3"]), pairs())  # type: ignore[arg-type]


def test_a_run_on_pixels_learns_what_its_conditioning_image_shows(data: Path, tmp_path: Path) -> None:
    system = begin(data, tmp_path / "run", *PIXELS)
    assert system.network.concat == 3
    drawn = sfumato.load(tmp_path / "run", "cpu", "float32")
    assert isinstance(drawn, System)
    one, other = (torch.full((1, 3, 8, 8), value) for value in (-1.0, 1.0))
    pictures = [drawn.generate(seeds=[1], condition=Condition(concat=beside)).data for beside in (one, other)]
    assert (pictures[0] - pictures[1]).abs().max() > 0
    with pytest.raises(ShapeError, match=r"wants a condition with concat \[1, 3, 8, 8\], and was given none"):
        drawn.generate(seeds=[1])


@pytest.mark.parametrize("settings", [PIXELS, LATENTS])
def test_a_resumed_run_is_the_same(settings: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "whole", *settings)
    begin(data, tmp_path / "parts", *settings, steps=2)
    begin(None, tmp_path / "parts", resume=True)
    assert newest(tmp_path / "whole").read_bytes() == newest(tmp_path / "parts").read_bytes()


def test_a_run_in_latents_draws_by_the_latents_of_the_picture(data: Path, tmp_path: Path) -> None:
    system = begin(data, tmp_path / "run", *LATENTS, "condition.kind=nothing")
    concat = system.codec.encode(torch.zeros(1, 3, 8, 8))
    assert system.network.concat == 2 and concat.shape == (1, 2, 2, 2)
    assert system.generate(seeds=[0], condition=Condition(concat=concat)).data.shape == (1, 3, 8, 8)
    latents = np.load(next((tmp_path / "run").glob("latents-*.npy")))
    assert latents.shape == (24, 1, 2 * 2, 2, 2)
    assert "autoencoder" in {path.name for path in (tmp_path / "run").iterdir()}


def test_a_preview_shows_each_conditioning_image_and_what_it_conditions(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", *PIXELS)
    with Image.open(max((tmp_path / "run" / "samples").glob("*.png"))) as sheet:
        shown = np.asarray(sheet.convert("RGB"))
    wanted = Image.open(io.BytesIO(encode(noise(4, 4, seed=0)))).resize((8, 8), Image.Resampling.BILINEAR)
    large = np.asarray(wanted.resize((96, 96), Image.Resampling.NEAREST)).astype(int)
    found = (np.abs(shown[top : top + 96, 2:98] - large).max() for top in range(len(shown) - 96))
    assert min(found) <= 1, "the first image, a dozen times as large"


def test_a_plan_reads_a_few_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    plan = begin(data, None, *LATENTS, dry_run=True)
    assert plan.count == 24 and plan.prepared == 24 * 2 * (2 * 2 * 2) * 2 + 128
    assert everything(tmp_path) == before


def test_what_has_no_conditioning_images_is_refused_at_once(data: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "a.png").write_bytes(encode(noise(8, 8)))
    with pytest.raises(InputError, match="expected conditioning images, came none"):
        begin(bare, tmp_path / "run", *PIXELS)
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())
    with pytest.raises(InputError, match=r"denoise with condition\.image works on pictures, and data\.medium is audio"):
        recipe.load_recipe("sound", ["condition.image=true"])
