"""The contents of checkpoints, described without loading them."""

import json
from pathlib import Path
from typing import Any

import pipelines
import pytest
import single_files
from test_single_file import full
from typer.testing import CliRunner

from sfumato.cli import app
from sfumato.errors import NotFoundError
from sfumato.interop.diffusers.folder import is_hub_name
from sfumato.interop.diffusers.inspect import describe_checkpoint, licence
from sfumato.store import MappedWeights

diffusers = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # theirs, with numpy 2
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # theirs
]


@pytest.fixture(autouse=True)
def no_tensor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weight may be read."""

    def read(self: MappedWeights, key: str) -> None:
        raise AssertionError(f"{key} was read")

    monkeypatch.setattr(MappedWeights, "__getitem__", read)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    place = tmp_path_factory.mktemp("sd1")
    pipe = pipelines.stable_diffusion(place)
    pipe.save_pretrained(place / "saved")
    return pipe, place / "saved"


def test_a_folder_is_described(saved: tuple[Any, Path]) -> None:
    pipe, where = saved
    facts = dict(describe_checkpoint(where))
    count = sum(parameter.numel() for parameter in pipe.unet.parameters())
    line = f"UNet2DConditionModel, {count / 1e6:.2f}M parameters, F32, {count * 4 / 1e6:.1f} MB"
    assert facts["unet"] == line and facts["pipeline"] == "StableDiffusionPipeline"
    assert facts["scheduler"].startswith("PNDMScheduler, prediction_type epsilon, beta_schedule scaled_linear")
    assert facts["prediction"] == {"kind": "eps"} and facts["schedule"]["kind"] == "scaled-linear"
    assert (facts["size"], facts["guidance"], facts["licence"]) == ([16, 16], 7.5, "not stated")
    assert facts["there"]["sampler"]["kind"] == "plms" and facts["here"]["sampler"]["kind"] == "dpm++"
    assert facts["here"]["spacing"]["kind"] == "ays" and facts["here"]["steps"] == 10


def test_a_network_that_is_not_known_is_described_as_far_as_it_goes(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, where = saved
    for path in where.iterdir():
        (tmp_path / path.name).symlink_to(path)
    index = json.loads((where / "model_index.json").read_text())
    (tmp_path / "model_index.json").unlink()
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "unet": ["diffusers", "FluxTransformer2DModel"]}))
    facts = dict(describe_checkpoint(tmp_path))
    assert facts["unet"].startswith("FluxTransformer2DModel, ") and "FluxTransformer2DModel" in facts["not opened"]
    assert "size" not in facts


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("---\nlicense: creativeml-openrail-m\ntags:\n- a\n---\n# Model", "creativeml-openrail-m"),
        ("---\r\nlicense: 'mit'\r\n---\r\n", "mit"),
        ("# Model\nlicense: mit", None),
        ("---\ntags: x\n---\nlicense: mit", None),
        pytest.param(f"---\nlicense: a{' ' * 10**6}b\n---\n", "a … b", id="spaces"),
        pytest.param(f"---\nlicense: {'x' * 5000}\n---\n", f"{'x' * 50} … {'x' * 50}", id="long"),
    ],
)
def test_the_licence_is_that_of_the_card(card: str, name: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert licence(tmp_path) == name


def test_a_single_file_of_full_size_is_described(tmp_path: Path) -> None:
    shapes = {**full("sd2"), "model_ema.decay": ("F32", [])}
    header = {"modelspec.license": "openrail++", "modelspec.prediction_type": "v"}
    facts = dict(describe_checkpoint(single_files.sparse(tmp_path / "model.safetensors", shapes, header)))
    assert facts["unet"] == "UNet2DConditionModel, 865.91M parameters, F16, 1,731.8 MB"
    assert facts["vae"].startswith("AutoencoderKL, 83.65M parameters, F16")
    assert facts["text_encoder"].startswith("CLIPTextModel, 340.39M parameters")
    assert (facts["size"], facts["prediction"]["kind"], facts["licence"]) == ([768, 768], "v", "openrail++")


def test_a_name_that_is_not_in_the_cache_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*args: Any, **more: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("huggingface_hub.model_info", fetched)
    with pytest.raises(
        NotFoundError, match="not in the Hub's cache: open it once .* `hf download nobody/nothing --include"
    ):
        describe_checkpoint("nobody/nothing")
    assert is_hub_name("nobody/nothing")


def test_the_command_shows_it(saved: tuple[Any, Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(saved[1])])
    assert result.exit_code == 0, result.output
    for line in ("unet", "UNet2DConditionModel", "scaled-linear", "licence", "not stated"):
        assert line in result.output
