"""A classifier of noisy samples, to guide with."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import machine
from sfumato.codec import Codec
from sfumato.condition import Labels
from sfumato.core.defaults import torch_defaults
from sfumato.core.level import Level, like
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, NonFiniteError, ShapeError
from sfumato.guide import Classifier
from sfumato.media.protocol import Record
from sfumato.parts import CODECS, NETWORKS
from sfumato.system import file as system_file
from sfumato.system.fingerprint import weights_state

CLASSIFIER = "classifier"
"""The kind of its guidance in a record."""
FARTHEST = 20.0
"""The λ beyond which the classifier receives the same λ: by then all is signal, or all is noise."""


class NoisyClassifier(nn.Module):
    """`p(class | x_t)`, learned from noised data (ADM, arXiv:2105.05233, section 4).

    The network sees x_t scaled to unit variance, and receives λ, the log signal-to-noise ratio, as its time: the same
    whatever the schedule. So one classifier guides every system that works on the same kind of samples.
    """

    def __init__(
        self, network: nn.Module, codec: Codec, classes: tuple[str, ...], about: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.network, self.codec, self.classes, self.about = network, codec, classes, about or {}
        self._digest, self._path, self._state = "", None, None

    def forward(self, x_t: Tensor, level: Level) -> Tensor:
        """x_t [b, *d] at `level` → the log probability of each class, float32 [b, k]."""
        weights = next(self.network.parameters())
        if x_t.ndim != 4 or x_t.shape[1] != self.codec.channels or x_t.device != weights.device:
            raise ShapeError(
                f"this classifier reads samples of {self.codec.channels} channels on {weights.device}, not"
                f" {list(x_t.shape)} on {x_t.device}: guide a system of the same kind, on the same device"
            )
        spread = like((level.alpha**2 + level.sigma**2).sqrt(), x_t)
        λ = level.logsnr.clamp(-FARTHEST, FARTHEST).to(x_t.device, torch.float32).expand(len(x_t))
        return self.network((x_t / spread).to(weights.dtype), λ).float().log_softmax(1)

    def guide(self, prompt: str | int, scale: float = 1.0) -> "ClassGuidance":
        """A guide towards a class, by name or by index: `System.generate(guide=classifier.guide("cat"))`."""
        if not math.isfinite(scale):
            raise InputError(f"the scale of a classifier's guidance must be a number, not {scale}; 0 is off")
        return ClassGuidance(self, Labels(self.classes).index(prompt), scale)

    # Saving and loading -----------------------------------------------------------------------------------------------

    @torch_defaults()
    def to(self, device: str | torch.device | None = None, precision: str | None = None) -> "NoisyClassifier":  # pyright: ignore
        """Move to a device and a precision (float32 or bfloat16); None picks the best that the machine has."""
        where = machine.pick_device(str(device) if device is not None else None)
        unchanged = self._unchanged()
        for part in self._parts().values():
            part.to(where, machine.dtype(machine.pick_precision(where, precision)))
        if unchanged:
            self._declare(self._digest, self._path)
        return self

    def save(self, folder: str | Path) -> Path:
        """Write the classifier to `folder`: `classifier.json` and the weights it names."""
        digest = system_file.write_folder(Path(folder), self.spec(), self._parts(), system_file.CLASSIFIER_FILE)
        self._declare(digest, str(folder))
        return Path(folder)

    def spec(self) -> dict[str, Any]:
        """The classifier as data, but for its weights."""
        return {
            "codec": CODECS.dump(self.codec),
            "classes": list(self.classes),
            "network": NETWORKS.dump(self.network),
            "about": self.about,
        }

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything that decides an answer does, but for the precision."""
        if not self._unchanged():
            self._declare(system_file.weights_digest(self._parts()), None)
        return system_file.fingerprint(self.spec(), self._digest)

    def _declare(self, digest: str, path: str | None) -> None:
        """Note the digest of the weights as they are now, and the folder that holds them."""
        self._digest, self._path, self._state = digest, path, weights_state(self._parts())

    def _unchanged(self) -> bool:
        """Whether the weights are still those whose digest is known."""
        return self._state is not None and self._state == weights_state(self._parts())

    def _parts(self) -> dict[str, nn.Module]:
        return system_file.weighty(self.codec, self.network)

    @staticmethod
    @torch_defaults()
    def load(where: str | Path, device: str | None = None, precision: str | None = None) -> "NoisyClassifier":
        """The classifier in the folder `where`, or in the folder of a training run."""
        spec, codec, network = system_file.read_classifier(classifier_folder(where))
        network.eval().requires_grad_(False)
        classifier = NoisyClassifier(network, codec, spec.classes, spec.about)
        classifier._declare(spec.digest, str(where))
        return classifier.to(device, precision)


def classifier_folder(where: str | Path) -> Path:
    """The folder of a classifier: `where`, or the one in a run's folder."""
    inside = Path(where) / "classifier"
    return inside if inside.is_dir() else Path(where)


@dataclass(frozen=True)
class ClassGuidance:
    """Wraps a denoiser in classifier guidance towards one class, at one scale."""

    classifier: NoisyClassifier
    index: int
    scale: float

    def __call__(self, denoiser: DenoiserLike) -> DenoiserLike:
        return Classifier(denoiser, self._log_prob(), self.scale)

    def record(self) -> Record:
        """The guidance as a record holds it: with the folder of the classifier, None if it lies in none as it is."""
        fingerprint = self.classifier.fingerprint()
        name = self.classifier.classes[self.index]
        path = self.classifier._path
        return {"kind": CLASSIFIER, "path": path, "fingerprint": fingerprint, "class": name, "scale": self.scale}

    def _log_prob(self) -> Callable[[Tensor, Level], Tensor]:
        return lambda x_t, level: _finite(self.classifier(x_t, level)[:, self.index], level)


def _finite(log_p: Tensor, level: Level) -> Tensor:
    """What the classifier gave; a `NonFiniteError` if there is a number in it that is not finite."""
    if not bool(log_p.isfinite().all()):
        raise NonFiniteError(
            f"the classifier gave a number that is not finite (at t = {float(level.t[0]):g}): its weights are damaged,"
            " or want float32"
        )
    return log_p
