"""Embeddings as files, as stored numbers and as heat maps."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from torch import Tensor

from media.records import RECORDS
from sfumato.errors import DataError, FormatError, InputError, NonFiniteError, ShapeError
from sfumato.files import read_tensors
from sfumato.media import Embedding
from sfumato.system.samples import Samples, read_record

FIVE = np.linspace(-2, 2, 5, dtype=np.float32)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_vector_and_its_record_come_back(record: dict[str, Any], tmp_path: Path) -> None:
    path = Embedding(5).write(torch.from_numpy(FIVE), record, tmp_path / "a")
    assert path.name == "a.safetensors" and read_record(path) == record
    np.testing.assert_array_equal(Embedding(5).decode(path.read_bytes(), "a"), FIVE)
    tensors, about = read_tensors(path)
    assert torch.equal(tensors["embedding"], torch.from_numpy(FIVE)) and about == record, "and the hash holds"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_other_tools_are_decoded(dtype: Any) -> None:
    for data in (npy(FIVE.astype(dtype)), save({"x": FIVE.astype(dtype)})):
        found = Embedding(5).decode(data, "a", (5,))
        assert found.dtype == np.float32 and found.tolist() == FIVE.tolist()
    assert torch.equal(Embedding(5).floats(torch.from_numpy(FIVE)), torch.from_numpy(FIVE))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "expected an embedding, came"),
        (b"hello", "expected an embedding, came"),
        (npy(FIVE)[:-1], "expected an embedding, came"),
        (npy(np.array([{}])), "expected an embedding, came .*allow_pickle=False"),
        (save({"x": FIVE, "y": FIVE}), "came a file of 2 tensors"),
        (b"\xff" * 8 + b"{}", "expected an embedding, came"),
        (npy(FIVE[:4]), r"expected \[5\] of real numbers, came \[4\] of float32"),
        (npy(np.arange(5)), r"expected \[5\] of real numbers, came \[5\] of int64"),
        (npy(np.array([0, 0, 0, 0, np.inf])), "expected finite numbers"),
    ],
    ids=["nothing", "text", "cut", "pickle", "two", "header", "width", "whole", "infinity"],
)
def test_what_is_no_embedding_is_an_error_that_names_it(data: bytes, text: str) -> None:
    with pytest.raises(DataError, match=f"^a.npy: .*{text}.*; replace it or take it out$"):
        Embedding(5).decode(data, "a.npy")


def test_a_file_of_anothers_has_no_record(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(save({"x": FIVE}))
    with pytest.raises(FormatError, match="carries no record of Sfumato's: .* or was edited since$"):
        read_record(tmp_path / "a.safetensors")
    (tmp_path / "a.npy").write_bytes(npy(FIVE))
    with pytest.raises(FormatError, match="is not a whole safetensors file"):
        read_record(tmp_path / "a.npy")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_number_that_is_not_finite_is_refused(bad: float, tmp_path: Path) -> None:
    x = torch.tensor([0.0, bad])
    for attempt in (lambda: Embedding(2).write(x, {}, tmp_path / "a"), lambda: Embedding(2).preview(x[None])):
        with pytest.raises(NonFiniteError, match="an embedding holds a number that is not finite"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_sizes_are_the_width() -> None:
    medium = Embedding(512)
    assert medium.shape(medium.check_size([np.int64(512)])) == (512,) == medium.parse_size("512")
    assert Embedding(1).preview(torch.ones(1, 1)).size == (68, 68)
    assert medium.channels == 512 and medium.size_text((512,)) == "512 numbers"
    for attempt in (
        lambda: medium.check_size((511,)),
        lambda: medium.parse_size("511"),
        lambda: medium.check_size(512),
    ):
        with pytest.raises(InputError, match="size must be"):
            attempt()
    with pytest.raises(InputError, match="a size reads WIDTH, as in 512, not 'x'"):
        medium.parse_size("x")
    with pytest.raises(InputError, match="width must be a whole number from 1"):
        Embedding(0)


@pytest.mark.parametrize("x", [torch.zeros(3), torch.zeros(1, 5), torch.zeros(5).long()], ids=str)
def test_a_tensor_of_another_shape_or_kind_is_refused(x: Tensor, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"an embedding is \[5\] of real numbers, not"):
        Embedding(5).write(x, {}, tmp_path / "a")


@pytest.mark.parametrize("width", [2, 5, 4096, 5000])
def test_heat_maps_run_from_dark_to_bright(width: int) -> None:
    x = torch.linspace(-3, 3, width)
    page = np.asarray(Embedding(width).preview(torch.stack([x, 0 * x]), columns=2)).astype(int).sum(-1)
    rising, zero = page[2, 2], page[2, page.shape[1] // 2 + 2]
    assert rising == 4 and zero == 357 and page.max() > rising, "the least is dark, zero in the middle"
    assert page.shape[1] >= 100, "and a small one is enlarged"


def test_a_notebook_shows_heat_maps(tmp_path: Path) -> None:
    drawn = Samples(torch.randn(2, 7), Embedding(7), ({"seed": 0}, {"seed": 1}))
    assert drawn._repr_html_().count("<img") == 2
    assert [path.name for path in drawn.save(tmp_path)] == ["0.safetensors", "1.safetensors"]
