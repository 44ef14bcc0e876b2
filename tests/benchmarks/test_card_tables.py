"""The tables of a model card: each below its own line, and all that stands beside them stays."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import EpsPrediction
from sfumato.core.schedule import Linear
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.media import Image
from sfumato.nn.image.unet import UNet
from sfumato.system import Cascade, Settings, System, Upsample

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OTHER = "<!-- the rest is written by benchmarks/other.py -->"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import model_card
    import report

    return SimpleNamespace(card=model_card, report=report)


def system(side: int, concat: int = 0) -> System:
    torch.manual_seed(side)
    labels = Labels(("cat", "hen"))
    network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), concat=concat, **labels.widths)
    settings = Settings((side, side), steps=2)
    about = {"recipe": "small", "pictures seen": 1234}
    return System(Identity(Image(1)), labels, Denoiser(network, Linear(), EpsPrediction()), settings, about)


@pytest.fixture
def folder(tmp_path: Path, modules: SimpleNamespace) -> Path:
    folder = Cascade([system(4), system(8, 1)], [Upsample()]).save(tmp_path / "pair")
    card = f"# Pair\n\n## Parts\n\n{modules.card.MARK}\n\nold\n\n## Data\n\nmine\n\n{OTHER}\n"
    (folder / "README.md").write_text(card)
    return folder


def test_a_report_takes_the_place_of_the_one_before_and_of_nothing_else(
    modules: SimpleNamespace, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    for report in ("first", "second"):
        modules.report.put(page, OTHER, report)
        assert page.read_text() == f"{OTHER}\n\n{report}\n"
    page.write_text(f"# A\n\n{OTHER}\n\nold\n\n## B\n\nprose\n")
    for report in ("first", "| a |\n| --- |"):
        modules.report.put(page, OTHER, report)
        assert page.read_text() == f"# A\n\n{OTHER}\n\n{report}\n\n## B\n\nprose\n"


def test_a_card_gets_its_tables(modules: SimpleNamespace, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"Prose.\n\n{OTHER}\n\n| figures |\n\n## Further\n\nprose\n")
    modules.card.main([str(folder), str(tmp_path / "page.md")])
    text = (folder / "README.md").read_text()
    own = Cascade.load(folder, "cpu").fingerprint()
    assert text.startswith(f"# Pair\n\n## Parts\n\n{modules.card.MARK}\n\nSystem `{own}`:\n\n| stage | network | ")
    for words in ("| 0 | unet | ", "| 1 | unet | ", "pictures of 8×8", "2 steps | 0.0 M | ", "| 1,234 pictures |"):
        assert words in text, words
    assert "old" not in text
    assert text.endswith(f"\n\n## Data\n\nmine\n\n{OTHER}\n\n| figures |\n")
    modules.card.main([str(folder)])
    assert (folder / "README.md").read_text() == text, "what no page has stays"


def test_a_table_without_a_line_for_it_is_refused(modules: SimpleNamespace, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"{OTHER.replace('other', 'another')}\n\nfigures\n")
    before = (folder / "README.md").read_text()
    with pytest.raises(InputError, match=r"README.md has no line .*another.py -->: write it below the heading"):
        modules.card.main([str(folder), str(tmp_path / "page.md")])
    assert (folder / "README.md").read_text() == before
