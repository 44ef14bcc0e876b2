"""A cascade: one is its system; Gaussians in a row give the Gaussian that they must; a folder, whole or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato import Cascade
from sfumato.codec import Identity, Latent
from sfumato.condition import Conditioner, Labels, Nothing
from sfumato.core.condition import Condition
from sfumato.core.level import like
from sfumato.core.noise import Noise
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine, Flow
from sfumato.denoise import Denoiser
from sfumato.errors import FormatError, InputError, ShapeError
from sfumato.media import Audio, Embedding, Image
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.unet import UNet
from sfumato.parts import NETWORKS
from sfumato.system import Embed, Samples, Settings, System, Upsample, Vocode, from_record
from sfumato.system.cascade_draw import derived_seed


def pixels(side: int, conditioner: Conditioner | None = None, concat: int = 0, seed: int = 0) -> System:
    """A system of grey pictures with a tiny network of random weights."""
    torch.manual_seed(seed)
    conditioner = conditioner or Labels(("cat", "dog"))
    network = UNet(1, 1, width=8, multipliers=(1,), blocks=1, attention=(), concat=concat, **conditioner.widths)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    denoiser = Denoiser(network, Cosine(), X0Prediction())
    return System(Identity(Image(1)), conditioner, denoiser, Settings((side, side), steps=3)).to("cpu", "float32")


def pair(noise: float = 0.0) -> Cascade:
    return Cascade([pixels(4), pixels(8, Nothing(), concat=1, seed=1)], [Upsample(noise)])


Rows = tuple[tuple[float, ...], ...]


class Regression(nn.Module):
    """The exact x_0-prediction for data `N(gain·vector + mean, cov)`."""

    def __init__(self, mean: tuple[float, ...], cov: Rows, gain: Rows = ()) -> None:
        super().__init__()
        self.mean, self.cov, self.gain = mean, cov, gain
        self.vector = len(gain[0]) if gain else 0
        self.offset = nn.Parameter(torch.tensor(mean))

    def forward(self, x: Tensor, time: Tensor, vector: Tensor | None = None) -> Tensor:
        level, cov = Flow()(time[:1].double()), torch.tensor(self.cov)
        alpha, sigma = (like(value, x) for value in (level.alpha, level.sigma))
        mean = self.offset if vector is None else self.offset + vector @ torch.tensor(self.gain).T
        return mean + (x - alpha * mean) @ torch.linalg.solve(
            alpha**2 * cov + sigma**2 * torch.eye(len(cov)), alpha * cov
        )


def gaussian(mean: tuple[float, ...], cov: Rows, gain: Rows = ()) -> System:
    denoiser = Denoiser(Regression(mean, cov, gain), Flow(), X0Prediction())
    settings = Settings((len(mean),), steps=24).updated(sampler="heun,along=flow")
    return System(Identity(Embedding(len(mean))), Nothing(), denoiser, settings)


@pytest.mark.parametrize(
    "stages, links, text",
    [
        (None, (), "stages must be a list, not None$"),
        ([1], (), "a stage of a cascade is a System, not 1$"),
        ([Cascade([pixels(4)])], (), "a stage of a cascade is a System, not"),
        ([pixels(4)] * 2, ["upsample"], "a link of a cascade is an Upsample, Embed, Vocode or Ground, not 'upsample'$"),
        ([pixels(4)] * 101, [Upsample()] * 100, "a cascade has at most 100 systems, not 101$"),
    ],
)
def test_what_is_no_cascade_is_refused(stages: Any, links: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Cascade(stages, links)


def test_links_check_their_arguments() -> None:
    bad: Any = "x"
    with pytest.raises(InputError, match=r"lies in \[0, 1\), not 'x'$"):
        Upsample(bad)
    with pytest.raises(InputError, match="Vocode goes through concat or context, not 'x'$"):
        Vocode(bad)


# Drawing --------------------------------------------------------------------------------------------------------------


def test_a_cascade_of_one_is_its_system() -> None:
    system, drawing = pixels(8), {"seeds": [3, 5], "guidance": 2.0, "sampler": "ddpm", "steps": 4, "batch": 1}
    cascade = Cascade([system])
    alone, drawn = (one.generate(["cat", "dog"], **drawing) for one in (system, cascade))
    assert torch.equal(alone.data, drawn.data) and drawn.medium == alone.medium
    for own, theirs in zip(alone.records, drawn.records, strict=True):
        names = ("prompt", "seed", "sfumato")
        assert {name: own[name] for name in names} == {name: theirs[name] for name in names}
        assert theirs["stages"] == [{k: v for k, v in own.items() if k not in ("prompt", "seed", "sfumato", "system")}]
    frames = list(cascade.stream("cat", steps=2))
    assert [(frame.done, frame.total, frame.stage) for frame in frames] == [(1, 2, 0), (2, 2, 0)]


def test_a_gaussian_prior_and_a_gaussian_decoder_give_the_gaussian_that_they_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`x = A·e + b + noise` of the Gaussian e: the mean `A·m + b` and the covariance `A·C·Aᵀ + S`."""
    monkeypatch.setitem(NETWORKS.kinds, "regression", Regression)
    m, c = (1.0, -0.5), ((1.0, 0.6), (0.6, 0.5))
    a, b = ((2.0, 0.0), (1.0, -1.0), (0.0, 0.5)), (0.0, 3.0, -1.0)
    s = ((0.3, 0.1, 0.0), (0.1, 0.2, 0.0), (0.0, 0.0, 0.1))
    cascade, number = Cascade([gaussian(m, c), gaussian(b, s, a)], [Embed()]), 2048
    x = cascade.generate(seeds=range(number), batch=number).data.double()
    gain, inner, own = (torch.tensor(value, dtype=torch.float64) for value in (a, c, s))
    mean = gain @ torch.tensor(m, dtype=torch.float64) + torch.tensor(b, dtype=torch.float64)
    cov = gain @ inner @ gain.T + own
    errors = (x.mean(0) - mean) / (cov.diag() / number).sqrt()
    assert errors.abs().max() < 4
    spread = ((cov.diag()[:, None] * cov.diag() + cov**2) / number).sqrt()
    assert ((torch.cov(x.T) - cov) / spread).abs().max() < 4


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_sample_depends_on_its_own_seed_alone(noise: float) -> None:
    cascade, seeds = pair(noise), [7, 0, 3]
    together = cascade.generate(["cat", "dog"], seeds=seeds, batch=1)
    for i, (prompt, seed) in enumerate((p, s) for p in ("cat", "dog") for s in seeds):
        alone = cascade.generate(prompt, seeds=[seed])
        assert torch.equal(alone.data[0], together.data[i]) and alone.records[0] == together.records[i]
    apart = torch.cdist(together.data.flatten(1), together.data.flatten(1)) + torch.eye(6)
    assert apart.min() > 1e-3


def test_the_stages_draw_with_noise_that_is_independent() -> None:
    assert derived_seed(5, 0) == 5
    seeds = {derived_seed(seed, stage, use) for seed in range(50) for stage in range(3) for use in ("", "link")}
    assert len(seeds) == 50 * 5 and all(0 <= seed < 2**63 for seed in seeds)


def test_upsampling_conditions_on_the_picture_that_was_drawn() -> None:
    first, second = pair().stages
    low = first.generate("cat", seeds=[3]).data
    by_hand = torch.nn.functional.interpolate(low, (8, 8), mode="bilinear", antialias=True)
    drawn = pair().generate("cat", seeds=[3])
    alone = second.generate(seeds=[derived_seed(3, 1)], condition=Condition(concat=by_hand))
    assert torch.equal(drawn.data, alone.data)
    assert not torch.equal(pair(0.3).generate("cat", seeds=[3]).data, drawn.data)


def latents(concat: int = 2) -> System:
    """A system in latents of two channels, half as wide and high as its grey pictures of 16×16."""
    torch.manual_seed(2)
    codec = Latent(KLAutoencoder(1, 2, 8, (1,), 1, attention=False, patch=2), shift=(0.1, 0.2), scale=(2.0, 3.0))
    network = UNet(2, 2, width=8, multipliers=(1,), blocks=1, attention=(), concat=concat)
    denoiser = Denoiser(network, Cosine(), X0Prediction())
    return System(codec, Nothing(), denoiser, Settings((16, 16), steps=2)).to("cpu", "float32")


def test_a_picture_goes_into_latents_by_the_codec_of_the_next_system() -> None:
    first, second = pixels(4), latents()
    large = torch.nn.functional.interpolate(first.generate("cat", seeds=[3]).data, (16, 16), mode="bilinear")
    concat = second.codec.encode(large)
    alone = second.generate(seeds=[derived_seed(3, 1)], condition=Condition(concat=concat))
    drawn = Cascade([first, second], [Upsample()]).generate("cat", seeds=[3])
    assert concat.shape == (1, 2, 8, 8) and (drawn.data - alone.data).abs().max() <= 1e-6

    class Ones:
        def like(self, x: Tensor) -> Tensor:
            return torch.ones_like(x)

    given = Upsample(0.6)(first.generate("cat", seeds=[3]), {}, second, Ones(), first).given()["concat"]  # pyright: ignore
    assert torch.allclose(given, 0.8 * concat + 0.6, atol=1e-6), "noise is added to what is set beside the sample"
    wider = Cascade([first, second], [Upsample()]).generate("cat", seeds=[3], size=(32, 16))
    assert wider.data.shape == (1, 1, 16, 32)
    small = Upsample()(first.generate("cat", seeds=[3]), {}, latents(concat=1), Noise([0]), first).given()["concat"]
    assert small.shape == (1, 1, 8, 8), "a network of other channels sees the picture itself, at the latents' size"


def test_conditioning_augmentation_is_the_forward_process() -> None:
    """`√(1 − noise²)·z + noise·eps`: the variance of what is seen of unit noise stays 1."""
    system = pixels(4, Nothing(), concat=1)

    class Ones:
        def like(self, x: Tensor) -> Tensor:
            return torch.ones_like(x)

    drawn = Samples(torch.full((1, 1, 4, 4), 0.5), Image(1), ({},))
    seen = Upsample(0.6)(drawn, {}, system, Ones(), system)  # pyright: ignore
    assert torch.allclose(seen.given()["concat"], torch.tensor(0.8 * 0.5 + 0.6))
    with pytest.raises(InputError, match=r"the noise of conditioning augmentation lies in \[0, 1\), not 1$"):
        Upsample(1)


@pytest.mark.parametrize("through", ["concat", "context"])
def test_a_spectrogram_conditions_a_decoder_of_sound(through: Any) -> None:
    """Frame by frame, repeated along the samples that it stands for; or as a sequence."""
    decoder = System(Identity(Audio(8000)), Nothing(), pixels(4).denoiser, Settings((6,)))
    mel = torch.arange(6.0).reshape(1, 1, 2, 3)
    given = Vocode(through)(Samples(mel, Image(1), ({},)), {}, decoder, Noise([0]), pixels(4)).given()
    wanted = {"concat": [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]], "context": [[0, 3], [1, 4], [2, 5]]}
    assert given.keys() == {through} and given[through].tolist() == [wanted[through]]


def test_frames_count_over_all_stages() -> None:
    frames = list(pair().stream("cat", seeds=range(3), batch=2, stages=[{"steps": 4}, {"steps": 2}]))
    assert [frame.done for frame in frames] == list(range(1, 13)) and {frame.total for frame in frames} == {12}
    assert [frame.stage for frame in frames] == [0, 0, 0, 0, 1, 1] * 2, "a batch is done before the next begins"
    assert [len(frame.samples) for frame in frames if frame.samples is not None] == [2, 1]
    assert [frame.samples is not None for frame in frames] == ([False] * 5 + [True]) * 2
    assert [frame.x.shape[-1] for frame in frames] == [4, 4, 4, 4, 8, 8] * 2
    assert [frame.start for frame in frames] == [0] * 6 + [2] * 6


def test_each_stage_may_have_a_drawing_of_its_own() -> None:
    cascade, first = pair(), {"steps": 5, "guidance": 3.0, "negative": "dog", "size": (6, 4)}
    own = [first, {"sampler": "ddpm", "steps": 4}]
    drawn = cascade.generate("cat", seeds=[2], steps=3, size=(10, 8), stages=own)
    own, last = drawn.records[0]["stages"]
    assert (own["steps"], own["guidance"], own["negative"], own["size"]) == (5, 3.0, "dog", [6, 4])
    assert (last["steps"], last["sampler"]["kind"], last["size"]) == (4, "ddpm", [10, 8]) and "negative" not in last
    assert drawn.data.shape == (1, 1, 8, 10) and "condition" not in last
    again = cascade.repeat(drawn.records[0])
    assert torch.equal(again.data, drawn.data) and again.records == drawn.records
    assert cascade.generate(**from_record(json.loads(json.dumps(drawn.records[0])))).records == drawn.records


def test_settings_are_of_the_last_stage_that_reads_prompts_and_the_size_of_the_last() -> None:
    settings: dict[str, Any] = {"steps": 3, "guidance": 2.0, "negative": "dog", "sampler": "ddpm"}
    first, last = pair().generate("cat", seeds=[2], size=(10, 8), **settings).records[0]["stages"]
    assert (first["steps"], first["guidance"], first["negative"], first["sampler"]["kind"]) == (3, 2.0, "dog", "ddpm")
    assert first["size"] == [4, 4] and last["size"] == [10, 8], "what draws last says how large a picture is"
    own = pair().stages[1].settings
    assert (last["steps"], last["guidance"]) == (own.steps, own.guidance) and last["sampler"]["kind"] != "ddpm"
    readers = Cascade([pixels(4), pixels(8, concat=1, seed=1)], [Upsample()])
    first, last = readers.generate("cat", seeds=[2], steps=3).records[0]["stages"]
    assert (first["steps"], last["steps"]) == (readers.stages[0].settings.steps, 3), "the last of several that read"


@pytest.mark.parametrize(
    ("drawing", "text"),
    [
        ({"prompt": "cow"}, "there is no class 'cow' here"),
        ({"steps": 0}, "steps must be between 1"),
        ({"stages": [{"steps": 0}, {}]}, "steps must be between 1"),
        ({"stages": [{"step": 3}, {}]}, "a drawing has no argument 'step'; did you mean 'steps'"),
        ({"stages": [{}]}, "stages must be 2 drawings, one a stage of this cascade"),
        ({"stages": 3}, "stages must be a list"),
        ({"stages": [{}, {"seeds": [1]}]}, "seeds is the same for all stages: give it beside stages"),
        ({"guidence": 3}, "a drawing has no argument 'guidence'; did you mean 'guidance'"),
        (
            {"condition": Condition(concat=torch.zeros(1, 1, 8, 8))},
            "concat comes from the stage before: leave it .*out",
        ),
        ({"condition": Condition(vector=torch.zeros(1, 2))}, r"wants a condition with vector none"),
        ({"seeds": []}, "nothing to draw"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_stage_can_draw_is_refused_before_anything_is_drawn(drawing: dict[str, Any], text: str) -> None:
    cascade = pair()
    for stage in cascade.stages:
        stage.denoiser.register_forward_hook(lambda *_: pytest.fail("a network was asked"))
    with pytest.raises(InputError, match=text):
        cascade.stream(**drawing)


def test_systems_that_do_not_fit_are_refused_before_anything_is_drawn() -> None:
    plain = pixels(8)
    for stages, link, text in (
        ([pixels(4), plain], Upsample(), r"wants a condition with concat none, and was given \[1, 1, 8, 8\]"),
        ([pixels(4), plain], Embed(), "Embed takes embeddings, and the stage before it draws pictures"),
        ([pixels(4), plain], Vocode(), "Vocode leads to a system of sounds"),
        (
            [gaussian((0.0,), ((1.0,),)), plain],
            Upsample(),
            "Upsample takes pictures, and the stage before it draws embed",
        ),
        ([gaussian((0.0,), ((1.0,),)), plain], Vocode(), "Vocode takes data along time"),
        (
            [gaussian((0.0,), ((1.0,),)), gaussian((0.0,), ((1.0,),), ((1.0, 2.0),))],
            Embed(),
            r"vector \[1, 2\], and was given",
        ),
    ):
        with pytest.raises(ShapeError, match=text):
            Cascade(stages, [link]).stream()
    for stages, links in (([], []), ([plain], [Upsample()]), ([plain, plain], [])):
        with pytest.raises(InputError, match="a cascade has one system or more, and a link between each two: not"):
            Cascade(stages, links)


# Keeping --------------------------------------------------------------------------------------------------------------


def test_a_saved_cascade_is_the_same_cascade(tmp_path: Path) -> None:
    own = pair(0.25)
    own.about = {"licence": "CC0"}
    again = Cascade.load(own.save(tmp_path / "cascade"), "cpu", "float32")
    assert again.links == own.links and again.about == own.about and again.fingerprint() == own.fingerprint()
    drawn, redrawn = (one.generate("cat", seeds=[1, 2]) for one in (own, again))
    assert torch.equal(drawn.data, redrawn.data) and drawn.records == redrawn.records
    assert own.fingerprint() != pair(0.5).fingerprint() != Cascade([pixels(4)]).fingerprint()


def test_a_stage_that_is_there_twice_is_kept_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pixels(8), pixels(8, Nothing(), concat=1)
    cascade = Cascade([first, second, second], [Upsample(), Upsample(0.1)])
    folder = cascade.save(tmp_path / "cascade")
    assert len(list(folder.glob("stage-*"))) == 2
    reads, load = list[Path](), System.load
    monkeypatch.setattr(System, "load", staticmethod(lambda where, *rest: reads.append(where) or load(where, *rest)))
    again = Cascade.load(folder, "cpu", "float32")
    assert again.stages[1] is again.stages[2] is not again.stages[0] and len(reads) == 2
    assert torch.equal(again.generate("cat").data, cascade.generate("cat").data)


def test_saving_over_a_cascade_leaves_one(tmp_path: Path) -> None:
    folder = pair().save(tmp_path / "cascade")
    (folder / "stage-notes").mkdir()
    other = Cascade([pixels(4, seed=5)])
    other.save(folder)
    assert sorted(path.name[:11] for path in folder.iterdir()) == [
        "cascade.jso",
        f"stage-{other.stages[0].fingerprint()}"[:11],
        "stage-notes",
    ]
    assert Cascade.load(folder, "cpu", "float32").fingerprint() == other.fingerprint()


def test_a_folder_holds_a_system_or_a_cascade_and_never_both(tmp_path: Path) -> None:
    folder = pixels(4).save(tmp_path / "emoji", shard=1000)
    (folder / "README.md").write_text("a card")
    own = pair()
    own.save(folder)
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "cascade.json"),
        *(path.name for path in stages_of(folder)),
    }
    assert Cascade.load(folder, "cpu", "float32").fingerprint() == own.fingerprint()
    with pytest.raises(InputError, match="holds a cascade, .*: give another folder"):
        pixels(4).save(folder)


def test_saving_removes_no_folder_that_is_not_a_stage(tmp_path: Path) -> None:
    folder = pair().save(tmp_path / "cascade")
    notes = folder / "stage-0123456789ab" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    Cascade([pixels(4)]).save(folder)
    assert notes.read_text() == "mine" and len(list(folder.glob("stage-*"))) == 2


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    table = json.loads((folder / "cascade.json").read_bytes())
    change(table)
    (folder / "cascade.json").write_text(json.dumps(table))


def stages_of(folder: Path) -> list[Path]:
    return [folder / stage["folder"] for stage in json.loads((folder / "cascade.json").read_bytes())["stages"]]


def swap(folder: Path) -> None:
    one, other = stages_of(folder)
    one.rename(folder / "held")
    other.rename(one)
    (folder / "held").rename(other)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no table": (lambda f: (f / "cascade.json").unlink(), "holds no cascade: there is no cascade.json in it$"),
    "no stage": (
        lambda f: shutil.rmtree(stages_of(f)[1]),
        r"is not whole: the stage stage-\w+ is missing; copy the fol",
    ),
    "no weights": (
        lambda f: next(stages_of(f)[1].glob("*.safetensors")).unlink(),
        "is not whole: weights-.* is missing",
    ),
    "swapped": (swap, r"is damaged: stage-\w+ is another system; copy the folder again$"),
    "path up": (
        lambda f: edit(f, lambda t: t["stages"][0].update(folder="../x")),
        r"names its stage '\.\./x': it should",
    ),
    "format": (lambda f: edit(f, lambda t: t.update(format=2)), "is in format 2, and this version"),
    "no links": (
        lambda f: edit(f, lambda t: t.update(links=[])),
        "a cascade has one system or more, and a link between",
    ),
    "no stages": (lambda f: edit(f, lambda t: t.update(links=[], stages=[])), "a cascade has one system or more"),
    "many stages": (
        lambda f: edit(f, lambda t: t.update(stages=t["stages"] * 60, links=t["links"] * 119)),
        "'stages': tuple should have at most 100 items",
    ),
    "odd link": (lambda f: edit(f, lambda t: t["links"][0].update(kind="upsampel")), "did you mean 'upsample'"),
    "odd noise": (
        lambda f: edit(f, lambda t: t["links"][0].update(noise=2.0)),
        r"augmentation lies in \[0, 1\), not 2",
    ),
    "odd key": (lambda f: edit(f, lambda t: t.update(stage=[])), "there is no setting 'stage'; did you mean 'stages'"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_cascade_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    harm, text = DAMAGE[name]
    folder = pair().save(tmp_path / "cascade")
    harm(folder)
    with pytest.raises(FormatError, match=text) as caught:
        Cascade.load(folder, "cpu", "float32")
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
