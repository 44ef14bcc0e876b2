"""The text encoder that ships: its numbers, and what is done where it is changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sfumato.condition import EncodedText, MiniLM
from sfumato.condition.encoders import minilm
from sfumato.condition.encoders.int8 import GROUP, quantized, restored
from sfumato.errors import FormatError, InputError
from sfumato.parts import CONDITIONERS

PROMPTS = [
    "a cat in a hat",
    "",
    "naïve façades",
    "кошка",
    "猫が好き",
    "[MASK]",
    "an unpronounceable pseudorandomness, " * 20,
]


def test_its_widths_are_known_without_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "folder", lambda: pytest.fail("nothing should be read"))
    assert EncodedText(MiniLM()).widths == {"vector": 384, "context": 384}
    assert MiniLM() == MiniLM() and EncodedText() == EncodedText(MiniLM())


def test_a_system_hangs_on_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CONDITIONERS.dump(EncodedText())["encoder"] == {"kind": "minilm", "sha256": minilm.SHIPPED}
    assert minilm.SHIPPED in EncodedText().fingerprint()
    with pytest.raises(InputError, match="minilm was another when this was made, of the SHA-256 'abc', and is"):
        CONDITIONERS.load({"kind": "text", "encoder": {"kind": "minilm", "sha256": "abc"}})


def test_it_is_small_enough_to_travel_with_the_code() -> None:
    sizes = {path.name: path.stat().st_size for path in minilm.folder().iterdir()}
    assert minilm.SHA256.keys() <= sizes.keys() and {"README.md", "LICENSE"} <= sizes.keys()
    assert sum(sizes.values()) <= 25e6 and max(sizes.values()) <= 16 * 2**20


@pytest.mark.parametrize("name", minilm.SHA256)
def test_one_changed_bit_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    for file in minilm.SHA256:
        shutil.copy(minilm.folder() / file, tmp_path)
    monkeypatch.setattr(minilm, "folder", lambda: tmp_path)
    assert minilm.verified(name) == tmp_path / name
    with open(tmp_path / name, "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    with pytest.raises(FormatError, match=f"{name} is damaged.*{minilm.SHA256[name]}.*--force-reinstall"):
        _ = MiniLM().tokenizer if name == minilm.TOKENIZER_FILE else MiniLM()._network


def test_a_weight_comes_back_within_half_a_step_of_its_group() -> None:
    given = {"a": torch.randn(6, 2 * GROUP, generator=torch.Generator().manual_seed(0)), "b": torch.zeros(2, GROUP)}
    given["a"][0, :GROUP] *= 1000  # which costs its neighbours nothing
    given |= {"bias": torch.ones(5), "odd": torch.ones(2, 3)}
    small = quantized(given)
    found = restored(small)
    assert small["a"].dtype == torch.int8 and small["a.scale"].shape == (6, 2) and found.keys() == given.keys()
    step = given["a"].unflatten(1, (-1, GROUP)).abs().amax(-1) / 127
    assert ((found["a"] - given["a"]).unflatten(1, (-1, GROUP)).abs() <= 0.5001 * step[..., None]).all()
    assert all(torch.equal(found[name], given[name]) for name in ("b", "bias", "odd"))
    with pytest.raises(FormatError, match="'a' is in int8, and its scales"):
        restored({"a": small["a"]})


def test_similarities_are_those_published() -> None:
    # The example of the Hub's documentation of sentence similarity, which names this model
    sentences = [f"{start} happy {end}" for start, end in [("That is a", "person"), ("That is a", "dog")]]
    vector = EncodedText()([*sentences, "That is a very happy person", "Today is a sunny day"]).vector
    assert vector is not None and (vector.norm(dim=1) - 384**0.5).abs().max() < 1e-5
    similar = (vector[1:] @ vector[0] / 384).tolist()
    assert similar == pytest.approx([0.6945773, 0.9429151, 0.2568761], abs=4e-3)  # of the weights before int8


def test_transformers_gives_the_same() -> None:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    model = BertModel(BertConfig(**sizes), add_pooling_layer=False).eval()
    small = {
        name: value
        for file in (minilm.WORDS_FILE, minilm.LAYERS_FILE)
        for name, value in load_file(minilm.folder() / file).items()
    }
    model.load_state_dict(restored(small))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(minilm.folder() / minilm.TOKENIZER_FILE), pad_token="[PAD]")
    given = tokenizer(PROMPTS, truncation=True, max_length=32, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**given).last_hidden_state
    condition = EncodedText()(PROMPTS)
    assert condition.context is not None and condition.mask is not None and condition.vector is not None
    assert torch.equal(condition.mask, given["attention_mask"].bool()) and condition.mask.shape == (len(PROMPTS), 32)
    assert (condition.context - states)[condition.mask].abs().max() < 1e-5
    counts = given["attention_mask"][..., None]
    pooled = torch.nn.functional.normalize((states * counts).sum(1) / counts.sum(1))
    assert (condition.vector - pooled * 384**0.5).abs().max() < 1e-5


def test_what_it_gives_may_be_trained_on() -> None:
    condition = EncodedText()(["a cat"])
    assert (
        condition.context is not None and not condition.context.requires_grad and not condition.context.is_inference()
    )
    weight = torch.ones(384, requires_grad=True)
    (condition.context @ weight).sum().backward()
    assert weight.grad is not None and weight.grad.any()


def test_encoding_loads_no_large_library() -> None:
    large = ("transformers", "huggingface_hub.file_download", "torch._dynamo")
    code = (
        "import sys; from sfumato.condition import EncodedText; EncodedText()(['a cat']);"
        f" print([name for name in {large} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
