"""An autoencoder in closed form: fitted to pictures from all over the data, and done without a step."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sfumato
from sfumato.codec import Latent
from sfumato.errors import InputError, ResumeError
from sfumato.library import load_codec
from sfumato.nn.image.pca import PCA
from sfumato.train import closed_form, train
from sfumato.train.closed_form import evenly
from sfumato.train.feed import ImageFeed
from sfumato.train.fitted_codec import FittedCodec
from train.small_runs import SMALL, everything, last_step, newest, pictures_file, read, tensors

SETTINGS = (
    "data.size=[8,8]",
    "data.channels=1",
    "data.flip=true",
    "network.latent=5",
    "network.patch=4",
    "train.batch=4",
    "train.show_minutes=99",
    "optimizer.warmup=0",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures_file(tmp_path / "data.npz", labels=[])


def fit(data: Path | None, out: Path, *settings: str, **options: Any) -> Any:
    chosen: dict[str, Any] = {"device": "cpu", "precision": "float32"} | options
    if not chosen.get("resume"):
        chosen = {"recipe": "pca", "settings": [*SETTINGS, *settings]} | chosen
    return train(data, out=out, **chosen)


def test_the_codec_is_the_closed_form_of_the_same_pictures(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sfumato")
    fitted = fit(data, tmp_path / "run")
    every = ImageFeed(read(data), flip=True).samples(torch.arange(24).repeat_interleave(2), torch.arange(2).repeat(24))
    alone, codec = PCA(1, 5, 4).fit(every), load_codec(tmp_path / "run")
    assert isinstance(fitted, FittedCodec) and last_step(tmp_path / "run") == 0
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in codec.network.state_dict().items())
    z = codec.encode(every)
    assert z.shape == (48, 5, 2, 2) and (z.std((0, 2, 3)) - 1).abs().max() < 0.1
    about = json.loads((tmp_path / "run" / "codec" / "codec.json").read_text())["about"]
    assert f"PSNR {about['psnr of pictures trained on']:.1f} dB of 24 pictures" in caplog.text
    assert "no steps: fitted in closed form to 24 pictures" in caplog.text and "too few to show" not in caplog.text
    assert (tmp_path / "run" / "samples" / "latest.png").exists()


def test_it_is_the_same_to_the_byte_each_time_and_of_other_pictures_by_another_seed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_form, "MOST_FITTED", 12)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        fit(data, tmp_path / name, f"train.seed={seed}")
    one, two, other = (everything(tmp_path / name / "codec") for name in ("one", "two", "other"))
    assert one == two and one != other


def test_minutes_are_not_spent_on_steps(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "run", minutes=5)
    assert last_step(tmp_path / "run") == 0
    with pytest.raises(InputError, match="run is fitted already, in closed form"):
        fit(None, tmp_path / "run", resume=True, minutes=5)


def test_steps_go_on_from_the_closed_form_and_are_resumed_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "whole", steps=2)
    fit(data, tmp_path / "halved")
    fit(None, tmp_path / "halved", resume=True, steps=2)
    whole, halved = (tensors(newest(tmp_path / name)) for name in ("whole", "halved"))
    assert whole.keys() == halved.keys() and all(torch.equal(whole[name], halved[name]) for name in whole)


def test_a_plan_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    plan = fit(data, tmp_path / "run", dry_run=True)
    assert plan.steps == 0 and plan.warning is None and plan.disk > 0
    assert not (tmp_path / "run").exists()


def test_a_denoiser_may_be_trained_in_its_latents(data: Path, tmp_path: Path) -> None:
    own = json.dumps(["network.latent=5", "network.patch=4", "train.batch=4"])
    settings = [
        *(setting for setting in SMALL if "scale_shift" not in setting),
        "data.size=[8,8]",
        "data.channels=1",
        'codec={"kind":"latent","fit":"pca"}',
        f"codec.settings={own}",
        "condition.layout=0",
        "network.head_width=8",
        "settings.steps=4",
        "train.init_from=null",
        "train.show_minutes=99",
    ]
    for name, asked in (("steps", {"steps": 2}), ("minutes", {"minutes": 0.02})):
        options: dict[str, Any] = {"device": "cpu", "precision": "float32"} | asked
        system = train(data, out=tmp_path / name, recipe="latent", settings=settings, **options)
        assert isinstance(system.codec, Latent) and isinstance(system.codec.network, PCA)
        assert last_step(tmp_path / name / "autoencoder") == 0 and last_step(tmp_path / name) >= 1
    assert sfumato.load(tmp_path / "steps", "cpu").generate(seeds=[1]).data.shape == (1, 1, 8, 8)
    plan = train(data, out=tmp_path / "plan", recipe="latent", settings=settings, dry_run=True, device="cpu", steps=2)
    assert plan.steps == 2 and not (tmp_path / "plan").exists()


def test_its_decoder_may_be_trained_on_by_itself(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "first")
    fit(data, tmp_path / "second", f'codec.path="{tmp_path / "first"}"', "reconstruction.noise=0.5", "train.steps=2")
    first, second = (load_codec(tmp_path / name) for name in ("first", "second"))
    first.check_like(second)
    assert not torch.equal(first.network.state_dict()["leave.weight"], second.network.state_dict()["leave.weight"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["codec.init_from=emoji"], "train.steps=0 is for an autoencoder in closed form that begins with nothing"),
        (["codec.path=emoji"], "set train.steps higher, or begin with nothing"),
        (["network.latent=17"], "latent at most in_channels"),
        (["train.steps=-1"], "train.steps"),
    ],
)
def test_what_has_no_closed_form_is_refused_before_anything_is_read(
    settings: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        fit(tmp_path / "nowhere.npz", tmp_path / "run", *settings)
    with pytest.raises(InputError, match="train.steps=0 is for an autoencoder in closed form"):
        train(tmp_path / "nowhere.npz", out=tmp_path / "run", recipe="autoencoder", settings=["train.steps=0"])
    assert not (tmp_path / "run").exists()


def test_directions_in_which_pictures_do_not_vary_stay_at_zero(tmp_path: Path) -> None:
    """What is left there is rounding, which is not to be brought to unit variance."""
    np.savez(tmp_path / "flat.npz", images=np.arange(24, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2))
    fitted = fit(tmp_path / "flat.npz", tmp_path / "run")
    assert isinstance(fitted, FittedCodec)
    z = fitted.codec().encode(fitted.data)
    assert (z[:, 0].std() - 1).abs() < 0.1 and z[:, 1:].abs().max() < 1e-3
    assert fitted.psnr() > 60


def test_a_run_is_resumed_with_its_own_number_of_components(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "run")
    with pytest.raises(ResumeError, match="network.latent: 5 → 6"):
        fit(None, tmp_path / "run", resume=True, settings=["network.latent=6"], steps=2)


def test_pictures_are_drawn_from_all_over_the_data_and_their_views() -> None:
    index, view = evenly(6, 2, 100, seed=0)
    assert (2 * index + view).tolist() == list(range(12)), "each once, where there is room for all"
    index, view = evenly(1000, 2, 100, seed=0)
    assert ((2 * index + view) // 20).tolist() == list(range(100)), "one of each hundredth"
    assert 30 < int(view.sum()) < 70
    assert not torch.equal(index, evenly(1000, 2, 100, seed=1)[0])
