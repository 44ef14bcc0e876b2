"""CLIP's text encoder beside transformers', its configuration both ways, and folders that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_clip import END, LENGTH, text_model, vocabulary
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfumato import files
from sfumato.condition.clip.checkpoint import clip_entries, read_config, read_tower, write_config
from sfumato.errors import FormatError
from sfumato.keys import write_state

LAST = vocabulary()[END]


def ids() -> torch.Tensor:
    """Texts with one end token or several, the first of them not in the same place."""
    numbers = torch.randint(0, LAST - 1, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    numbers[0, 5:], numbers[1, -1], numbers[2, 3] = LAST, LAST, LAST
    return numbers


@pytest.mark.parametrize("projection", [0, 10])
@pytest.mark.parametrize(("act", "end"), [("quick_gelu", 2), ("gelu", LAST)])
def test_transformers_gives_the_same(projection: int, act: str, end: int, tmp_path: Path) -> None:
    theirs = text_model(projection, act=act, end=end)
    theirs.save_pretrained(tmp_path)
    ours = read_tower(tmp_path)
    assert not ours.training and not any(parameter.requires_grad for parameter in ours.parameters())
    with torch.no_grad():
        wanted = theirs(input_ids=ids(), output_hidden_states=True)
        last, pooled = ours(ids())
        assert (last - wanted.last_hidden_state).abs().max() < 1e-5
        assert (pooled - (wanted.text_embeds if projection else wanted.pooler_output)).abs().max() < 1e-5
        for skip in range(4):
            assert (ours(ids(), skip)[0] - wanted.hidden_states[-1 - skip]).abs().max() < 1e-5


@pytest.mark.parametrize(("projection", "kind"), [(0, CLIPTextModel), (10, CLIPTextModelWithProjection)])
def test_what_is_written_transformers_reads(projection: int, kind: Any, tmp_path: Path) -> None:
    theirs = text_model(projection, act="gelu", end=LAST)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = read_tower(tmp_path / "theirs")
    weights = dict(write_state(ours, clip_entries(ours)))
    files.write_tensors(tmp_path / "ours" / "model.safetensors", weights)
    files.write_json(tmp_path / "ours" / "config.json", write_config(ours))
    again, report = kind.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids())[0], theirs(input_ids=ids())[0])
    back = read_tower(tmp_path / "ours")
    assert write_config(back) == write_config(ours)
    assert all(torch.equal(value, back.state_dict()[key]) for key, value in ours.state_dict().items())


def test_older_files_are_read(tmp_path: Path) -> None:
    """Those of Stable Diffusion 1 carry a prefix, the numbers of the places, and may be in half precision."""
    text_model().save_pretrained(tmp_path)
    tensors = files.read_tensors(tmp_path / "model.safetensors")[0]
    older = {f"text_model.{key}": tensor.half() for key, tensor in tensors.items()}
    older["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
    (tmp_path / "model.safetensors").unlink()
    files.write_tensors(tmp_path / "model.fp16.safetensors", older)
    words = read_tower(tmp_path).words
    assert words.dtype == torch.float32 and torch.equal(
        words, tensors["embeddings.token_embedding.weight"].half().float()
    )


def test_a_configuration_is_read_as_transformers_does() -> None:
    with torch.device("meta"):
        silent = read_config({"architectures": ["CLIPTextModelWithProjection"], "_name_or_path": "x"}, "config.json")
    known = CLIPTextConfig().to_dict()
    config = write_config(silent)
    assert {key: known[key] for key in config if key != "architectures"} == {
        k: config[k] for k in config if k != "architectures"
    }


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"architectures": ["T5EncoderModel"]}, r"is a \['T5EncoderModel'\]; text encoders .* CLIPTextModel, CLIPText"),
        ({"hidden_act": "relu"}, "activation must be one of gelu, quick_gelu"),
        ({"rope": 1}, "sets 'rope', which is not known here; known: .*hidden_act"),
        ({"is_decoder": True}, "is_decoder is True, and only False"),
        ({"hidden_act": {}}, "hidden_act should be a word, not {}"),
        ({"hidden_act": "x" * 10**6}, "hidden_act should be|activation must be"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06, and only 1e-05"),
        ({"hidden_size": "16"}, "hidden_size should be a whole number, not '16'"),
        ({"eos_token_id": [1, 2]}, "eos_token_id should be a whole number"),
        ({"num_hidden_layers": 4}, "'text_model.encoder.layers.3.layer_norm1.bias'.* missing"),
        ({"num_hidden_layers": 2}, "holds 'encoder.layers.2"),
        (
            {"hidden_size": 8},
            r"q_proj.weight' should give a weight of \[24, 8\], by its configuration, and gives \[48, 16\]",
        ),
    ],
)
def test_other_configurations_are_refused(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    text_model().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(FormatError, match=text) as caught:
        read_tower(tmp_path)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_what_older_configurations_and_files_hold_besides_changes_nothing(tmp_path: Path) -> None:
    text_model().save_pretrained(tmp_path)
    known = read_tower(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    more = {"use_cache": True, "output_attentions": False, "id2label": {"0": "LABEL_0"}, "max_length": 20}
    (tmp_path / "config.json").write_text(json.dumps({**config, **more, "pruned_heads": {}, "of_next_year": None}))
    tensors = files.read_tensors(tmp_path / "model.safetensors")[0]
    idle = ("logit_scale", "text_projection.weight", "vision_model.post_layernorm.bias", "visual_projection.weight")
    files.write_tensors(tmp_path / "model.safetensors", tensors | {name: torch.ones(3) for name in idle})
    found = read_tower(tmp_path).state_dict()
    assert all(torch.equal(found[key], value) for key, value in known.state_dict().items())


def test_folders_without_safetensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no config.json in it"):
        read_tower(tmp_path)
    text_model().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FormatError, match=r"pytorch_model.bin is a pickle, which can run code"):
        read_tower(tmp_path)
