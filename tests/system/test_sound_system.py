"""A system that draws sounds is drawn from, saved and repeated as one that draws pictures."""

from pathlib import Path

import torch

import sfumato
from sfumato.codec import Identity
from sfumato.condition import Labels
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.media import Audio
from sfumato.nn.audio import UNet1D
from sfumato.system import Settings, System
from sfumato.system.samples import read_record


def test_a_sound_is_drawn_saved_and_repeated_by_its_record(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UNet1D(2, 2, width=8, multipliers=(1, 2), blocks=1, attention=(), vector=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    denoiser, settings = Denoiser(network, Cosine(), X0Prediction()), Settings((64,), steps=3)
    system = System(Identity(Audio(8000, 2)), Labels(("bell", "drum")), denoiser, settings).to("cpu", "float32")
    drawn = system.generate(["bell", "drum"], seeds=[0, 1])
    assert drawn.data.shape == (4, 2, 64) and drawn.data.abs().max() <= 1
    paths = drawn.save(tmp_path)
    assert [path.name for path in paths] == ["bell-0.wav", "bell-1.wav", "drum-0.wav", "drum-1.wav"]
    record = read_record(paths[1])
    again = sfumato.load(system.save(tmp_path / "system"), "cpu", "float32").generate(
        record["prompt"], seeds=[record["seed"]], size=tuple(record["size"]), steps=record["steps"]
    )
    assert again.medium == Audio(8000, 2) and again.records[0] | record == again.records[0]
    assert torch.allclose(again.data[0], drawn.data[1], atol=1e-6)
