"""A system of tokens: drawn with, saved, loaded, and trained on a language that can be listed."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sfumato.cli import app
from sfumato.codec import Identity
from sfumato.condition import Nothing
from sfumato.core.noise import Noise
from sfumato.core.process import Masking, TokenProcess, Uniform
from sfumato.core.schedule import Flow
from sfumato.denoise import TokenDenoiser
from sfumato.errors import FormatError, InputError
from sfumato.loss import TokenVLB
from sfumato.media import Text
from sfumato.media.text import fit_text_tokenizer
from sfumato.nn.text.token_transformer import TokenTransformer
from sfumato.sample import DDIM, TokenAncestral
from sfumato.system import System
from sfumato.system.settings import Settings

TEXT = Text(fit_text_tokenizer((), 258))  # a token is a byte
LANGUAGE = {"aba": 0.5, "bab": 0.3, "abb": 0.2}


def system(process: TokenProcess, seed: int = 0) -> System:
    torch.manual_seed(seed)
    network = TokenTransformer(TEXT.vocabulary, width=32, depth=2, head_width=16)
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    denoiser = TokenDenoiser(network, Flow(), process)
    return System(Identity(TEXT), Nothing(), denoiser, Settings((3,), TokenAncestral(), steps=8))


PROCESSES = [Masking(TEXT.mask_id), Uniform(TEXT.vocabulary)]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)
def test_a_system_of_tokens_is_saved_and_draws_the_same(process: TokenProcess, tmp_path: Path) -> None:
    own = system(process)
    drawn = own.generate(seeds=range(6))
    folder = own.save(tmp_path / "own")
    table = json.loads((folder / "system.json").read_text())
    assert table["process"]["kind"] == type(process).__name__.lower() and "parameterization" not in table
    again = System.load(folder, "cpu", "float32")
    assert again.process == process and again.fingerprint() == own.fingerprint()
    assert torch.equal(again.generate(seeds=range(6)).data, drawn.data) and drawn.data.dtype == torch.int64
    assert torch.equal(again.generate(seeds=[4], batch=1).data[0], drawn.data[4]), "a sample is its seed's alone"
    assert drawn.data.shape == (6, 3) and not bool((drawn.data == TEXT.mask_id).any() and process == PROCESSES[0])


def test_texts_are_written_beside_their_records(tmp_path: Path) -> None:
    folder = system(PROCESSES[0]).save(tmp_path / "own")
    result = CliRunner().invoke(app, ["generate", "--model", str(folder), "-n", "2", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    texts = sorted((tmp_path / "out").rglob("*.txt"))
    assert len(texts) == 2 and TEXT.read_record(texts[0])["sampler"]["kind"] == "token-ancestral"


def test_a_system_of_tokens_refuses_samplers_of_numbers() -> None:
    with pytest.raises(InputError, match="draws numbers, and this denoiser predicts tokens: take token-ancestral"):
        system(PROCESSES[0]).generate(seeds=[0], sampler=DDIM())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process": {"kind": "gaussian"}}, "'parameterization' is missing"),
        ({"process": {"kind": "masking", "mask_id": 258}}, "mask_id must be one of the 258 tokens"),
        ({"process": {"kind": "uniform", "k": 9}}, "a uniform process of 9 tokens"),
        (
            {"codec": {"kind": "identity", "medium": {"kind": "image", "channels": 1}}},
            "size must be",
        ),
    ],
)
def test_parts_that_are_not_all_of_tokens_are_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = system(PROCESSES[0]).save(tmp_path / "own") / "system.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(FormatError, match=message):
        System.load(tmp_path / "own")


@pytest.mark.release
@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)
def test_what_is_learned_of_a_language_is_drawn_from_it(process: TokenProcess) -> None:
    """Sentences of the language, and each as often as in the data, within sampling error and what is yet to learn."""
    own = system(process)
    sentences = torch.tensor([TEXT.ids(text) for text in LANGUAGE])
    shares = torch.tensor([*LANGUAGE.values()])
    stream = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(own.denoiser.parameters(), lr=3e-3)
    for step in range(600):
        x_0 = sentences[torch.multinomial(shares, 64, replacement=True, generator=stream)]
        level = Flow()((torch.rand(1, generator=stream) + torch.arange(64) / 64) % 1)
        x_t = process.corrupt(x_0, level, process.noise(Noise(range(64 * step, 64 * step + 64)).streams, 3))
        loss = TokenVLB()(own.denoiser(x_t, level), x_0, Flow()).mean()  # pyright: ignore[reportArgumentType]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    drawn = own.generate(seeds=range(500), steps=32).data
    found = Counter(TEXT.text(one) for one in drawn)
    assert sum(found[text] for text in LANGUAGE) > 450
    for text, share in LANGUAGE.items():
        assert found[text] / len(drawn) == pytest.approx(share, abs=0.08), found
