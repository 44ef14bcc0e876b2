"""A System: what it draws, and the folder that it is."""

import contextlib
import dataclasses
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato import files
from sfumato.codec import Identity, Latent
from sfumato.condition import Conditioner, Labels, Nothing
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.core.parameterization import X0Prediction
from sfumato.core.schedule import Cosine, Linear, Schedule
from sfumato.denoise import Denoiser, DenoiserLike
from sfumato.errors import FormatError, InputError, NonFiniteError, OutOfMemoryError, ShapeError, StorageError, quoted
from sfumato.guide import DynamicThreshold
from sfumato.media import Image
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.unet import UNet
from sfumato.sample import DDIM, Ancestral, AnnealedLangevin, Langevin, PredictorCorrector
from sfumato.system import System
from sfumato.system.settings import Preset, Settings, Thresholding

CLASSES = ("cat", "dog", "hen")


def small(
    conditioner: Conditioner | None = None, schedule: Schedule | None = None, seed: int = 0, attention: bool = True
) -> System:
    """A system with a tiny network whose weights are all random, none at the zero that they would start from."""
    conditioner = conditioner or Labels(CLASSES)
    torch.manual_seed(seed)
    levels = (1,) if attention else ()
    network = UNet(
        1, 1, width=8, multipliers=(1, 2), blocks=1, attention=levels, scale_shift=True, **conditioner.widths
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    settings = Settings((8, 8), steps=4)
    return System(
        Identity(Image(1)), conditioner, Denoiser(network, schedule or Cosine(), X0Prediction()), settings
    ).to("cpu", "float32")


def saved(system: System, folder: Path) -> Path:
    return system.save(folder / "system")


def reopen(folder: Path) -> System:
    return System.load(folder, "cpu", "float32")


def furthest(one: Tensor, other: Tensor) -> float:
    """The largest absolute difference."""
    return float((one - other).abs().max())


# Drawing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("sampler", ["ddim", "ddim,eta=1", "ddpm"])
def test_a_picture_depends_on_its_own_seed_alone(sampler: str, guidance: float) -> None:
    system, prompts, seeds = small(), ["cat", "hen"], list(range(8))

    def draw(prompts: list[str], seeds: list[int], batch: int | None = None) -> Tensor:
        return system.generate(prompts, seeds=seeds, sampler=sampler, guidance=guidance, batch=batch).data

    alone = torch.cat([draw([prompt], [seed]) for prompt in prompts for seed in seeds])
    apart = torch.cdist(alone.flatten(1), alone.flatten(1)) + 1e3 * torch.eye(16)
    assert apart.min() > 0.01, "sixteen seeds and prompts should give sixteen pictures"
    for batch in (1, 4, 16):
        assert furthest(draw(prompts, seeds, batch), alone) <= 1e-5
    order = random.Random(0).sample(range(8), 8)
    shuffled = draw(prompts, [seeds[i] for i in order], 5)
    assert furthest(shuffled, torch.cat([alone[:8][order], alone[8:][order]])) <= 1e-5


def test_alone_in_its_batch_a_picture_is_exactly_the_same() -> None:
    system = small()
    together = system.generate(["cat", "hen"], seeds=range(3), sampler="ddpm", guidance=2, batch=1).data
    alone = [system.generate(p, seeds=[s], sampler="ddpm", guidance=2).data for p in ("cat", "hen") for s in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_prompts_and_seeds_are_drawn_prompt_by_prompt() -> None:
    samples = small().generate(["cat", None, 2], seeds=[5, 3])
    assert [(record["prompt"], record["seed"]) for record in samples.records] == [
        ("cat", 5),
        ("cat", 3),
        (None, 5),
        (None, 3),
        (2, 5),
        (2, 3),
    ]
    assert samples.data.shape == (6, 1, 8, 8) and samples.data.dtype == torch.float32
    assert samples.data.abs().max() <= 1


def test_a_class_may_be_named_or_numbered() -> None:
    system = small()
    by_name = system.generate("dog").data
    for prompt in (1, "1", "DOG"):
        assert torch.equal(system.generate(prompt).data, by_name)
    assert furthest(system.generate("hen").data, by_name) > 1e-3


def test_guidance_changes_pictures_and_one_is_off() -> None:
    system = small()
    plain = system.generate("cat").data
    assert torch.equal(system.generate("cat", guidance=1).data, plain)
    assert furthest(system.generate("cat", guidance=3).data, plain) > 1e-3


def test_pictures_may_be_of_another_size() -> None:
    assert small().generate("cat", size=(12, 4)).data.shape == (1, 1, 4, 12)


def test_frames_say_how_far_the_drawing_is() -> None:
    frames = list(small().stream("cat", seeds=range(5), batch=2))
    assert [frame.done for frame in frames] == list(range(1, 13))
    assert {frame.total for frame in frames} == {12}
    assert [frame.samples is not None for frame in frames] == [False, False, False, True] * 3
    assert [len(frame.x) for frame in frames] == [2] * 8 + [1] * 4
    assert all(frame.x0.shape == frame.x.shape and frame.x0.abs().max() <= 1 for frame in frames)
    assert all(furthest(frame.x0, then.x0) > 0 for frame, then in pairwise(frames[:4]))
    last = [frame.samples for frame in frames if frame.samples is not None]
    together = small().generate("cat", seeds=range(5))
    assert furthest(torch.cat([samples.data for samples in last]), together.data) <= 1e-5
    assert furthest(frames[3].x0, together.data[:2]) <= 1e-5, "the last preview is the picture"


def test_a_drawing_can_be_abandoned() -> None:
    system, asked = small(), 0

    def count(*_: Any) -> None:
        nonlocal asked
        asked += 1

    system.denoiser.register_forward_hook(count)
    frames = system.stream("cat", steps=100)
    first = next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert first.done == 1 and asked == 1
    assert furthest(system.generate("cat").data, small().generate("cat").data) == 0


REFUSED = [
    (dict(prompt="cow"), InputError, r"there is no class 'cow' here; known: cat, dog, hen$"),
    (dict(prompt="heen"), InputError, r"did you mean 'hen'\? known: cat, dog, hen$"),
    (dict(prompt=3), InputError, "there is no class '3' here"),
    (dict(prompt=-1), InputError, "there is no class '-1' here"),
    (dict(prompt=["cat", "cow"]), InputError, "there is no class 'cow'"),
    (dict(prompt=[]), InputError, "nothing to draw: give at least one prompt and one seed"),
    (dict(seeds=[]), InputError, "nothing to draw"),
    (dict(seeds=[-1]), InputError, "a seed must be a whole number from 0 to 9,223,372,036,854,775,807, not -1$"),
    (dict(seeds=[2**63]), InputError, r"a seed must be .*, not 9223372036854775808$"),
    (dict(steps=0), InputError, "steps must be between 1 and 1,000 for this schedule, not 0$"),
    (dict(steps=-1), InputError, "not -1$"),
    (dict(steps=10**9), InputError, "not 1,000,000,000$"),
    (dict(steps=3, sampler="lms"), InputError, r"LMS\(order=4\) needs at least 4 steps to be of its order, not 3: "),
    (dict(guidance=math.nan), InputError, "guidance must be a number from 0 up, not nan; 1 is off$"),
    (dict(guidance=-1), InputError, "guidance must be a number from 0 up, not -1; 1 is off$"),
    (dict(guidance=math.inf), InputError, "guidance must be .*, not inf"),
    (dict(size=(0, 8)), ShapeError, r"size must be \(width, height\), each from 1 to 16,384, not \(0, 8\)$"),
    (
        dict(size=(8, 10**9)),
        ShapeError,
        r"size must be \(width, height\), each from 1 to 16,384, not \(8, 1000000000\)$",
    ),
    (
        dict(sampler="dim"),
        InputError,
        r"there is no sampler 'dim'; did you mean 'ddim'\? known: annealed-langevin, confidence-unmasking, ddim",
    ),
    (dict(sampler="ddim,eta"), InputError, "'eta' should read name=value, each name once"),
    (dict(sampler="ddim,etta=1"), InputError, r"there is no setting 'sampler.ddim.etta'; did you mean 'eta'\?"),
    (dict(sampler="ddim,eta=fast"), InputError, "'sampler.ddim.eta': input should be a valid number, not 'fast'$"),
    (dict(sampler="ddpm,variance=tiny"), InputError, "'small', 'large' or 'learned', not 'tiny'$"),
    (dict(spacing="even"), InputError, "there is no spacing 'even'; .*known: .*trailing, uniform$"),
]


def test_a_size_that_does_not_fit_names_the_nearest_before_anything_is_drawn() -> None:
    system = small()
    network = UNet(1, 1, width=8, multipliers=(1, 2), blocks=1, resample="residual", **system.conditioner.widths)
    system = System(
        Identity(Image(1)), system.conditioner, Denoiser(network, Cosine(), X0Prediction()), Settings((8, 8), steps=4)
    )
    for size, nearest in (((9, 8), "8×8"), ((1, 31), "2×32")):
        with pytest.raises(ShapeError, match=f"each side must be a multiple of 2; the nearest that fits is {nearest}$"):
            system.stream(size=size)


@pytest.mark.parametrize(("asked", "kind", "text"), REFUSED)
def test_what_cannot_be_drawn_is_refused_before_anything_is(
    asked: dict[str, Any], kind: type[Exception], text: str
) -> None:
    system, calls = small(), []
    system.denoiser.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(kind, match=text):
        system.stream(**asked)  # and not only when the first frame is asked for
    assert not calls


@pytest.mark.parametrize(
    "asked",
    [
        dict(batch=-1),
        dict(steps=1.5),
        dict(seeds=[1.5]),
        dict(seeds=["a"]),
        dict(seeds=3),
        dict(size=(8, 8, 8)),
        dict(size=("8", 8)),
        dict(prompt=1.5),
        dict(prompt=np.array("cat")),
        dict(prompt=True),
        dict(prompt=[["cat"]]),
        dict(prompt=b"cat"),
        dict(negative=np.array(["cat", "dog"]), guidance=2),
        dict(negative=1.5, guidance=2),
        dict(seeds=[True]),
        dict(seeds=itertools.count()),
        dict(seeds=10**5000),
        dict(guidance=10**400),
        dict(guidance=True),
        dict(guidance=np.array([1.0, 2.0])),
        dict(rescale=True, guidance=2),
        dict(rescale="1", guidance=2),
        dict(interval=3, guidance=2),
        dict(interval=(True, 3), guidance=2),
        dict(interval=(0, 10**400), guidance=2),
        dict(interval=np.zeros((2, 2)), guidance=2),
        dict(steps=np.float32(4)),
        dict(steps=np.bool_(True)),
        dict(size=np.array([8.0, 8.0])),
        dict(size=8.5),
        dict(guide=3),
        dict(condition=[[1.0]]),
        dict(condition=np.zeros((1, 8, 8))),
        dict(sampler=3),
        dict(sampler=DDIM),
        dict(spacing=3),
        dict(guidance="much"),
    ],
    ids=quoted,
)
def test_an_argument_of_a_wrong_type_is_an_input_error(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        small().generate(**asked)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    system, own = small(), {"steps": 3, "size": (8, 6), "guidance": 2.5, "rescale": 0.5, "interval": (0.25, 4.0)}
    plain = system.generate([1, "cat"], seeds=[3, 4], batch=2, **own)
    for kind, number in ((np.array, np.float32), (torch.tensor, np.float64)):
        theirs = {
            "steps": np.int64(3),
            "size": kind([8, 6]),
            "guidance": number(2.5),
            "rescale": kind(0.5),
            "interval": kind([0.25, 4.0]),
        }
        drawn = system.generate([np.int64(1), np.str_("cat")], seeds=kind([3, 4]), batch=kind(2), **theirs)
        assert torch.equal(drawn.data, plain.data) and drawn.records == plain.records
        assert json.loads(json.dumps(drawn.records)) == json.loads(json.dumps(plain.records))


def test_a_record_holds_a_prompt_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Labels, "index", lambda *_: 0)
    drawn = small().generate("a \udcff cat", negative="\ud83d\ude00 \ud83d", guidance=2)
    assert (drawn.records[0]["prompt"], drawn.records[0]["negative"]) == ("a \ufffd cat", "😀 \ufffd")
    json.dumps(drawn.records, ensure_ascii=False).encode()


def test_guidance_needs_an_empty_prompt_in_training() -> None:
    system = small(Labels(CLASSES, dropout=0.0))
    with pytest.raises(InputError, match="never saw an empty prompt in training, so guidance can only be 1$"):
        system.stream("cat", guidance=2)
    assert len(system.generate("cat", guidance=1)) == 1


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_system_without_conditions_takes_no_prompt(guidance: float) -> None:
    system = small(Nothing())
    with pytest.raises(InputError, match="draws without a prompt, and got 'cat': leave the prompt out$"):
        system.stream("cat", guidance=guidance)
    assert torch.equal(system.generate("").data, system.generate().data)


def test_a_batch_fits_the_size_of_the_pictures() -> None:
    system = small()
    assert [system.batch(size) for size in ((8, 8), (64, 64), (2048, 2048))] == [256, 64, 1]


# What is set around the drawing ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def default_dtype(kind: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


AROUND: dict[str, Callable[[], Any]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "another device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
}


@pytest.mark.parametrize("name", AROUND)
def test_what_a_caller_has_set_in_torch_changes_no_picture(name: str, tmp_path: Path) -> None:
    """Neither when a system is opened nor when it draws, and it is left as it was."""
    folder, asked = saved(small(), tmp_path), {"seeds": range(2), "sampler": "ddpm", "guidance": 2.0}
    plain = reopen(folder).generate("cat", **asked)
    with AROUND[name]():
        before = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
        inside = reopen(folder)
        drawn = inside.generate("cat", **asked)
        for frame in inside.stream("cat", **asked):
            now = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
            assert now == before and torch.is_autocast_enabled("cpu") == (name == "autocast")
            assert torch.is_inference_mode_enabled() == (name == "inference mode") and frame.x.dtype == torch.float32
    for found in (drawn, inside.generate("cat", **asked)):
        assert torch.equal(found.data, plain.data) and found.records == plain.records
    assert not any(weight.is_inference() for weight in inside.denoiser.parameters())


def test_a_record_says_how_float32_is_multiplied_where_a_caller_has_set_it() -> None:
    system = small()
    assert not any(name.startswith("float32") for name in system.generate("cat").records[0])
    try:
        torch.set_float32_matmul_precision("medium")
        assert system.generate("cat").records[0]["float32_matmul"] == "bf16"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert "float32_matmul" not in system.generate("cat").records[0]


# Numbers that are not finite, and memory ------------------------------------------------------------------------------


def broken(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(torch.nan)


def test_a_codec_of_nan_is_named() -> None:
    codec = Latent(KLAutoencoder(1, 2, width=8, multipliers=(1, 2), blocks=1, attention=False))
    network = UNet(2, 2, width=8, multipliers=(1,), blocks=1, attention=())
    system = System(codec, Nothing(), Denoiser(network, Cosine(), X0Prediction()), Settings((8, 8), steps=1))
    assert len(system.generate()) == 1
    broken(codec.network)
    with pytest.raises(NonFiniteError, match="the codec gave pictures with a number that is not finite"):
        system.generate()
    with pytest.raises(NonFiniteError, match="the codec gave latents with a number"):
        codec.masked_condition(torch.zeros(1, 8, 8), torch.zeros(8, 8))


def test_a_conditioner_of_nan_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Labels, "__call__", lambda _, prompts: Condition(torch.full((len(prompts), 3), torch.nan)))
    with pytest.raises(NonFiniteError, match=r"the conditioner gave vector that are not finite for \['cat'\]"):
        small().generate("cat")


def test_short_memory_says_what_to_draw_less_of() -> None:
    def short(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB")

    system = small()
    system.denoiser.register_forward_hook(short)
    with pytest.raises(OutOfMemoryError, match=r"drawing 6 of 8×8 at once .*: give batch=3 \(-n .*or a smaller size"):
        system.generate("cat", seeds=range(6), batch=6)
    with pytest.raises(OutOfMemoryError, match="drawing 1 of 8×8 at once does not fit the memory: give a smaller size"):
        system.generate("cat", batch=1)


def test_an_endless_sampler_is_refused_before_anything_is_drawn() -> None:
    within = PredictorCorrector(PredictorCorrector(AnnealedLangevin(500), 400), 400)
    for sampler, asked in (
        (AnnealedLangevin(2**32), "4,294,967,297"),
        (Langevin(1.0, 1000), "1,001"),
        (within, "1,301"),
    ):
        with pytest.raises(
            InputError, match=f"asks the network {asked} times a step, in 4 steps: at most 1,000 a step"
        ):
            small().stream("cat", sampler=sampler)
    with pytest.raises(InputError, match="1,000 times a step, in 1,000 steps|1,001 steps"):
        small(schedule=Cosine(T=2000)).stream("cat", sampler="annealed-langevin,steps=999", steps=1001)


# Keeping --------------------------------------------------------------------------------------------------------------


def test_a_saved_system_is_the_same_system(tmp_path: Path) -> None:
    system = small(schedule=Linear(T=77))
    system.settings = Settings((8, 6), DDIM(eta=0.5), steps=3, guidance=2.0)
    system.about = {"licence": "CC0", "nested": {"ü": [1, None, "x"]}}
    again = reopen(saved(system, tmp_path))
    assert again.spec() == system.spec() and again.about == system.about
    assert again.denoiser.schedule == Linear(T=77) and again.settings == system.settings
    weights, found = system.denoiser.network.state_dict(), again.denoiser.network.state_dict()
    assert weights.keys() == found.keys() and all(torch.equal(weights[name], found[name]) for name in weights)
    drawn, redrawn = (one.generate("cat", seeds=range(3)) for one in (system, again))
    assert torch.equal(drawn.data, redrawn.data) and drawn.records == redrawn.records
    assert again.fingerprint() == system.fingerprint()


def test_the_same_system_gives_the_same_files(tmp_path: Path) -> None:
    folders = [small().save(tmp_path / name) for name in ("one", "two")]
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == two and len(one) == 2


def test_the_fingerprint_is_the_same_before_and_after_saving(tmp_path: Path) -> None:
    system = small()
    before = system.fingerprint()
    assert reopen(saved(system, tmp_path)).fingerprint() == before


def test_the_fingerprint_changes_with_whatever_decides_a_picture() -> None:
    def steps(system: System) -> None:
        system.settings = dataclasses.replace(system.settings, steps=5)

    def weight(system: System) -> None:
        with torch.no_grad():
            system.denoiser.network.get_parameter("enter.weight")[0, 0, 0, 0] += 1e-6

    found = {small().fingerprint(), small(schedule=Cosine(T=999)).fingerprint(), small(Labels("abc")).fingerprint()}
    for change in (steps, weight):
        system = small()
        change(system)
        found.add(system.fingerprint())
    assert len(found) == 5 and all(len(one) == 12 and int(one, 16) >= 0 for one in found)
    assert small().fingerprint() == small().fingerprint()


@pytest.mark.parametrize("part", ["settings", "schedule", "weight"])
def test_the_fingerprint_of_a_loaded_system_changes_too(part: str, tmp_path: Path) -> None:
    system = reopen(saved(small(), tmp_path))
    before = system.fingerprint()
    if part == "settings":
        system.settings = dataclasses.replace(system.settings, steps=5)
    elif part == "schedule":
        system.denoiser.schedule = Cosine(T=999)
    else:
        with torch.no_grad():
            system.denoiser.network.get_parameter("enter.weight").add_(1)
    assert system.fingerprint() != before


def test_the_fingerprint_sees_weights_that_are_merged_behind_torchs_back(tmp_path: Path) -> None:
    """As scripts merge a LoRA: by `.data`, or numpy, of which torch counts no write."""
    system = reopen(saved(small(), tmp_path))
    seen = {system.fingerprint()}
    for name in ("enter.weight", "enter.bias"):
        weight = system.denoiser.network.get_parameter(name)
        for change in (
            lambda w: w.data.add_(0.25),
            lambda w: setattr(w, "data", w.data * 2),
            lambda w: np.add(w.detach().numpy(), 1, out=w.detach().numpy()),
        ):
            change(weight)
            seen.add(system.fingerprint())
            system.generate("cat", steps=3)
            assert system.fingerprint() in seen
    assert len(seen) == 7


def test_saving_over_a_system_leaves_one(tmp_path: Path) -> None:
    folder = saved(small(seed=1), tmp_path)
    saved(small(seed=2), tmp_path)
    assert len(list(folder.iterdir())) == 2, "the weights of the first are gone"
    assert torch.equal(reopen(folder).generate("cat").data, small(seed=2).generate("cat").data)


@pytest.mark.parametrize("broken", ["write_tensors", "write_json"])
def test_a_save_that_fails_leaves_the_old_system(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = small(seed=1)
    folder = saved(old, tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise StorageError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(files, broken, fail)
        with pytest.raises(StorageError, match="no space"):
            saved(small(seed=2), tmp_path)
    assert torch.equal(reopen(folder).generate("cat").data, old.generate("cat").data)
    saved(small(seed=3), tmp_path)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"], (
        "nothing is left of the failure"
    )


def test_saving_where_a_file_is_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match=r"cannot write .*; choose a folder that you may write to$"):
        small().save(tmp_path / "file" / "system")
    assert (tmp_path / "file").read_text() == "mine"


# Damage ---------------------------------------------------------------------------------------------------------------


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the table in system.json."""
    path = folder / "system.json"
    table = json.loads(path.read_bytes())
    edit(table)
    path.write_text(json.dumps(table), encoding="utf-8")


def test_dynamic_thresholding_may_be_without_a_bound() -> None:
    system = small()
    held = Thresholding(ratio=0.9).around(system.denoiser)
    assert isinstance(held, DynamicThreshold) and held.most == math.inf and held.ratio == 0.9
    assert isinstance(Thresholding(1.5, 0.9).around(system.denoiser), DynamicThreshold)
    assert Thresholding().around(system.denoiser) is system.denoiser


def weights_of(folder: Path) -> Path:
    return next(folder.glob("weights-*.safetensors"))


def rewritten(folder: Path, edit: Callable[[dict[str, Tensor]], Any]) -> None:
    """Other weights, under a hash that is right."""
    path = weights_of(folder)
    tensors, _ = files.read_tensors(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    edit(tensors)
    files.write_tensors(path, tensors)
    change(folder, lambda table: table["weights"][0].update(sha256=files.sha256(path)))


def cut(folder: Path) -> None:
    path = weights_of(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(folder: Path) -> None:
    data = bytearray(weights_of(folder).read_bytes())
    data[-10] ^= 1
    weights_of(folder).write_bytes(data)


def cut_under_its_own_hash(folder: Path) -> None:
    cut(folder)
    change(folder, lambda table: table["weights"][0].update(sha256=files.sha256(weights_of(folder))))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut weights": (cut, "is damaged: its hash is not the one in system.json; copy the folder again$"),
    "flipped bit": (flip, "is damaged: its hash is not the one in system.json"),
    "no weights": (lambda f: weights_of(f).unlink(), "is not whole: weights-.* is missing; copy the folder again$"),
    "cut, hash right": (cut_under_its_own_hash, "is damaged: .*; restore it from a copy$"),
    "no system.json": (lambda f: (f / "system.json").unlink(), "holds no system: there is no system.json in it$"),
    "empty system.json": (lambda f: (f / "system.json").write_bytes(b""), "is not valid JSON"),
    "a list": (lambda f: (f / "system.json").write_text("[1]"), "should hold a JSON object, and holds a list$"),
    "deep": (lambda f: (f / "system.json").write_text('{"a":' + "[" * 10**5), "is not valid JSON"),
    "path up": (
        lambda f: change(f, lambda t: t["weights"][0].update(file="../x.safetensors")),
        r"names its weights '\.\./x\.safetensors': it should be a file beside it$",
    ),
    "absolute path": (
        lambda f: change(f, lambda t: t["weights"][0].update(file="/etc/passwd")),
        "names its weights '/etc/passwd': it should be a file beside it$",
    ),
    "no file's name": (
        lambda f: change(f, lambda t: t["weights"][0].update(file=5)),
        r"'weights\.0\.file': input should be a valid string, not 5$",
    ),
    "null in name": (
        lambda f: change(f, lambda t: t["weights"][0].update(file="\0.safetensors")),
        "should be a file beside it",
    ),
    "other format": (
        lambda f: change(f, lambda t: t.update(format=1)),
        r"is in format 1, and this version of Sfumato \(.*\) reads format 3: use the version that wrote it$",
    ),
    "no format": (lambda f: change(f, lambda t: t.pop("format")), "is in format None"),
    "missing key": (lambda f: change(f, lambda t: t.pop("schedule")), "'schedule' is missing$"),
    "missing setting": (lambda f: change(f, lambda t: t["settings"].pop("steps")), r"'settings\.steps' is missing$"),
    "missing argument": (lambda f: change(f, lambda t: t["conditioner"].pop("classes")), "classes' is missing$"),
    "no process": (lambda f: change(f, lambda t: t.pop("process")), "'process' is missing$"),
    "process of tokens": (
        lambda f: change(f, lambda t: t.update(process={"kind": "masking", "mask_id": 3})),
        r"process is Masking\(mask_id=3\), and a system with a parameterization has gaussian noise$",
    ),
    "unknown kind": (
        lambda f: change(f, lambda t: t["schedule"].update(kind="cosin")),
        r"there is no schedule 'cosin'; did you mean 'cosine'\? known: alphas-cumprod",
    ),
    "unknown key": (
        lambda f: change(f, lambda t: t["network"].update(widht=8)),
        r"there is no setting 'network\.unet\.widht'; did you mean 'width'\?",
    ),
    "wrong type": (
        lambda f: change(f, lambda t: t["network"].update(width="8")),
        r"'network\.unet\.width': input should be a valid integer, not '8'$",
    ),
    "true for a number": (lambda f: change(f, lambda t: t["schedule"].update(T=True)), "valid integer, not True$"),
    "no table": (lambda f: change(f, lambda t: t.update(codec=3)), "'codec': input should be an object, not 3"),
    "settings of no table": (lambda f: change(f, lambda t: t.update(settings=[1])), r"'settings': .*not \[1\]$"),
    "impossible network": (lambda f: change(f, lambda t: t["network"].update(width=0)), "width must be from 1 to"),
    "impossible dropout": (lambda f: change(f, lambda t: t["network"].update(dropout=2)), "dropout"),
    "other shape": (
        lambda f: rewritten(f, lambda t: t.update({"network.enter.weight": torch.zeros(8, 2, 3, 3)})),
        r"'network\.enter\.weight' should be \(8, 1, 3, 3\) and is \(8, 2, 3, 3\) \(1 such\)$",
    ),
    "tensor missing": (
        lambda f: rewritten(f, lambda t: t.pop("network.enter.bias")),
        r"'network\.enter\.bias' should be \(8,\) and is absent \(1 such\)$",
    ),
    "tensor too many": (
        lambda f: rewritten(f, lambda t: t.update(more=torch.zeros(3))),
        r"'more' should be absent and is \(3,\) \(1 such\)$",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_system_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    harm, text = DAMAGE[name]
    folder = saved(small(attention=False), tmp_path)
    reopen(folder)
    harm(folder)
    with pytest.raises(FormatError, match=text) as caught:
        reopen(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


LET_IN: dict[str, Callable[[Path], Any]] = {
    "whole numbers as weights": lambda f: rewritten(
        f, lambda t: t.update({name: tensor.to(torch.int32) for name, tensor in t.items()})
    ),
    "a name longer than any file's": lambda f: change(
        f, lambda t: t["weights"][0].update(file="x" * 999 + ".safetensors")
    ),
    "size as text": lambda f: change(f, lambda t: t["settings"].update(size=["8", "8"])),
    "true for steps": lambda f: change(f, lambda t: t["settings"].update(steps=True)),
    "guidance that is no number": lambda f: change(f, lambda t: t["settings"].update(guidance=math.nan)),
    "an unknown setting": lambda f: change(f, lambda t: t["settings"].update(stepps=3)),
    "an unknown table": lambda f: change(f, lambda t: t.update(shedule={})),
    "codec and network of other channels": lambda f: change(f, lambda t: t["codec"].update(channels=3)),
    "conditioner and network of other classes": lambda f: change(f, lambda t: t["conditioner"].update(classes=["a"])),
    "no hash": lambda f: change(f, lambda t: t["weights"][0].update(sha256=None)),
}


def test_a_text_encoder_that_is_not_pinned_is_refused(tmp_path: Path) -> None:
    folder = saved(small(attention=False), tmp_path)
    encoder = {"kind": "transformers", "name": "someone/something", "width": 8, "pooled": 8, "longest": 77}
    clip = {"kind": "clip", "name": "someone/something", "family": "sd", "width": 8, "sha256": ["a" * 64]}
    for conditioner in ({"kind": "text", "encoder": encoder}, clip):
        change(folder, lambda table: table.update(conditioner=conditioner))  # noqa: B023
        with pytest.raises(FormatError, match="reads by 'someone/something' without the SHA-256 of what it was made"):
            reopen(folder)


@pytest.mark.parametrize("name", LET_IN)
def test_a_system_that_contradicts_itself_is_refused(name: str, tmp_path: Path) -> None:
    folder = saved(small(attention=False), tmp_path)
    LET_IN[name](folder)
    with pytest.raises(FormatError):
        reopen(folder)


def test_a_network_of_absurd_size_is_refused_at_once(tmp_path: Path) -> None:
    folder = saved(small(attention=False), tmp_path)
    huge = {"width": 8192, "multipliers": [64] * 12, "blocks": 64, "attention": list(range(12))}
    change(folder, lambda table: table["network"].update(huge))
    began = time.perf_counter()
    with pytest.raises(FormatError):
        reopen(folder)
    assert time.perf_counter() - began < 1


def test_weights_run_no_code(tmp_path: Path) -> None:
    """A pickle in place of the weights is refused, unopened."""
    import pickle

    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    folder = saved(small(attention=False), tmp_path)
    weights_of(folder).write_bytes(pickle.dumps(Canary()))
    change(folder, lambda table: table["weights"][0].update(sha256=files.sha256(weights_of(folder))))
    with pytest.raises(FormatError, match="is not a whole safetensors file"):
        reopen(folder)
    assert not (tmp_path / "ran").exists()


# Place ----------------------------------------------------------------------------------------------------------------


def test_precision_and_device_are_chosen_and_refused_by_name(tmp_path: Path) -> None:
    system = small()
    assert next(system.to("cpu", "bfloat16").denoiser.parameters()).dtype == torch.bfloat16
    assert system.generate("cat").records[0]["precision"] == "bfloat16"
    with pytest.raises(InputError, match="precision must be float32 or bfloat16, not 'float16'$"):
        system.to("cpu", "float16")
    for device in ("abacus", "a" * 10_000, "cpu\n"):
        with pytest.raises(
            InputError, match="^device '.* is not to be had here .*leave it out to take the best$"
        ) as caught:
            system.to(device)
        assert len(str(caught.value)) < 320
    with pytest.raises(InputError) as caught:
        system.to("cpu", "a" * 10_000)
    assert len(str(caught.value)) < 200


def test_bfloat16_draws_nearly_the_same(tmp_path: Path) -> None:
    exact = small().generate("cat", sampler=Ancestral(), seeds=range(4)).data
    rough = small().to("cpu", "bfloat16").generate("cat", sampler=Ancestral(), seeds=range(4)).data
    assert 0 < furthest(exact, rough) and float((exact - rough).abs().mean()) < 0.1


# Guides ---------------------------------------------------------------------------------------------------------------


def test_a_negative_prompt_leads_away_from_what_it_says() -> None:
    system = small()
    plain = system.generate("cat", guidance=3)
    negative = system.generate("cat", guidance=3, negative="dog")
    assert furthest(negative.data, plain.data) > 1e-3
    assert negative.records[0]["negative"] == "dog" and "negative" not in plain.records[0]
    away_from_itself = system.generate("cat", guidance=3, negative="cat")
    assert furthest(away_from_itself.data, system.generate("cat").data) < 1e-5
    with pytest.raises(InputError, match="there is no class 'cow' here"):
        system.stream("cat", guidance=3, negative="cow")


def test_guidance_keeps_to_its_interval() -> None:
    system = small()
    plain, guided = system.generate("cat", guidance=1).data, system.generate("cat", guidance=3).data
    assert torch.equal(system.generate("cat", guidance=3, interval=(1e8, 1e9)).data, plain)
    assert torch.equal(system.generate("cat", guidance=3, interval=(0.0, 1e9)).data, guided)
    some = system.generate("cat", guidance=3, interval=(0.5, 2.0))
    assert furthest(some.data, plain) > 1e-4 and furthest(some.data, guided) > 1e-4
    assert some.records[0]["interval"] == [0.5, 2.0]


def test_below_one_guidance_is_off_for_another_tools_checkpoint_alone() -> None:
    """There, 0 means none, as the cards of distilled models say; of ours, it leads to pictures of no prompt."""
    system = small()
    assert torch.equal(system.generate("cat", guidance=0).data, system.generate("dog", guidance=0).data)
    presets = {"ddim": Preset(DDIM(), system.settings.spacing)}
    system.settings = dataclasses.replace(system.settings, presets=presets)
    plain = system.generate("cat", guidance=1)
    for guidance in (0, 0.0, 0.7):
        drawn = system.generate("cat", guidance=guidance)
        assert torch.equal(drawn.data, plain.data) and drawn.records[0]["guidance"] == 1
    with pytest.raises(InputError, match="guidance must be a number from 0 up, not -1"):
        system.generate("cat", guidance=-1)


def test_rescaling_takes_contrast_back() -> None:
    system = small()
    guided, rescaled = (system.generate("cat", guidance=8, rescale=rescale).data for rescale in (0.0, 1.0))
    assert furthest(guided, rescaled) > 1e-3


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"interval": (2.0, 1.0)}, "interval must be two sigma/alpha"),
        ({"interval": (1.0,)}, "interval must be two sigma/alpha"),
        ({"interval": "wide"}, "interval must be a list"),
        ({"rescale": 1.5}, "rescale must lie between 0"),
    ],
)
def test_an_interval_or_rescale_that_cannot_be(asked: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        small().stream("cat", guidance=2, **asked)


def test_a_guide_of_ones_own_goes_around_the_denoiser() -> None:
    class Grey:
        """Believes that all data is grey."""

        def __call__(self, denoiser: DenoiserLike) -> DenoiserLike:
            class Guide:
                schedule = denoiser.schedule

                def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
                    return Estimate(x_t, level, torch.zeros_like(denoiser(x_t, level, condition).x0))

            return Guide()

        def __str__(self) -> str:
            return "grey"

    drawn = small().generate("cat", guide=Grey())
    assert drawn.data.abs().max() < 1e-6
    assert drawn.records[0]["guide"] == "grey"


def test_a_negative_prompt_needs_guidance() -> None:
    with pytest.raises(InputError, match="give guidance=2"):
        small().stream("cat", guidance=1, negative="dog")
    never_empty = small(Labels(CLASSES, dropout=0.0))
    assert len(never_empty.generate("cat", guidance=2, negative="dog")) == 1, "no empty prompt is asked"
    with pytest.raises(InputError, match="never saw an empty prompt"):
        never_empty.stream(None, guidance=2, negative="dog")


def test_what_no_solver_can_do_is_refused_before_anything_is_drawn() -> None:
    for sampler, match in {"unipc,order=9": "order of unipc", "ddpm,variance=learned": "gives no variance"}.items():
        with pytest.raises(InputError, match=match):
            small().stream("cat", sampler=sampler)


def test_weights_may_lie_in_several_files(tmp_path: Path) -> None:
    own = small()
    own.save(tmp_path / "one")
    own.save(tmp_path / "many", shard=2000)
    parts = sorted((tmp_path / "many").glob("weights-*.safetensors"))
    assert len(parts) > 3 and len(list((tmp_path / "one").glob("*.safetensors"))) == 1
    held = [files.read_tensors(path)[0] for path in parts]
    assert all(len(tensors) == 1 or sum(t.nbytes for t in tensors.values()) <= 2000 for tensors in held)
    one, many = (System.load(tmp_path / name, "cpu", "float32") for name in ("one", "many"))
    assert one.fingerprint() == many.fingerprint() == own.fingerprint(), "the same system, however it is cut up"
    assert torch.equal(one.generate("cat").data, many.generate("cat").data)
    parts[1].unlink()
    with pytest.raises(FormatError, match="is not whole: .* is missing"):
        System.load(tmp_path / "many")


def test_a_system_in_latents_is_saved_with_its_codec(tmp_path: Path) -> None:
    codec = Latent(KLAutoencoder(1, 2, width=8, multipliers=(1, 2), blocks=1, attention=False), (0.5, -0.5), (2.0,))
    network = UNet(2, 2, width=8, multipliers=(1,), blocks=1, attention=())
    own = System(codec, Nothing(), Denoiser(network, Cosine(), X0Prediction()), Settings((8, 4), steps=2))
    own.save(tmp_path / "system")
    again = System.load(tmp_path / "system", "cpu", "float32")
    assert again.fingerprint() == own.fingerprint()
    drawn = again.generate(seeds=[3]).data
    assert drawn.shape == (1, 1, 4, 8) and torch.equal(drawn, own.generate(seeds=[3]).data)
    with torch.no_grad():
        codec.network.get_parameter("decoder.enter.weight").add_(1)
    assert again.fingerprint() != own.fingerprint(), "the codec decides pictures too"
    with pytest.raises(ShapeError, match="nearest that fits is 8×4"):
        again.generate(size=(8, 5))
