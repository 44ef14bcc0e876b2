"""A text → what stands where → a canvas → a picture: a cascade of three tiny systems."""

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from condition.small_encoder import Waves
from nn.encoded import files
from sfumato import Cascade
from sfumato.codec import Identity
from sfumato.condition import EncodedText, Labels, Nothing, Phrases
from sfumato.condition.colors import split_color
from sfumato.core.noise import Noise
from sfumato.core.parameterization import VPrediction, X0Prediction
from sfumato.core.schedule import Cosine, Flow
from sfumato.denoise import Denoiser
from sfumato.errors import InputError, ShapeError
from sfumato.media import Image, Layout
from sfumato.nn import DiT1D, Sprites, UNet
from sfumato.parts import TEXT_ENCODERS
from sfumato.system import Ground, Samples, Settings, System, Upsample, read_record

STYLES = ("3D style", "flat style")
MEDIUM = Layout(STYLES, things=3)
PROMPTS = ["a cat in a hat, 3D style", "two red dogs", None, "on a green background"]


@pytest.fixture(autouse=True)
def known_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TEXT_ENCODERS.kinds, "waves", Waves)
        yield


def system(codec: Identity, conditioner: Any, network: Any, settings: Settings, seed: int) -> System:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return System(codec, conditioner, Denoiser(network, Cosine(), VPrediction()), settings).to("cpu", "float32")


def prior(names: tuple[str, ...] = (), things: int = 3) -> System:
    conditioner = Phrases(Waves(), names=names, styles=STYLES, things=things)
    widths: dict[str, Any] = conditioner.widths
    network = DiT1D(9, 9, width=16, depth=1, head_width=8, patch=1, **widths)
    return system(Identity(MEDIUM), conditioner, network, Settings((4,), steps=4), seed=1)


def canvas(names: Sequence[str] = ()) -> System:
    generator = torch.Generator().manual_seed(2)
    keys, sprites = torch.randn(3, 6, generator=generator), files(torch.rand(4, 4, 4, 4, generator=generator))
    if names:
        keys = EncodedText(Waves())(names).given()["vector"]
    network = Sprites(3, 4, sprites.sizes[0], phrase=6, styles=2, side=4)
    network.memory.fit(keys, torch.tensor([[0, 1], [2, -1], [-1, 3]]), sprites.files, torch.full((4, 3), -1.0))
    settings = Settings((8, 8), steps=1).updated(sampler="ddim", spacing="uniform")
    return System(Identity(Image()), Nothing(), Denoiser(network, Flow(), X0Prediction()), settings).to(
        "cpu", "float32"
    )


def cascade() -> Cascade:
    text = EncodedText(Waves())
    widths: dict[str, Any] = text.widths
    network = UNet(3, 3, width=8, multipliers=(1,), blocks=1, attention=(), concat=3, **widths)
    picture = system(Identity(Image()), text, network, Settings((16, 16), steps=2), seed=3)
    torch.manual_seed(0)
    return Cascade([prior(), canvas(), picture], [Ground(), Upsample()])


def test_a_text_becomes_a_layout_a_canvas_and_a_picture() -> None:
    own = cascade()
    drawn = own.generate(PROMPTS, seeds=[0], batch=1)
    assert drawn.data.shape == (4, 3, 16, 16) and drawn.data.isfinite().all()
    assert [len(record["stages"]) for record in drawn.records] == [3] * 4
    first, second, third = own.stages
    layouts = first.generate(PROMPTS, seeds=[0], batch=1)
    condition = Ground()(layouts, {}, second, Noise([0] * 4), first)
    canvases = second.generate(seeds=[0, 1, 2, 3], condition=condition)
    alone = Cascade([first, second], [Ground()]).generate(PROMPTS, seeds=[0], batch=1)
    assert (alone.data - canvases.data).abs().max() < 1e-5, "whatever the noise"
    assert third.conditioner.widths and not torch.equal(drawn.data[0], drawn.data[1])


def test_a_canvas_is_given_each_place_with_its_phrase() -> None:
    own = prior()
    layouts = own.generate(PROMPTS, seeds=[5])
    given = Ground()(layouts, {}, canvas(), Noise([5] * 4), own)
    assert given.context is not None and given.mask is not None and given.given().keys() == {"context", "mask"}
    assert given.context.shape == (4, 4, 6 + 3 + 9)
    assert given.mask.tolist() == [[True, *[k < n for k in range(3)]] for n in (2, 2, 0, 0)]
    text = EncodedText(Waves())(["cat", "hat", "dogs"]).vector
    assert text is not None
    assert torch.equal(given.context[0, 1:3, :6], text[:2]) and torch.equal(given.context[1, 1:3, :6], text[[2, 2]])
    colors = torch.tensor([split_color(phrase)[1] for phrase in ("cat", "red dogs")])
    assert torch.equal(given.context[[0, 1], 1, 6:9], colors) and (given.context[2:, :, 6] == -1).all()
    assert torch.equal(given.context[..., 9:], layouts.data.transpose(1, 2))


def test_the_names_of_the_layouts_conditioner_count() -> None:
    own = prior(names=("cat in a hat", "red dog"))
    given = Ground()(own.generate("a cat in a hat, a red dog", seeds=[0]), {}, canvas(), Noise([0]), own)
    assert given.mask is not None and given.mask.tolist() == [[True, True, True, False]]
    assert given.context is not None and (given.context[..., 6] == -1).all(), "a name has no colour taken off"


def test_what_is_not_asked_for_is_not_drawn() -> None:
    """Without a prompt there are no phrases, and the canvas is the background of the layout."""
    first, second = prior(), canvas()
    page = Cascade([first, second], [Ground()]).generate(seeds=[3]).data[0]
    assert (page - page[:, :, :1]).abs().max() < 1e-6, "each row is of one colour"


def test_it_is_saved_and_draws_the_same_again(tmp_path: Path) -> None:
    own = cascade()
    folder = own.save(tmp_path / "cascade")
    again = Cascade.load(folder, "cpu", "float32")
    assert again.links == (Ground(), Upsample()) and again.fingerprint() == own.fingerprint()
    assert again.stages[0].medium == MEDIUM
    first, _, third = (stage.conditioner for stage in again.stages)
    assert isinstance(first, Phrases) and isinstance(third, EncodedText)
    assert first.encoder is third.encoder and first == own.stages[0].conditioner, "read once"
    drawn, same = (one.generate(PROMPTS, seeds=[7]) for one in (own, again))
    assert torch.equal(drawn.data, same.data) and drawn.records == same.records
    assert torch.equal(again.repeat(drawn.records[1]).data[0], again.generate(PROMPTS[1], seeds=[7]).data[0])


def test_a_sample_depends_on_its_own_prompt_and_seed_alone() -> None:
    own = cascade()
    together = own.generate(PROMPTS, seeds=[7, 0], batch=1)
    for i, (prompt, seed) in enumerate((p, s) for p in PROMPTS for s in (7, 0)):
        alone = own.generate(prompt, seeds=[seed])
        assert torch.equal(alone.data[0], together.data[i]) and alone.records[0] == together.records[i]
    at_once = own.generate(PROMPTS, seeds=[7, 0])
    assert (at_once.data - together.data).abs().max() < 1e-4


def test_layouts_are_drawn_looked_at_and_written(tmp_path: Path) -> None:
    own = prior()
    own = System.load(own.save(tmp_path / "system"), "cpu", "float32")
    drawn = own.generate("a cat in a hat", seeds=[1, 2])
    paths = drawn.save(tmp_path / "out")
    assert [path.suffix for path in paths] == [".json"] * 2 and read_record(paths[1]) == drawn.records[1]
    assert drawn.preview(captions=True).width > 300 and drawn.data.abs().max() <= 1
    assert own.generate("a cat in a hat", seeds=[1], size=(4,)).data.shape == (1, 9, 4)
    with pytest.raises(ShapeError, match=r"size must be \(4,\), the ground and 3 places"):
        own.generate(seeds=[1], size=(5,))


def test_what_is_not_known_and_what_names_nothing_is_reported() -> None:
    own = Cascade([prior(), canvas(("cat", "hat", "hat"))], [Ground()])
    assert own.warnings(["a cat in a hat, 3D style", "a red hat", "a house"]) == [], "a house is like a cat here"
    assert own.warnings(["a cat and a dog", "two blue dogs", None, "a dog", "on a green background"]) == [
        "2 prompts name nothing to draw: what comes is a background",
        "'dog', 'blue dogs' are like no name that is known: what is nearest to them is drawn instead",
    ]
    assert own.warnings(["a red dog"] * 2) == [
        "'red dog' is like no name that is known: what is nearest to it is drawn instead"
    ]
    assert own.warnings([""]) == ["the prompt names nothing to draw: what comes is a background"]
    assert own.stages[0].warnings(["a dog"]) == cascade().warnings([]) == []


def test_what_does_not_fit_is_refused() -> None:
    pictures = Samples(torch.zeros(1, 3, 8, 8), Image(), ({},))
    with pytest.raises(ShapeError, match="Ground takes layouts of phrases, and the stage before it draws pictures"):
        Ground()(pictures, {}, canvas(), Noise([0]), prior())
    labels = System(Identity(MEDIUM), Labels(("a", "b")), prior().denoiser, Settings((4,)))
    layouts = Samples(torch.zeros(1, 9, 4), MEDIUM, ({},))
    with pytest.raises(ShapeError, match="Ground takes layouts of phrases"):
        Ground()(layouts, {}, canvas(), Noise([0]), labels)
    with pytest.raises(ShapeError, match="for each of the 3 things of a layout, and the stage before it reads 2$"):
        Ground()(layouts, {}, canvas(), Noise([0]), prior(things=2))
    small = Sprites(names=1, sprites=1, file_bytes=0, phrase=5, styles=2, side=4)
    wrong = System(Identity(Image()), Nothing(), Denoiser(small, Flow(), X0Prediction()), Settings((8, 8), steps=1))
    with pytest.raises(InputError, match=r"wants a condition with context \[1, k, 17\], and was given \[1, 4, 18\]"):
        Cascade([prior(), wrong], [Ground()]).generate("a cat")


def test_the_example_draws_stage_by_stage_what_the_cascade_does_and_goes_on_from_a_layout_in_a_file(
    tmp_path: Path,
) -> None:
    path = Path(__file__).parents[2] / "examples" / "emoji_stages.py"
    spec = importlib.util.spec_from_file_location("emoji_stages", path)
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    own, prompt = cascade(), "two red dogs"
    layout, canvas, picture = example.stages(own, prompt, 7)
    whole = own.generate(prompt, seeds=[7])
    assert (picture.data - whole.data).abs().max() < 1e-5

    (file,) = layout.save(tmp_path)
    again = example.stages(own, prompt, 7, example.read(own, file, prompt))
    assert (again[1].data - canvas.data).abs().max() < 0.02, "a file keeps four digits and 256 shades"
    table = json.loads(file.read_text())
    table |= {"background": ["#ff0000", "#ff0000"], "things": []}
    file.write_text(json.dumps(table))
    _, changed, _ = example.stages(own, prompt, 7, example.read(own, file, prompt))
    red = torch.tensor([1.0, -1.0, -1.0])[:, None]
    assert (changed.data[0, :, -1, :1] - red).abs().max() < 1e-5, "the background is all that is left"
