"""A record is the drawing: drawn again from it, a sample is the same, or an error says why it cannot be."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import machine
from sfumato.cli.again import drawing_command
from sfumato.codec import Identity, Latent
from sfumato.condition import Labels, Nothing
from sfumato.core.condition import Condition
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.errors import InputError, NotFoundError, ShapeError
from sfumato.guide import StaticThreshold
from sfumato.media import Image as ImageMedium
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.encoder import Encoder
from sfumato.nn.image.unet import UNet
from sfumato.system import ConditioningImage, MaskedImage, NoisyClassifier, Settings, System, from_record, read_record
from sfumato.system.repeat import obstacles

CLASSES = ("cat", "dog", "hen")

NESTED: dict[str, Any] = {}
for _ in range(500):
    NESTED = {"stages": [NESTED]}


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """All weights random, none at the zero that they would start from."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def labelled() -> System:
    torch.manual_seed(0)
    network = shaken(UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), vector=3))
    denoiser = Denoiser(network, Cosine(), X0Prediction())
    return System(Identity(ImageMedium(1)), Labels(CLASSES), denoiser, Settings((8, 8), steps=3)).to("cpu", "float32")


def painter() -> System:
    """A system of latents [2, 4, 4] that paints within pictures of 8×8."""
    torch.manual_seed(0)
    codec = Latent(KLAutoencoder(1, 2, width=8, multipliers=(1, 2), blocks=1, attention=False))
    network = shaken(UNet(2, 2, width=8, multipliers=(1,), blocks=1, attention=(), concat=3))
    denoiser = Denoiser(network, Cosine(), X0Prediction())
    return System(codec, Nothing(), denoiser, Settings((8, 8), steps=2)).to("cpu", "float32")


def classifier(seed: int = 0) -> NoisyClassifier:
    torch.manual_seed(seed)
    network = shaken(Encoder(in_channels=1, outputs=3, width=8, multipliers=(1,), attention=()))
    return NoisyClassifier(network, Identity(ImageMedium(1)), CLASSES)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    paths = tmp_path / "photo.png", tmp_path / "mask.png"
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(paths[0])
    Image.fromarray(np.kron(np.eye(2), np.full((4, 4), 255)).astype(np.uint8)).save(paths[1])
    return paths


@pytest.mark.parametrize(
    "drawing",
    [
        {},
        {"prompt": "hen", "guidance": 3.0, "negative": "dog", "interval": (0.1, 5.0), "rescale": 0.25},
        {"prompt": 1, "sampler": "dpm++,order=3", "spacing": "logsnr", "steps": 4, "size": (6, 10)},
    ],
    ids=str,
)
def test_a_sample_is_drawn_again_from_its_file(drawing: dict[str, Any], tmp_path: Path) -> None:
    system = labelled()
    drawn = system.generate(**drawing, seeds=[4, 7], batch=1)
    path = drawn.save(tmp_path / "out")[1]
    for again in (system.repeat(read_record(path)), system.generate(**from_record(read_record(path)))):
        assert torch.equal(again.data, drawn.data[1:]) and again.records == drawn.records[1:]
    with pytest.raises(InputError, match=r"is of the system '[0-9a-f]{12}', and this is [0-9a-f]{12}: load the one"):
        painter().repeat(read_record(path))


def test_a_classifier_is_found_again_by_its_folder(tmp_path: Path) -> None:
    system, folder = labelled(), classifier().save(tmp_path / "classifier")
    guide = NoisyClassifier.load(folder, "cpu", "float32").guide("hen", 9.0)
    drawn = system.generate("cat", guide=guide)
    (record,) = drawn.records
    named = {"kind": "classifier", "path": str(folder), "class": "hen", "scale": 9.0}
    assert record["guide"] == named | {"fingerprint": classifier().fingerprint()}
    again = system.repeat(record)
    assert torch.equal(again.data, drawn.data) and again.records == drawn.records
    assert not torch.equal(drawn.data, system.generate("cat").data)
    classifier(1).save(folder)
    with pytest.raises(InputError, match="^this sample cannot be drawn again: its classifier in .* has changed since$"):
        system.repeat(record)
    shutil.rmtree(folder)
    assert "its classifier is gone: " in obstacles(record)[0]


def test_a_classifier_that_lies_nowhere_is_not_found_again(tmp_path: Path) -> None:
    own = classifier()
    assert own.guide("hen").record()["path"] is None
    own.save(tmp_path / "one")
    saved = own.guide("hen").record()
    assert saved["path"] == str(tmp_path / "one")
    own.to("cpu", "bfloat16")
    assert own.guide("hen").record() == saved, "the precision is not part of it"
    with torch.no_grad():
        own.network.get_parameter("enter.weight").add_(1)
    changed = own.guide("hen").record()
    assert changed["path"] is None and changed["fingerprint"] != saved["fingerprint"]
    (why,) = obstacles({"guide": changed})
    assert why == "its classifier was not loaded from a folder, or was changed since"


def test_a_picture_and_a_mask_are_found_again_by_their_paths(pictures: tuple[Path, Path]) -> None:
    system, (image, mask) = painter(), pictures
    drawn = system.generate(seeds=[1, 2], condition=MaskedImage(image, mask), batch=1)
    for i in range(2):
        again = system.repeat(drawn.records[i])
        assert torch.equal(again.data[0], drawn.data[i]) and again.records[0] == drawn.records[i]
    condition, _ = MaskedImage(image, mask)(system.codec, (8, 8))
    assert torch.equal(system.generate(seeds=[1], condition=condition).data, drawn.data[:1])
    Image.new("L", (8, 8)).save(mask)
    assert "its mask " in obstacles(drawn.records[0])[0] and " has changed since" in obstacles(drawn.records[0])[0]
    image.unlink()
    with pytest.raises(InputError, match="cannot be drawn again: its image is gone: there is no picture .*photo.png"):
        system.repeat(drawn.records[0])
    with pytest.raises(NotFoundError, match="there is no picture"):
        system.generate(condition=MaskedImage(image, mask))
    with pytest.raises(InputError, match="this system does not paint within pictures"):
        labelled().stream(condition=MaskedImage(mask, mask))


def test_a_conditioning_image_is_scaled_as_in_training_and_found_again(pictures: tuple[Path, Path]) -> None:
    """For pixels as they are, and for latents by their codec."""
    image, _ = pictures
    latent = painter().codec
    network = shaken(UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), concat=1))
    system = System(Identity(ImageMedium(1)), Nothing(), Denoiser(network, Cosine(), X0Prediction()), Settings((4, 4)))
    (concat,) = ConditioningImage(image)(system.codec, (4, 4))[0].given().values()
    with Image.open(image) as found:
        small = torch.from_numpy(np.array(found.resize((4, 4), Image.Resampling.BILINEAR)))
    assert torch.allclose(concat[0, 0], small / 127.5 - 1, atol=1e-6)
    (latents,) = ConditioningImage(image)(latent, (4, 4))[0].given().values()
    assert torch.equal(latents, latent.encode(concat))
    drawn = system.generate(seeds=[1], condition=ConditioningImage(image))
    again = system.repeat(drawn.records[0])
    assert torch.equal(again.data, drawn.data) and again.records == drawn.records
    assert "--image " in drawing_command(drawn.records[0]) and "--mask" not in drawing_command(drawn.records[0])
    Image.new("L", (8, 8)).save(image)
    assert "its image " in obstacles(drawn.records[0])[0] and " has changed since" in obstacles(drawn.records[0])[0]


def test_what_was_given_in_python_is_reported_as_lost() -> None:
    system = painter()
    guided = system.generate(
        condition=Condition(concat=torch.zeros(1, 3, 4, 4)), guide=lambda denoiser: StaticThreshold(denoiser, 1.0)
    )
    guide, condition = obstacles(guided.records[0])
    assert guide.startswith("its guide was given in Python, and the record holds no more of it than '<function")
    assert condition.startswith("its condition was given in Python, and the record holds no more of it than {'sha256'")
    with pytest.raises(InputError, match="^this sample cannot be drawn again: its guide was given in Python"):
        system.repeat(guided.records[0])


@pytest.mark.parametrize(
    "record",
    [
        *({"size": 3}, {"interval": [1]}, {"seed": "x"}, {"sampler": 3}, {"guide": {"kind": "classifier"}}),
        {"guide": {"kind": "classifier", "path": "x" * 5000}},
        NESTED,
        None,
        [],
    ],
)
def test_a_damaged_record_is_an_input_error(record: Any) -> None:
    with pytest.raises(InputError):
        labelled().generate(**from_record(record))
    with pytest.raises(InputError):
        labelled().repeat(record)


# Conditions of one's own ----------------------------------------------------------------------------------------------


def test_each_sample_may_have_a_row_of_the_condition() -> None:
    """Its own row and its own seed decide a sample, whatever is drawn beside it."""
    system, rows = painter(), torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    together = system.generate(seeds=range(4), condition=Condition(concat=rows), batch=3)
    for i in range(4):
        alone = system.generate(seeds=[i], condition=Condition(concat=rows[i : i + 1]))
        assert (alone.data[0] - together.data[i]).abs().max() < 1e-5
        assert alone.records[0] == together.records[i]
    same = system.generate(seeds=range(4), condition=Condition(concat=rows[:1].expand(4, -1, -1, -1)))
    assert torch.equal(same.data, system.generate(seeds=range(4), condition=Condition(concat=rows[:1])).data)


@pytest.mark.parametrize(
    ("condition", "error", "text"),
    [
        (
            None,
            ShapeError,
            r"condition with concat \[1, 3, 4, 4\], and was given none; codec\.masked_condition",
        ),
        (Condition(concat=torch.zeros(3, 4, 4)), ShapeError, r"was given \[3, 4, 4\]"),
        (Condition(concat=torch.zeros(2, 3, 4, 4)), ShapeError, r"was given \[2, 3, 4, 4\]"),
        (Condition(concat=torch.zeros(1, 3, 4, 5)), ShapeError, r"was given \[1, 3, 4, 5\]"),
        (Condition(concat=torch.zeros(1, 3, 4, 4) / 0), InputError, "concat holds a number that is not finite"),
        (Condition(concat=torch.zeros(1, 3, 4, 4, dtype=torch.int64)), InputError, "must be a tensor of real numbers"),
        (Condition(concat=torch.zeros(1, 3, 4, 4, device="meta")), InputError, "must be a tensor of real numbers"),
        (Condition(concat=torch.zeros(1, 3, 4, 4).to_sparse()), InputError, "must be a tensor of real numbers"),
        (lambda codec, size: 3, InputError, "the source of a condition gave 3, where it gives a Condition and a re"),
        (Condition(vector=torch.zeros(1, 3)), ShapeError, r"concat \[1, 3, 4, 4\], and was given none"),
        (
            Condition(concat=torch.zeros(1, 3, 4, 4), vector=torch.zeros(1, 3)),
            ShapeError,
            r"wants a condition with vector none, and was given \[1, 3\]$",
        ),
        (Condition(concat=torch.zeros(1, 3, 4, 4), mask=torch.ones(1, 3)), ShapeError, "mask should be true or false"),
        (torch.zeros(1, 3, 4, 4), InputError, "condition must be a Condition, as codec.masked_condition makes, not"),
    ],
)
def test_a_condition_that_the_network_was_not_built_for_is_refused(
    condition: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        painter().stream(condition=condition)


def test_a_network_may_take_its_vector_from_the_caller(tmp_path: Path) -> None:
    """Where the conditioner gives none, as an embedding that another system drew."""
    system = labelled()
    system.conditioner = Nothing()
    again = System.load(system.save(tmp_path / "system"), "cpu", "float32")
    drawn = again.generate(seeds=[3], condition=Condition(vector=torch.eye(3)[:1]))
    assert torch.equal(drawn.data, labelled().generate("cat", seeds=[3]).data)
    with pytest.raises(ShapeError, match=r"wants a condition with vector \[1, 3\], and was given none$"):
        again.stream()
    with pytest.raises(ShapeError, match=r"vector none, and was given \[1, 3\]"):
        labelled().stream("cat", condition=Condition(vector=torch.eye(3)[:1]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("step", r"^a drawing has no argument 'step'; did you mean 'steps'\? known: "),
        ("beside", r"^a drawing has no argument 'beside'; .*known: batch, condition"),
        ("stages", "^stages are the drawings of a cascade's systems"),
    ],
)
def test_an_argument_that_no_drawing_has_names_the_nearest(name: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        labelled().generate("cat", **{name: [{}]})  # pyright: ignore


def test_a_prompt_may_be_named() -> None:
    system = labelled()
    assert torch.equal(system.generate(prompt="cat").data, system.generate("cat").data)


def test_a_sample_is_drawn_again_with_its_number_of_threads() -> None:
    system, now = labelled(), torch.get_num_threads()
    with machine.threads(now + 1):
        drawn = system.generate("cat", seeds=[3])
    (record,) = drawn.records
    assert record["threads"] == now + 1 and system.generate("cat").records[0]["threads"] == now
    again = system.repeat(record)
    assert again.records == drawn.records and torch.equal(again.data, drawn.data)
    assert torch.get_num_threads() == now
    with pytest.raises(InputError, match="threads must be from 1 to 1,024, not 'all'$"):
        system.repeat(record | {"threads": "all"})
    without = {name: value for name, value in record.items() if name != "threads"}
    assert system.repeat(without).records[0]["threads"] == now
