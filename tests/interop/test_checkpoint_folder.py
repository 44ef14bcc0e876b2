"""Folders of checkpoints: what is found in them, and what is refused before any weight is read."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sfumato.condition.encoders.hub import needed
from sfumato.errors import FormatError, NotFoundError
from sfumato.interop.diffusers.folder import find_folder, read_folder
from sfumato.store import MappedWeights, choose_weight_files, weight_files

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.36.0",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "image_encoder": [None, None],
    "requires_safety_checker": True,
}


def written(place: Path, **files: Any) -> Path:
    """A folder with JSON files: `unet__config` is unet/config.json."""
    for name, value in files.items():
        path = place / (name.replace("__", "/") + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer").mkdir()
    return written(
        tmp_path,
        model_index=INDEX,
        unet__config={"_class_name": "UNet2DConditionModel", "in_channels": 4},
        scheduler__scheduler_config={"_class_name": "PNDMScheduler"},
    )


def test_components_are_found_and_what_draws_nothing_is_passed_over(folder: Path) -> None:
    checkpoint = read_folder(folder)
    assert list(checkpoint.components) == ["unet", "scheduler", "tokenizer"]
    unet = checkpoint.component("transformer", "unet")
    assert (unet.kind, unet.folder, unet.config["in_channels"]) == ("UNet2DConditionModel", folder / "unet", 4)
    assert checkpoint.index["requires_safety_checker"] is True


def test_components_may_lie_in_the_root(tmp_path: Path) -> None:
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", "DDPMScheduler"],
    }
    written(tmp_path, model_index=index, config={"sample_size": 32}, scheduler_config={"num_train_timesteps": 1000})
    found = read_folder(tmp_path).components
    assert found["unet"].config == {"sample_size": 32} and found["scheduler"].config == {"num_train_timesteps": 1000}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unet": ["my_pipeline", "MyUNet"]}, "my_pipeline.MyUNet.*runs no code"),
        ({"vae": ["diffusers", "AutoencoderKL"]}, "names a component vae, and has no folder vae"),
        ({"_class_name": None}, "names no _class_name"),
    ],
)
def test_an_index_that_cannot_be_followed_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    written(folder, model_index={**INDEX, **change})
    with pytest.raises(FormatError, match=message):
        read_folder(folder)


def test_code_in_a_configuration_is_refused(folder: Path) -> None:
    written(folder, unet__config={"auto_map": {"AutoModel": "evil.Model"}})
    with pytest.raises(FormatError, match="auto_map"):
        read_folder(folder)


def test_a_component_without_a_configuration_is_named(folder: Path) -> None:
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(FormatError, match=r"unet holds no config\.json"):
        read_folder(folder)


def test_a_missing_component_is_named(folder: Path) -> None:
    with pytest.raises(FormatError, match="has no vae or vqvae, and a StableDiffusionPipeline needs one"):
        read_folder(folder).component("vae", "vqvae")


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model.fp16.safetensors", "model.non_ema.safetensors"], ["model.fp16.safetensors"]),
        (
            [
                "diffusion_pytorch_model-00002-of-00002.safetensors",
                "diffusion_pytorch_model-00001-of-00002.safetensors",
                "diffusion_pytorch_model.safetensors.index.json",
            ],
            [
                "diffusion_pytorch_model.safetensors.index.json",
                "diffusion_pytorch_model-00001-of-00002.safetensors",
                "diffusion_pytorch_model-00002-of-00002.safetensors",
            ],
        ),
        (
            ["model.fp16-00001-of-00001.safetensors", "model.safetensors.index.fp16.json"],
            ["model.safetensors.index.fp16.json", "model.fp16-00001-of-00001.safetensors"],
        ),
        (
            [
                "diffusion_pytorch_model-00001-of-00001.fp16.safetensors",  # by an older name
                "diffusion_pytorch_model-00001-of-00001.safetensors",
                "diffusion_pytorch_model.safetensors.index.fp16.json",
                "diffusion_pytorch_model.fp16.safetensors",
            ],
            [
                "diffusion_pytorch_model.safetensors.index.fp16.json",
                "diffusion_pytorch_model-00001-of-00001.fp16.safetensors",
            ],
        ),
        (
            ["model-00001-of-00001.bf16.safetensors", "model.safetensors.index.bf16.json"],
            ["model.safetensors.index.bf16.json", "model-00001-of-00001.bf16.safetensors"],
        ),
        (
            ["model.safetensors", "model-00001-of-00001.safetensors", "model.safetensors.index.json"],
            ["model.safetensors"],  # transformers takes the single file first, and diffusers the shards
        ),
        (["diffusion_pytorch_model-00001-of-00002.safetensors"], []),
        (["pytorch_model.bin", "config.json"], []),
    ],
)
def test_the_files_of_weights_are_chosen(names: list[str], chosen: list[str]) -> None:
    assert choose_weight_files(names) == chosen


def test_what_is_needed_of_a_repository() -> None:
    names = [
        "README.md",
        "model_index.json",
        "v1-5-pruned.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "unet/openvino_model.xml",
        "safety_checker/model.safetensors",
        "vae_1_0/diffusion_pytorch_model.safetensors",
        "controlnet/config.json",
        "a/b/c.json",
    ]
    assert needed(names) == [
        "README.md",
        "model_index.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert needed(names, ["tokenizer"]) == [
        "README.md",
        "model_index.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
    ]


def test_a_pickle_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(FormatError, match=r"is a pickle, which can run code.*save_pretrained\(NEW_FOLDER\)"):
        weight_files(tmp_path)


def shards(folder: Path, weight_map: dict[str, str]) -> Path:
    save_file({"a": torch.zeros(2)}, folder / "model-00001-of-00002.safetensors")
    save_file({"b": torch.ones(3)}, folder / "model-00002-of-00002.safetensors")
    return written(folder, **{"model.safetensors.index": {"weight_map": weight_map}})


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    paths = weight_files(shards(tmp_path, {"a": one, "b": two}))
    weights = MappedWeights(paths)
    assert {key: value.tolist() for key, value in weights.items()} == {"a": [0, 0], "b": [1, 1, 1]}
    assert weights.types() == {"F32": 5}


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}, "disagree about 'b'"),
        ({"a": "model-00001-of-00002.safetensors"}, None),
        ({"a": "model-00003-of-00003.safetensors"}, "model-00003-of-00003.safetensors', which is not there"),
        ({"a": "../../secret.safetensors"}, "which is not there"),
        ({"a": 3}, "no weight_map"),
    ],
)
def test_shards_that_disagree_are_refused(tmp_path: Path, weight_map: dict[str, Any], message: str | None) -> None:
    shards(tmp_path, weight_map)
    if message is None:  # a shard that the index does not name is not read
        assert [path.name for path in weight_files(tmp_path)] == ["model-00001-of-00002.safetensors"]
        return
    with pytest.raises(FormatError, match=message):
        weight_files(tmp_path)


def test_a_file_that_was_replaced_after_opening_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    weights = MappedWeights([path])
    assert pickle.loads(pickle.dumps(weights))["a"].tolist() == [0, 0]
    save_file({"a": torch.ones(2)}, tmp_path / "y")
    (tmp_path / "y").replace(path)
    with pytest.raises(FormatError, match="x.safetensors is gone or was changed since the model was opened: open it"):
        weights["a"]
    path.unlink()
    with pytest.raises(FormatError, match="x.safetensors is gone or was changed"):
        weights["a"]


def test_two_files_that_hold_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("x", "y"):
        save_file({"a": torch.zeros(2)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(FormatError, match="both hold 'a'"):
        MappedWeights([tmp_path / "x.safetensors", tmp_path / "y.safetensors"])


def test_a_file_cut_short_is_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(200)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="is damaged"):
        MappedWeights([path])["a"]


def test_no_folder_and_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="neither a folder nor"):
        find_folder(tmp_path / "absent")
    with pytest.raises(FormatError, match=r"holds no model_index\.json"):
        find_folder(tmp_path)

    def unreachable(*args: Any, **more: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    with pytest.raises(NotFoundError, match="hf download someone/something"):
        find_folder("someone/something")


def test_what_was_fetched_is_opened_without_a_network(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    kept = cache / "models--someone--something"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("a" * 40)
    snapshot = Path(shutil.copytree(folder, kept / "snapshots" / ("a" * 40)))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def unreachable(*args: Any, **more: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    with pytest.raises(NotFoundError, match="cache holds only a part of that repository"):
        find_folder("someone/something")
    save_file({"a": torch.zeros(2)}, snapshot / "unet" / "diffusion_pytorch_model.safetensors")
    assert find_folder("someone/something") == find_folder("someone/something", fetch=False) == snapshot


def test_a_sample_of_the_weights_distinguishes_models(tmp_path: Path) -> None:
    one = {"a": torch.randn(300), "b": torch.randn(2, 3), "c": torch.zeros(0)}

    def sampled(tensors: dict[str, torch.Tensor], **names: str) -> str:
        for name in set(names.values()) or {"x"}:
            own = {key: value for key, value in tensors.items() if names.get(key, "x") == name}
            save_file(own, tmp_path / f"{name}.safetensors")
        return MappedWeights(
            [tmp_path / f"{name}.safetensors" for name in sorted(set(names.values()) or {"x"})]
        ).sampled()

    known = sampled(one)
    assert sampled(one) == known
    assert sampled(one, a="x", b="y", c="y") == known  # shards make no difference
    changed = [{**one, "a": one["a"] + 1}, {**one, "b": one["b"].T.contiguous()}, {"a": one["a"], "b": one["b"]}]
    changed.append({**one, "b": one["b"] * 1.001})
    assert len({known, *map(sampled, changed)}) == 5
