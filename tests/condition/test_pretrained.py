"""Text encoders of transformers: small ones with random weights, saved and opened."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_encoder import backend
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from sfumato import files
from sfumato.condition import EncodedText, Pretrained
from sfumato.errors import FormatError, InputError, NotFoundError

PROMPTS = ["a cat in a red hat", "", "a dog"]


def clip() -> Any:
    marks: Any = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    sizes: Any = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(vocab_size=14, max_position_embeddings=20, **sizes, **marks))


def t5() -> Any:
    return T5EncoderModel(T5Config(vocab_size=14, d_model=12, d_kv=8, d_ff=24, num_layers=2, num_heads=2))


def bert(pooler: bool = True) -> Any:
    sizes: Any = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertModel(BertConfig(vocab_size=14, max_position_embeddings=18, **sizes), add_pooling_layer=pooler)


def saved(model: Any, folder: Path) -> Path:
    """The model with weights far from their start, as transformers saves it, beside the tokenizer."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.eval().save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend(), pad_token="[PAD]", model_max_length=24)
    tokenizer.save_pretrained(folder)
    return folder


def scaled(vector: Tensor) -> Tensor:
    return vector / vector.square().mean().sqrt()


@pytest.mark.parametrize(
    ("make", "sizes", "pools"),
    [(clip, (16, 16, 20), True), (t5, (12, 12, 24), False), (bert, (16, 16, 18), True)],
)
def test_the_vectors_are_those_of_transformers(make: Any, sizes: Any, pools: bool, tmp_path: Path) -> None:
    model = make()
    encoder = Pretrained.open(str(saved(model, tmp_path)))
    assert (encoder.width, encoder.pooled, encoder.longest) == sizes
    assert encoder.sha256 == files.sha256(tmp_path / "model.safetensors")
    condition = EncodedText(encoder, 16)(PROMPTS)
    assert condition.context is not None and condition.vector is not None and condition.mask is not None
    assert condition.mask.sum(1).tolist() == [8, 2, 4] and (condition.context[~condition.mask] == 0).all()
    for row, count in enumerate([8, 2, 4]):
        ids = torch.tensor([backend().encode(PROMPTS[row]).ids])
        with torch.no_grad():
            alone = model(input_ids=ids)
        assert (condition.context[row, :count] - alone.last_hidden_state[0]).abs().max() < 1e-5
        wanted = alone.pooler_output[0] if pools else alone.last_hidden_state[0].mean(0)
        assert (condition.vector[row] - scaled(wanted)).abs().max() < 1e-5
    assert not condition.context.requires_grad and condition.context.dtype == torch.float32


def test_a_pooler_that_was_not_saved_is_not_made_up(tmp_path: Path) -> None:
    condition = EncodedText(Pretrained.open(str(saved(bert(pooler=False), tmp_path))), 16)(PROMPTS)
    assert condition.context is not None and condition.vector is not None
    assert (condition.vector[1] - scaled(condition.context[1, :2].mean(0))).abs().max() < 1e-6


def test_sizes_are_known_without_the_weights_and_other_weights_are_refused(tmp_path: Path) -> None:
    opened = Pretrained.open(str(saved(t5(), tmp_path)))
    again = Pretrained(opened.name, 12, 12, 24, opened.sha256, opened.tokenizer_sha256)
    assert again == opened and EncodedText(again, 8).widths == {"vector": 12, "context": 12}
    one, other = EncodedText(opened, 8)(PROMPTS).context, EncodedText(again, 8)(PROMPTS).context
    assert one is not None and other is not None and torch.equal(one, other)

    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text().replace('"dog"', '"god"'))
    with pytest.raises(FormatError, match="tokenizer.json.* changed since the system was made: the SHA-256 should be"):
        EncodedText(Pretrained(opened.name, 12, 12, 24, opened.sha256, opened.tokenizer_sha256), 8)(PROMPTS)
    saved(bert(), tmp_path)
    with pytest.raises(FormatError, match=r"model.safetensors in .* changed .* should be .*, and is [0-9a-f]{64};"):
        EncodedText(Pretrained(opened.name, 12, 12, 24, opened.sha256), 8)(PROMPTS)
    assert Pretrained.open(opened.name).fingerprint() != opened.fingerprint()
    assert Pretrained(opened.name, 1, 1, 9).fingerprint() == Pretrained.open(opened.name).fingerprint()


def test_sizes_that_are_not_its_own_are_refused(tmp_path: Path) -> None:
    name = str(saved(t5(), tmp_path))
    with pytest.raises(
        FormatError, match="gives vectors of 12 for a token and 12 for a text, and 16 and 12 were expected"
    ):
        EncodedText(Pretrained(name, 16, 12, 24), 8)(PROMPTS)
    with pytest.raises(InputError, match="length must be from 4 to 24"):
        EncodedText(Pretrained(name, 12, 12, 24), 32)


def test_what_is_no_text_encoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        NotFoundError, match="there is no folder nobody/nothing, and the Hub gives no such text encoder"
    ):
        Pretrained.open("nobody/nothing")
    saved(t5(), tmp_path / "t5").joinpath("model.safetensors").rename(tmp_path / "t5" / "pytorch_model.bin")
    with pytest.raises(FormatError, match=r"pytorch_model.bin, could run code and are not read"):
        Pretrained.open(str(tmp_path / "t5"))
    saved(bert(), tmp_path / "bert").joinpath("config.json").write_text('{"model_type": "teapot"}')
    with pytest.raises(FormatError, match="no text encoder that transformers reads"):
        Pretrained.open(str(tmp_path / "bert"))


def test_weights_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    saved(t5(), tmp_path)
    tensors, _ = files.read_tensors(tmp_path / "model.safetensors")
    name = next(name for name in tensors if "DenseReluDense.wi" in name)
    files.write_tensors(tmp_path / "model.safetensors", {key: tensors[key] for key in tensors if key != name})
    with pytest.raises(FormatError, match=f"is not whole: '{name}' is missing from its weights"):
        Pretrained.open(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "words", "text"),
    [
        (
            {"model_type": "odd", "auto_map": {"AutoConfig": "own.C", "AutoModelForTextEncoding": "own.M"}},
            {},
            "no text encoder that transformers reads: .*custom code",
        ),
        ({"auto_map": {"AutoModelForTextEncoding": "own.M"}}, {"auto_map": {"AutoTokenizer": ["own.T", "own.T"]}}, ""),
        ({"model_type": "odd"}, {"tokenizer_class": "Odd", "auto_map": ["own.T", "own.T"]}, "no text encoder that"),
        ({"attn_implementation": "someone/kernels"}, {}, "asks for code by attn_implementation, 'someone/kernels'"),
        ({"text_config": {"attn_implementation": "a/b"}}, {}, "asks for code by attn_implementation"),
    ],
)
def test_no_code_of_its_own_runs_and_nothing_is_asked(
    config: dict[str, Any], words: dict[str, Any], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(bert(), tmp_path / "bert")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')")
    for name, change in (("config.json", config), ("tokenizer_config.json", words)):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    def asked(*args: object) -> str:
        raise AssertionError("nothing is asked")

    monkeypatch.setattr("builtins.input", asked)
    if text:
        with pytest.raises(FormatError, match=text):
            Pretrained.open(str(folder))
    else:  # transformers has a class of its own for it, and reads by that
        assert Pretrained.open(str(folder)).width == 16
    assert not (tmp_path / "RAN").exists()


def test_what_adapts_a_model_that_is_elsewhere_is_refused(tmp_path: Path) -> None:
    (saved(bert(), tmp_path / "bert") / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    with pytest.raises(FormatError, match="adapts a model that is elsewhere"):
        Pretrained.open(str(tmp_path / "bert"))


@pytest.mark.parametrize("weights", [b"\x80\x04K\x01.", b"", b"\x10" + bytes(50)], ids=["pickle", "empty", "bytes"])
def test_weights_that_are_no_safetensors_are_refused(weights: bytes, tmp_path: Path) -> None:
    (saved(bert(), tmp_path / "bert") / "model.safetensors").write_bytes(weights)
    with pytest.raises(FormatError, match="no text encoder that transformers reads"):
        Pretrained.open(str(tmp_path / "bert"))


def test_an_error_of_transformers_is_one_short_line(tmp_path: Path) -> None:
    path = saved(bert(), tmp_path / "bert") / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_size": "x" * 5000}))
    with pytest.raises(FormatError) as caught:
        Pretrained.open(str(tmp_path / "bert"))
    assert "x" * 101 not in str(caught.value) and "\n" not in str(caught.value)


def test_the_working_folder_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(bert(), tmp_path / "bert")
    monkeypatch.chdir(tmp_path)
    one = Pretrained.open("bert")
    again = Pretrained(
        "bert", one.width, one.pooled, one.longest, one.sha256, one.tokenizer_sha256
    )  # as it is recorded
    monkeypatch.chdir("/")
    assert one.name == str(tmp_path / "bert")
    assert again([[1, 2]]).context is not None
