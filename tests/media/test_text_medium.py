"""Texts as token ids, as files with a record beside them, and as pages."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from media.records import RECORDS
from sfumato.errors import DataError, FormatError, InputError, ShapeError
from sfumato.media import Text
from sfumato.media.metadata import TRAINED
from sfumato.media.text import fit_text_tokenizer
from sfumato.parts import MEDIA
from sfumato.system.samples import Samples, read_record

LINES = ["the cat sat on the mat.", "the dog ate the cat."]
TEXT = Text(fit_text_tokenizer(LINES * 5, 270))
BYTES = Text(fit_text_tokenizer((), 258))
TEXTS = [
    *LINES,
    "",
    "a",
    " two  spaces\ttab\n\nlines\r\n",
    "<pad> and <mask>",
    "Grüße, 猫, עברית, 👩‍👩‍👧 \U0010ffff e\u0301 ﬁ \0",
]


def padded(*texts: str, length: int = 8) -> Tensor:
    rows = [(TEXT.ids(text) + [TEXT.pad_id] * length)[:length] for text in texts]
    return torch.tensor(rows)


@pytest.mark.parametrize("medium", [TEXT, BYTES], ids=["pairs", "bytes"])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_text_comes_back(medium: Text, text: str) -> None:
    ids = medium.ids(text)
    assert medium.text(torch.tensor([*ids, medium.pad_id, 5])) == text, "it ends at the first pad"
    assert all(1 < i < medium.vocabulary for i in ids), "and what it spells like <pad> is text"


def test_a_vocabulary_of_bytes_has_a_token_a_byte() -> None:
    assert BYTES.vocabulary == 258 and len(BYTES.ids("Grüße")) == 7
    assert len(TEXT.ids(LINES[0])) < len(LINES[0]), "pairs that are often seen are one token"


def test_masks_are_spelled_and_broken_bytes_replaced() -> None:
    (ids,) = padded("a", length=1).tolist()
    assert TEXT.text(torch.tensor([TEXT.mask_id, *ids, TEXT.mask_id])) == "<mask>a<mask>"
    assert TEXT.text(torch.tensor(TEXT.ids("猫")[:1])) == "\ufffd"


@pytest.mark.parametrize("ids", [[-1], [270], [2**40]])
def test_ids_beyond_the_vocabulary_are_refused(ids: list[int]) -> None:
    with pytest.raises(InputError, match="token ids are from 0 to 269, not"):
        TEXT.text(torch.tensor(ids))


@pytest.mark.parametrize("datum", [torch.zeros(3), torch.zeros(1, 3).long(), torch.zeros(0).long()], ids=str)
def test_a_tensor_that_is_no_text_is_refused(datum: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"a text is \[length\] of whole numbers, not"):
        TEXT.text(datum)


# Data -----------------------------------------------------------------------------------------------------------------


def test_a_file_is_cut_or_padded_to_its_size() -> None:
    data = b"\xef\xbb\xbf" + LINES[0].encode()
    whole = TEXT.decode(data, "a")
    assert whole.dtype == np.int64 and whole.tolist() == TEXT.ids(LINES[0]), "the mark of UTF-8 is no text"
    assert TEXT.decode(data, "a", (3,)).tolist() == whole[:3].tolist()
    assert TEXT.decode(data, "a", (len(whole) + 2,)).tolist() == [*whole, 0, 0]
    assert torch.equal(TEXT.floats(torch.from_numpy(whole)), torch.from_numpy(whole))


@pytest.mark.parametrize(("data", "text"), [(b"", "came an empty file"), (b"\xff\xfea", "came other bytes")])
def test_what_is_no_text_is_an_error_that_names_it(data: bytes, text: str) -> None:
    with pytest.raises(DataError, match=f"^a.txt: expected a text.*{text}.* take it out$"):
        TEXT.decode(data, "a.txt")


def test_sizes_are_tokens() -> None:
    assert TEXT.parse_size("256") == (256,) == TEXT.check_size(np.array([256]))
    assert TEXT.shape((256,)) == (256,) and TEXT.size_text((256,)) == "256 tokens"
    for wrong in ("", "-1", "2.5", "٣", "64x64"):
        with pytest.raises(InputError, match="a size reads TOKENS, as in 256, not"):
            TEXT.parse_size(wrong)
    for size in ((0,), (2**20 + 1,), (2, 2), (True,)):
        with pytest.raises(ShapeError, match="size must be"):
            TEXT.check_size(size)


# The tokenizer --------------------------------------------------------------------------------------------------------


SPLIT = {"type": "Split", "pattern": {"Regex": "(a*)*b"}, "behavior": "Removed", "invert": False}


def hostile(change: dict[str, Any]) -> str:
    return json.dumps(json.loads(TEXT.tokenizer) | change)


@pytest.mark.parametrize(
    "tokenizer",
    [
        "",
        "{}",
        "[" * 10**5,
        hostile(
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a*)*b"}, "behavior": "Removed", "invert": False}}
        ),
        hostile({"normalizer": {"type": "Lowercase"}}),
        hostile({"added_tokens": []}),
    ],
    ids=["nothing", "empty", "deep", "regex", "loss", "no special tokens"],
)
def test_a_tokenizer_of_another_make_is_refused(tokenizer: str) -> None:
    with pytest.raises(FormatError, match="tokenizer") as caught:
        Text(tokenizer)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_a_copy_for_another_process_reads_texts_alike() -> None:
    assert pickle.loads(pickle.dumps(TEXT)).ids("<pad>") == TEXT.ids("<pad>") != [TEXT.pad_id]


def test_the_medium_is_its_tokenizer() -> None:
    data = MEDIA.dump(TEXT)
    assert MEDIA.load(json.loads(json.dumps(data))) == TEXT != BYTES
    assert len(repr(TEXT)) < 100 and repr(TEXT) != repr(BYTES)
    with pytest.raises(InputError, match="a vocabulary must hold at least 258 tokens, .* not 257"):
        fit_text_tokenizer((), 257)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_text_stands_alone_in_its_file_and_its_record_beside_it(record: dict[str, Any], tmp_path: Path) -> None:
    path = TEXT.write(torch.tensor(TEXT.ids(TEXTS[4])), record, tmp_path / "a")
    assert path.read_bytes() == TEXTS[4].encode() and read_record(path) == record
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "a.txt.json"]


def test_an_edited_text_has_no_record(tmp_path: Path) -> None:
    path = TEXT.write(padded("a")[0], {"seed": 1}, tmp_path / "a")
    path.write_text("b")
    with pytest.raises(FormatError, match="carries no record of Sfumato's: .* or was edited since$"):
        read_record(path)


@pytest.mark.parametrize("beside", [None, "{}", "[]", "{", '{"sfumato": 1}'])
def test_a_text_of_anothers_has_no_record(beside: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    if beside is not None:
        (tmp_path / "a.txt.json").write_text(beside)
    with pytest.raises(FormatError, match="carries no record of Sfumato's|not valid JSON|should hold a JSON object"):
        read_record(path)


def test_neither_file_is_written_over_another(tmp_path: Path) -> None:
    """The same text from another seed is another sample, with a record of its own."""
    drawn = Samples(padded("a", "a"), TEXT, ({"prompt": "x", "seed": 0},) * 2)
    (tmp_path / "x-0.txt").write_text("mine")
    (tmp_path / "x-0_2.txt.json").write_text("mine")
    assert [path.name for path in drawn.save(tmp_path)] == ["x-0_3.txt", "x-0_3.txt"]
    other = Samples(padded("a"), TEXT, ({"prompt": "x", "seed": 0, "steps": 9},))
    assert [path.name for path in other.save(tmp_path)] == ["x-0_4.txt"]
    assert (tmp_path / "x-0.txt").read_text() == "mine" == (tmp_path / "x-0_2.txt.json").read_text()


def test_a_record_that_comes_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may write between the look and the write; then neither of ours is left half."""
    from sfumato.media import keep as module

    real = module.write_bytes

    def late(path: Path, data: bytes, new: bool = False) -> None:
        if path.name == "a.txt":
            path.write_text("another's")
        real(path, data, new)

    monkeypatch.setattr(module, "write_bytes", late)
    path = TEXT.write(padded("b")[0], {"seed": 1}, tmp_path / "a")
    assert path.name == "a_2.txt" and read_record(path) == {"seed": 1}
    assert (tmp_path / "a.txt").read_text() == "another's" and not (tmp_path / "a.txt.json").exists()


# Pages ----------------------------------------------------------------------------------------------------------------


def test_texts_are_shown_as_pages_of_one_size() -> None:
    long = torch.tensor([(TEXT.ids("word " * 900) + [0] * 5000)[:5000], [*TEXT.ids("a\n\nb"), *[0] * 5000][:5000]])
    page = TEXT.preview(long, columns=2)
    assert page.width == 2 * 362 + 2 and page.height == TEXT.preview(padded(""), columns=1).height
    left, right = np.asarray(page)[:, :362], np.asarray(page)[:, 364:]
    assert (left < 128).sum() > 20 * (right < 128).sum() > 0


def test_a_notebook_shows_texts_as_they_are() -> None:
    drawn = Samples(padded("<b>&", length=9), TEXT, ({"seed": 1},))
    assert "&lt;b&gt;&amp;</pre>" in drawn._repr_html_() and "<b>" not in drawn._repr_html_()


def test_the_metadata_of_a_text_lies_beside_it_or_nowhere(tmp_path: Path) -> None:
    datum, record = torch.tensor(TEXT.ids("a cat")), {"prompt": "secret", "seed": 1}
    for keep in ("full", "source", "none"):
        TEXT.write(datum, record, tmp_path / keep, metadata=keep)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["full.txt", "full.txt.json", "none.txt", "source.txt", "source.txt.json"]
    )
    full, source = (json.loads((tmp_path / f"{keep}.txt.json").read_text()) for keep in ("full", "source"))
    assert source == {"DigitalSourceType": TRAINED, "sha256": full["sha256"]} and full == {"sfumato": record, **source}
    with pytest.raises(FormatError, match="carries no record"):
        read_record(tmp_path / "source.txt")
