"""Weights of a file lie in memory as those that were never in one: kernels may round by where they begin."""

from pathlib import Path

from sfumato.codec import Identity
from sfumato.condition import Nothing
from sfumato.core.parameterization import EpsPrediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.media import Image
from sfumato.nn import UNet
from sfumato.system import Settings, System


def test_every_weight_that_is_read_begins_at_a_multiple_of_64_bytes(tmp_path: Path) -> None:
    network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=())
    own = System(Identity(Image(1)), Nothing(), Denoiser(network, Cosine(), EpsPrediction()), Settings((8, 8)))
    read = System.load(own.save(tmp_path / "own"), "cpu", "float32")
    assert {value.data_ptr() % 64 for value in read.network.state_dict().values()} == {0}
