"""Digests of what is drawn and trained, to prove that a change of the code changes no number.

    python tests/digests.py

prints a line for each: before the change and after it, on one machine, the lines must be equal. They differ between
processors and versions of torch, so none is written down here.
"""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import sfumato
from condition.small_encoder import Waves
from sfumato.parts import TEXT_ENCODERS

PROMPTS = ["a rocket, flat style", "a cat", "a red car", "glass of wine", "sun", "a house"]
DIGITS = ["network.width=16", "network.dropout=0", "train.show_minutes=1000"]
AUTOENCODER = [
    *("network.width=8", "network.multipliers=[1,2]", "network.blocks=1", "train.batch=4", "train.steps=6"),
    *("train.show_minutes=1000", "reconstruction.adversarial=0"),
]
LATENTS = [
    *("data.size=[16,16]", "codec.init_from=null", "train.init_from=null", f"codec.settings={json.dumps(AUTOENCODER)}"),
    *("condition.layout=0", 'condition.encoder={"kind":"waves"}', "network.width=8", "network.head_width=4"),
    *("network.multipliers=[1]", "network.attention=[0]", "network.blocks=1", "train.batch=4"),
    *("train.show_minutes=1000", "settings.steps=4"),
]


def of_tensor(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def of_weights(folder: Path) -> str:
    """The digest of all weights in a folder, by their names; a stage's by its folder's, too."""
    tensors = {
        f"{'' if path.parent == folder else path.parent.name + '/'}{name}": value
        for path in folder.rglob("*.safetensors")
        for name, value in load_file(path).items()
    }
    return hashlib.sha256(
        "".join(f"{name} {of_tensor(tensors[name])}" for name in sorted(tensors)).encode()
    ).hexdigest()[:16]


def captioned(folder: Path) -> Path:
    """Twelve small pictures with captions of the words that the closed-form encoder knows."""
    folder.mkdir()
    for i in range(12):
        Image.linear_gradient("L").resize((16, 16)).rotate(40 * i).convert("RGB").save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a {'cat dog house hat'.split()[i % 4]}")
    return folder


def main() -> None:
    torch.set_num_threads(1)
    TEXT_ENCODERS.kinds["waves"] = Waves
    composed = sfumato.load("emoji", "cpu", "float32")
    print("emoji, twelve pictures", of_tensor(composed.generate(PROMPTS, seeds=[0, 1], batch=1).data))
    shipped = sfumato.load("emoji-single", "cpu", "float32")
    print("emoji-single, twelve pictures", of_tensor(shipped.generate(PROMPTS, seeds=[0, 1], batch=1).data))
    print("emoji-single, a batch", of_tensor(shipped.generate(PROMPTS[:2], seeds=[0, 1]).data))
    options = {"device": "cpu", "precision": "float32"}
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "digits"
        sfumato.train("digits", out=run, recipe="digits", settings=DIGITS, steps=30, **options)
        print("digits, system", of_weights(run / "system"), "checkpoint", of_weights(run / "checkpoints"))
        data, run = captioned(Path(scratch) / "data"), Path(scratch) / "text-to-image"
        sfumato.train(data, out=run, recipe="text-to-image", settings=LATENTS, steps=8, **options)
        print("text to image, system", of_weights(run / "system"), "codec", of_weights(run / "codec"))
        drawn = sfumato.load(run, **options).generate(["a cat"], seeds=[5])
        print("text to image, a picture", of_tensor(drawn.data))
        copy = shipped.save(Path(scratch) / "copy")
        print("emoji-single, saved", of_weights(copy))


if __name__ == "__main__":
    sys.exit(main())
