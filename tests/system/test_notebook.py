"""What a notebook shows: what a system is, and how far a drawing is; IPython's display stands in for a kernel's."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sfumato import Cascade
from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.media import Image
from sfumato.nn.image.unet import UNet
from sfumato.notebook import NotebookBar, in_notebook
from sfumato.system import Settings, System
from sfumato.system.description import parameters


@pytest.fixture
def system() -> System:
    conditioner = Labels(("<cat>", "dog"))
    inputs: dict[str, Any] = {**conditioner.widths}
    network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), **inputs)
    settings = Settings((8, 4), steps=3, guidance=2.0)
    return System(Identity(Image(1)), conditioner, Denoiser(network, Cosine(), X0Prediction()), settings)


class Kernel:
    """IPython as far as a bar asks for it: keeps what is displayed."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.display = SimpleNamespace(display=self._display)

    def get_ipython(self) -> Any:
        return SimpleNamespace(kernel=self)

    def _display(self, data: dict[str, str], raw: bool, display_id: bool) -> Any:
        assert raw and display_id
        self.shown.append(data["text/html"])
        return SimpleNamespace(update=lambda data, raw: self.shown.append(data["text/html"]))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("sfumato.notebook.DELAY", 0.0)
    monkeypatch.setattr("sfumato.notebook.EVERY", 0.0)
    return kernel


def test_a_system_says_what_it_is_in_a_line(system: System) -> None:
    system.opened = {"model": "tiny"}
    count = f"{sum(p.numel() for p in system.network.parameters()):,}"
    wanted = f"System(tiny, unet, {count} parameters, pictures of 8×4, reads labels (<cat>, dog))"
    assert repr(system) == wanted
    assert repr(Cascade([system])) == f"Cascade({wanted})"


def test_a_notebook_shows_it_as_a_table_without_markup_of_its_own(system: System) -> None:
    html = system._repr_html_()
    assert "<td>ddim, trailing, 3 steps, guidance 2</td>" in html and "&lt;cat&gt;, dog" in html
    assert "<td>0</td>" in Cascade([system])._repr_html_()
    assert parameters(system) == sum(p.numel() for p in system.network.parameters())


def test_a_bar_follows_a_drawing_in_a_notebook_and_is_gone_in_the_end(system: System, kernel: Kernel) -> None:
    assert in_notebook()
    drawn = system.generate("dog", seeds=range(2), batch=1)
    assert [one.count("step 6 of 6") for one in kernel.shown] == [0, 0, 0, 0, 0, 1, 0]
    assert '<progress value="0.5000" max="1"' in kernel.shown[2] and kernel.shown[-1] == ""
    assert len(drawn) == 2


def test_a_bar_is_gone_after_an_error_too(kernel: Kernel) -> None:
    with pytest.raises(KeyboardInterrupt), NotebookBar() as bar:
        bar.show(0.5, "<b>")
        raise KeyboardInterrupt
    assert "<b>" not in kernel.shown[0] and kernel.shown[1:] == [""]


def test_nothing_is_shown_outside_of_a_notebook(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)  # pyright: ignore[reportArgumentType]
    assert not in_notebook()
    monkeypatch.setitem(
        sys.modules,
        "IPython",
        SimpleNamespace(get_ipython=lambda: None),  # pyright: ignore[reportArgumentType]
    )
    assert not in_notebook()
    assert torch.isfinite(system.generate(steps=1).data).all()
