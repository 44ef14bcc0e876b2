"""The reader of scenes: where it finds things, what it cuts out, its file, and a fit that goes on where it was."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from sfumato.errors import FormatError

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import reader

    return reader


@pytest.fixture
def reader_loss(reader: ModuleType) -> ModuleType:
    import reader_loss

    return reader_loss


def batch(reader_loss: ModuleType, *squares: tuple[float, float, float, bool]):
    truths = [reader_loss.Truth((0, 1, reader_loss.UNKNOWN), worn, x, y, side, worn) for x, y, side, worn in squares]
    return reader_loss.Batch.of_examples([(np.zeros((128, 128, 3), np.uint8), truths)])


def test_what_the_maps_are_taught_is_found_in_them(reader: ModuleType, reader_loss: ModuleType) -> None:
    squares = [(-0.51, 0.3, 0.5, False), (0.77, -0.9, 0.25, False), (-0.5, 0.28, 0.2, True)]
    own = batch(reader_loss, *squares)
    maps = torch.zeros(1, len(reader.KINDS), reader.HEAD, reader.CELLS, reader.CELLS)
    maps[:, :, 0] = reader_loss.heat(own).clamp(1e-4, 1 - 1e-4).logit()
    centre, cell = reader_loss.cells(own.squares)
    for place, (kind, (column, row)) in enumerate(zip(own.kind, cell, strict=True)):
        maps[0, kind, 1:3, row, column] = centre[place] - cell[place] - 0.5
        maps[0, kind, 3, row, column] = own.squares[place, 2].log()
        maps[0, kind, 4, row, column] = 1 if own.covered[place] else -1
    of, kind, found, covered = reader.found(maps, 0.5)
    assert of.tolist() == [0, 0, 0]
    read = sorted(zip(kind.tolist(), found.tolist(), covered.tolist(), strict=True))
    assert [(worn, hidden) for worn, _, hidden in read] == [(0, False), (0, False), (1, True)]
    torch.testing.assert_close(torch.tensor([at for _, at, _ in read]), own.squares)


def test_the_loss_falls_as_the_maps_come_nearer(reader: ModuleType, reader_loss: ModuleType) -> None:
    own = batch(reader_loss, (0.1, 0.1, 0.5, False))
    right = reader_loss.heat(own).clamp(1e-3, 1 - 1e-3).logit()
    losses = []
    for share in (0.0, 0.5, 1.0):
        maps = torch.zeros(1, len(reader.KINDS), reader.HEAD, reader.CELLS, reader.CELLS)
        maps[:, :, 0] = share * right
        losses.append(reader_loss.found_loss(maps, own).item())
    assert losses == sorted(losses, reverse=True)


def test_a_square_is_cut_out(reader: ModuleType) -> None:
    pictures = -torch.ones(2, 3, 128, 128)
    pictures[1, :, 32:64, 64:96] = 1
    square = torch.tensor([[0.25, -0.25, 0.25 / reader.MARGIN]])
    cut = reader.cut_out(pictures, torch.tensor([1]), square)
    assert cut.shape == (1, 3, reader.CROP, reader.CROP)
    assert cut[..., 1:-1, 1:-1].min() == 1
    wider = reader.cut_out(pictures, torch.tensor([1]), square * torch.tensor([[1, 1, 2]]))
    assert (wider > 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_a_file_reads_as_what_was_saved(reader: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SURE", 0.01)
    torch.manual_seed(0)
    own = reader.Reader(["cat", "hat"], ["hat"], ["red"], ["flat style"]).eval()
    own.save(tmp_path / "reader.safetensors")
    again = reader.Reader.load(tmp_path / "reader.safetensors")
    pictures = torch.rand(2, 3, 128, 128) * 2 - 1
    assert (again.words, again.worn, again.colours) == (("cat", "hat"), ("hat",), ("red",))
    torch.testing.assert_close(own.features(pictures), again.features(pictures), atol=1e-3, rtol=0)
    read = again.read(pictures)
    assert any(read)
    assert all(thing.word == "hat" for one in read for thing in one if thing.worn)
    (tmp_path / "other.safetensors").write_bytes(b"what else")
    with pytest.raises(FormatError):
        reader.Reader.load(tmp_path / "other.safetensors")


def test_squares_that_are_nearly_the_same_overlap(reader: ModuleType) -> None:
    def square(x: float, y: float, side: float):
        return reader.Thing("cat", "red", "flat style", False, x, y, side, False)

    assert reader.overlap(square(0, 0, 0.5), square(0, 0, 0.5)) == 1
    assert reader.overlap(square(0, 0, 0.5), square(0.1, 0, 0.25)) == pytest.approx(0.25), "within it"
    assert reader.overlap(square(0, 0, 0.5), square(0.5, 0, 0.5)) == pytest.approx(1 / 3), "half of each"
    assert reader.overlap(square(0, 0, 0.5), square(0, 1.1, 0.5)) == 0


def test_nothing_is_found_in_an_empty_map(reader: ModuleType) -> None:
    maps = torch.full((3, len(reader.KINDS), reader.HEAD, reader.CELLS, reader.CELLS), -9.0)
    assert all(len(part) == 0 for part in reader.found(maps, 0.3))


def test_what_is_not_known_is_not_taught(reader_loss: ModuleType) -> None:
    own = batch(reader_loss, (0.1, 0.1, 0.5, False))
    answers = [torch.randn(1, size, requires_grad=True) for size in (3, 2, 5)]
    reader_loss.named_loss(answers, own).backward()
    assert answers[0].grad is not None
    assert answers[1].grad is not None
    assert answers[2].grad is None


def test_a_fit_that_was_stopped_goes_on_as_if_it_had_not_been(
    reader: ModuleType, reader_loss: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps, and one and one; of scenes of a square, so that no data are needed."""
    import fit_reader

    monkeypatch.setattr(fit_reader, "Things", lambda file: None)
    monkeypatch.setattr(fit_reader.Fit, "_made", lambda fit, number: batch(reader_loss, (0.1, 0.1, 0.5, False)))
    whole, first, second = (fit_reader.Fit(tmp_path, steps=4) for _ in range(3))
    whole.once()
    whole.once()
    first.once()
    first.save(tmp_path / "checkpoint.safetensors")
    second.load(tmp_path / "checkpoint.safetensors")
    second.once()
    assert second.step == 2
    for name, tensor in whole.average.items():
        assert torch.equal(tensor, second.average[name]), name
    second.words = ["other"]
    with pytest.raises(FormatError, match="other words"):
        second.load(tmp_path / "checkpoint.safetensors")
