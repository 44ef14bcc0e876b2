"""Latent diffusion conditioned on text, both stages: the codec, then what is drawn in it."""

import json
import logging
import os
import pkgutil
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sfumato
from condition.small_encoder import Waves
from sfumato.codec import Latent
from sfumato.condition import EncodedText, TokenIds, fit_tokenizer
from sfumato.errors import FormatError, InputError, ResumeError, StorageError
from sfumato.library import load_codec
from sfumato.nn.text.with_text import WithText
from sfumato.parts import AUTOENCODERS, NETWORKS, TEXT_ENCODERS
from sfumato.train import recipe, train
from sfumato.train.fitted_codec import FittedCodec
from sfumato.train.monitor import Logged
from sfumato.train.plan import Budget, TrainingPlan, disk_needed
from sfumato.train.trainer import Trainer
from train.small_runs import COLOURS, FIT, everything

SETTINGS = (
    "data.size=[16,16]",
    "codec.init_from=null",
    "train.init_from=null",
    f"codec.settings={json.dumps([*FIT, 'train.steps=6', 'optimizer.warmup=1'])}",
    'condition.encoder={"kind":"waves"}',
    "network.width=8",
    "network.multipliers=[1]",
    "network.blocks=1",
    "network.attention=[0]",
    "network.head_width=8",
    "network.patch=1",
    "train.batch=4",
    "train.show_minutes=99",
    "settings.steps=3",
)


@pytest.fixture(autouse=True)
def waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes may name the encoder that is known in closed form."""
    monkeypatch.setitem(TEXT_ENCODERS.kinds, "waves", Waves)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dozen pictures with one or two captions each, and one without."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(12):
        name, colour = list(COLOURS.items())[i % 3]
        Image.new("RGB", (16, 16), colour).save(folder / f"{i:02d}.png")
        if i:
            (folder / f"{i:02d}.txt").write_text(f"a {name} cat\na {name} house" if i % 2 else f"a {name} dog")
    return folder


def begin(data: Path | None, out: Path, *settings: str, **options: Any) -> Any:
    chosen: dict[str, Any] = {"device": "cpu", "precision": "float32", "steps": 4} | options
    if not chosen.get("resume"):
        chosen = {"recipe": "text-to-image", "settings": [*SETTINGS, *settings]} | chosen
    return train(data, out=out, **chosen)


def test_one_command_fits_the_codec_and_then_the_denoiser(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    system = begin(data, out)
    assert isinstance(system.codec, Latent) and isinstance(system.conditioner, EncodedText)
    assert (out / "autoencoder" / "run.json").exists() and (out / "codec" / "codec.json").exists()
    latents = next(out.glob("latents-*.npy"))
    drawn = sfumato.load(out, "cpu", "float32").generate(["a red cat", None], seeds=[1])
    assert drawn.data.shape == (2, 3, 16, 16)
    assert (drawn.data - system.generate(["a red cat", None], seeds=[1]).data).abs().max() <= 1e-6
    assert abs(float(system.codec.encode(drawn.data).std())) > 0 and latents.stat().st_size > 0
    assert "'waves'" in str(json.loads((out / "system" / "system.json").read_text()))


def test_captions_may_be_learned_to_read(data: Path, tmp_path: Path) -> None:
    system = begin(
        data, tmp_path / "run", *LEARNED, "condition.vocabulary=300", "optimizer.learning_rate=0.05", steps=12
    )
    assert isinstance(system.conditioner, TokenIds) and isinstance(system.denoiser.network, WithText)
    assert not (tmp_path / "run" / "captions.safetensors").exists(), "there is nothing to encode once"
    again = sfumato.load(tmp_path / "run", "cpu", "float32")
    one, other = (again.generate(prompt, seeds=[1]).data for prompt in ("a red cat", "a blue house"))
    assert (one - other).abs().max() > 0
    assert (one - system.generate("a red cat", seeds=[1]).data).abs().max() <= 1e-6
    assert again.truncated("a red cat " * 40).startswith("red cat") or "cat" in again.truncated("a red cat " * 40)


LEARNED = ("condition.kind=learned", "condition.width=8", "condition.layers=1", "condition.heads=2")


def test_a_run_keeps_the_tokenizer_that_it_fitted(data: Path, tmp_path: Path) -> None:
    """Else other captions would give its network's numbers to other pieces."""
    out = tmp_path / "run"
    fitted = begin(data, out, *LEARNED, "condition.vocabulary=300", "codec.kind=identity").conditioner
    (data / "01.txt").write_text("zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich")
    assert fit_tokenizer([path.read_text() for path in data.glob("*.txt")], 300) != fitted.tokenizer
    shutil.rmtree(out / "system")  # as if it had been stopped between its first checkpoint and its first system
    again = begin(data, out, resume=True, accept_changes=True, steps=6)
    assert again.conditioner == fitted and sfumato.load(out, "cpu").conditioner == fitted
    with pytest.raises(ResumeError, match="tokenizer already: condition.vocabulary cannot be changed any more"):
        begin(None, out, resume=True, settings=["condition.vocabulary=299"], accept_changes=True, steps=8)
    (out / "tokenizer.json").write_text("{")
    with pytest.raises(FormatError, match="tokenizer.json is not valid JSON"):
        begin(None, out, resume=True, accept_changes=True, steps=8)


def test_grey_pictures_are_refused_for_a_codec_that_compares_colours(data: Path, tmp_path: Path) -> None:
    perceptual = [*FIT, "reconstruction.perceptual=1", 'reconstruction.features="nowhere.npz"']
    with pytest.raises(FormatError, match=r"cannot read nowhere\.npz"):
        begin(data, tmp_path / "run", f"codec.settings={json.dumps(perceptual)}")
    settings = [f"codec.settings={json.dumps(perceptual)}", "data.channels=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sfumato.train.tasks.autoencode.MobileNet.read", lambda path: None)
        with pytest.raises(InputError, match="compares pictures in colours, and these are grey"):
            begin(data, tmp_path / "run", *settings)
    assert not (tmp_path / "run").exists()


def test_the_room_that_a_run_takes_is_known_before_its_codec_is_fitted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To within the headers of its files. What is there already is not asked for again."""
    asked: list[int] = []
    monkeypatch.setattr("sfumato.train.run.check_disk", lambda folder, needed: asked.append(needed))
    plans: list[TrainingPlan] = []
    monkeypatch.setattr(Logged, "plan", lambda self, plan: plans.append(plan))
    out = tmp_path / "run"
    system = begin(data, out)
    made = [next(out.glob("latents-*.npy")), out / "captions.safetensors"]
    kept = sum(path.stat().st_size for path in made)
    weights = [sum(p.numel() for p in own.parameters()) for own in (system.denoiser.network, system.codec)]
    assert plans[-1].prepared == kept and plans[-1].disk == disk_needed(weights[0])
    assert asked[0] == pytest.approx(sum(map(disk_needed, weights)) + kept, abs=1024)
    assert f"{(plans[-1].disk + kept) / 1e6:,.0f} MB, {kept / 1e6:,.0f} MB of it" in dict(plans[-1].lines())["disk"]
    left = disk_needed(weights[0], [out / "checkpoints", out / "system"])
    begin(None, out, resume=True, steps=6)
    assert asked[-2:] == [left, left] < [disk_needed(weights[0])] * 2


def test_a_disk_without_space_for_latents_is_reported_before_the_codec_is_fitted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfumato.train.tasks.denoise.latents_size", lambda feed, codec: 10**18)
    with pytest.raises(StorageError, match="run needs 1,000,000,000,[0-9]{3} MB of space"):
        begin(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_stopped_between_its_stages_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(data, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("sfumato.train.tasks.denoise.LatentFeed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            begin(data, tmp_path / "halved")
    begin(None, tmp_path / "halved", resume=True)
    whole, halved = everything(tmp_path / "whole" / "system"), everything(tmp_path / "halved" / "system")
    assert whole == halved


def test_a_run_that_is_stopped_in_its_first_stage_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(data, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("sfumato.train.tasks.denoise.copy_codec", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            begin(data, tmp_path / "halved")
    begin(None, tmp_path / "halved", resume=True)
    assert everything(tmp_path / "whole" / "system") == everything(tmp_path / "halved" / "system")


def test_a_codec_may_come_from_another_run(data: Path, tmp_path: Path) -> None:
    one = begin(data, tmp_path / "one")
    two = begin(data, tmp_path / "two", f"codec.path={tmp_path / 'one'}")
    assert not (tmp_path / "two" / "autoencoder").exists()
    assert two.codec.scale == one.codec.scale
    alone = train(
        data,
        out=tmp_path / "codec",
        recipe="autoencoder",
        settings=[*FIT, "data.size=[16,16]"],
        steps=2,
        device="cpu",
        precision="float32",
    )
    assert isinstance(alone, FittedCodec)
    three = begin(data, tmp_path / "three", f"codec.path={tmp_path / 'codec'}")
    assert three.codec.scale == alone.codec().scale


def test_a_codec_may_begin_with_the_weights_of_another(data: Path, tmp_path: Path) -> None:
    one = begin(data, tmp_path / "one")
    two = begin(data, tmp_path / "two", f"codec.init_from={tmp_path / 'one'}")
    record = json.loads((tmp_path / "two" / "autoencoder" / "run.json").read_text())
    assert record["recipe"]["codec"]["init_from"] == str(tmp_path / "one")
    assert (tmp_path / "two" / "autoencoder" / "checkpoints").is_dir(), "it is trained, and not taken over"
    apart = [
        max(float((mine - its).abs().max()) for mine, its in zip(*weights, strict=True))
        for weights in (
            (one.codec.parameters(), own.codec.parameters()) for own in (two, begin(data, tmp_path / "new"))
        )
    ]
    assert 0 < apart[0] < 0.02 and apart[1] == 0, "six steps on from the other's, which began as all of one seed do"


def test_a_codec_that_has_begun_goes_on_without_that_which_it_began_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(data, tmp_path / "one")
    start = f"codec.init_from={tmp_path / 'one'}"
    begin(data, tmp_path / "whole", start)
    with monkeypatch.context() as patch:
        patch.setattr("sfumato.train.tasks.denoise.copy_codec", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            begin(data, tmp_path / "halved", start)
    (tmp_path / "one").rename(tmp_path / "moved")
    begin(None, tmp_path / "halved", resume=True)
    assert everything(tmp_path / "whole" / "system") == everything(tmp_path / "halved" / "system")


def test_a_network_may_begin_with_the_weights_of_another(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sfumato")
    one = begin(data, tmp_path / "one", "optimizer.learning_rate=0.01", "optimizer.warmup=1")
    shared = [f"codec.path={tmp_path / 'one'}", "train.seed=7"]
    two = begin(data, tmp_path / "two", *shared, f"train.init_from={tmp_path / 'one'}", steps=1)
    new = begin(data, tmp_path / "new", *shared, steps=1)
    assert f"train.init_from: beginning with the weights of {tmp_path / 'one'}" in caplog.messages
    theirs = {name: value for name, value in one.denoiser.network.state_dict().items() if "layout" not in name}
    near, far = (
        max(float((own.denoiser.network.state_dict()[name] - value).abs().max()) for name, value in theirs.items())
        for own in (two, new)
    )
    assert near < 1e-4 and far > 0.1, "one step of the first of a warmup away"
    begin(data, tmp_path / "wider", *shared, f"train.init_from={tmp_path / 'one'}", "network.blocks=2", steps=1)
    assert any(
        text.startswith("train.init_from: ") and text.endswith(" tensors, which do not fit") for text in caplog.messages
    )
    (tmp_path / "one" / "system").rename(tmp_path / "moved")
    begin(None, tmp_path / "two", resume=True, steps=2)


def test_what_ships_has_the_shapes_that_recipes_begin_with() -> None:
    system = sfumato.load("emoji-single", "cpu")
    codec, network = (AUTOENCODERS.dump(system.codec.network), NETWORKS.dump(system.denoiser.network)["network"])  # type: ignore[attr-defined]
    for name in ("text-to-image", "latent"):
        own = recipe.load_recipe(name)
        assert own.codec.init_from == own.train.init_from == "emoji-single" and own.codec.path is None
        fitted = recipe.load_recipe(own.codec.fit, own.codec.settings).network
        assert codec == codec | fitted and own.data.channels == codec["in_channels"] == 3
        assert network == network | own.network
        assert recipe.load_recipe(name, ["codec.path=elsewhere"]).codec.path == "elsewhere", (
            "which is taken, whatever the start"
        )


def test_a_codec_may_be_that_of_a_system_that_ships(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (16, 16), list(COLOURS.values())[i % 3]).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("a cat")
    system = begin(folder, tmp_path / "run", "codec.path=emoji-single")
    assert system.codec.scale == load_codec("emoji-single").scale
    assert json.loads((tmp_path / "run" / "codec" / "codec.json").read_text())["about"] == {"from": "emoji-single"}
    assert {weight.dtype for weight in load_codec(tmp_path / "run").parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (["codec.init_from=nowhere"], "nowhere holds no codec"),
        (["train.init_from=nowhere"], "there is no folder nowhere"),
        (["codec.settings=[]", "codec.fit=digits"], "codec.fit names the recipe digits, whose task is denoise"),
        (["codec.path=nowhere"], "nowhere holds no codec"),
        (["data.size=[18,16]"], "nearest that fits is 16×16"),
        (["codec.settings=[]", "codec.fit=nosuch"], "there is no recipe 'nosuch'"),
        (['codec.settings=["data.flip=true"]'], "codec.settings cannot set data.flip=true"),
        (["condition.kind=learned", "condition.heads=3"], "3 heads do not divide the width 256"),
        (["condition.dropout=0.0"], "never saw an empty prompt"),
        (["network.multipliers=[1,1,1,1]", "network.resample=residual"], "does not fit a U-Net of 4 levels"),
        (["data.backgrounds=['blakc']".replace("'", '"')], "'blakc' is not the name of a colour"),
        (['data.backgrounds=["black"]', "data.channels=1"], "want data.channels=3"),
        (["condition.length=41"], "length must be from 4 to 40"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_long(
    settings: list[str], match: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=match):
        begin(data, tmp_path / "run", *settings)
    assert not (tmp_path / "run").exists()


def test_a_codec_that_was_replaced_is_not_taken_up(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run")
    begin(data, tmp_path / "other", "codec.settings=" + json.dumps([*FIT, "train.steps=2"]))
    with pytest.raises(ResumeError, match=r"\[codec\] cannot be changed any more"):
        begin(None, tmp_path / "run", resume=True, steps=6, settings=["codec.time_share=0.5"], accept_changes=True)
    shutil.rmtree(tmp_path / "run" / "codec")
    shutil.copytree(tmp_path / "other" / "codec", tmp_path / "run" / "codec")
    with pytest.raises(ResumeError, match="is not the one that this run was trained in"):
        begin(None, tmp_path / "run", resume=True, steps=6)


def test_a_run_keeps_the_codec_that_it_took_over(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "one")
    begin(data, tmp_path / "two", f"codec.path={tmp_path / 'one'}")
    shutil.rmtree(tmp_path / "one")
    begin(None, tmp_path / "two", resume=True, steps=6)


def test_the_first_stage_is_a_run_of_its_own(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "autoencoder" / "run.json").read_text())
    assert record["recipe"]["task"] == "autoencode" and record["recipe"]["train"]["steps"] == 6
    codec = begin(None, tmp_path / "run" / "autoencoder", resume=True, steps=8)
    assert isinstance(codec, FittedCodec) and codec.about["steps"] == 8


@pytest.mark.parametrize(("minutes_passed", "left"), [(6.5, 3.5), (9.9, 1.0), (50.0, 1.0)])
def test_the_minutes_are_for_both_stages(
    minutes_passed: float, left: float, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten minutes the codec gets four; the denoiser what is left when the codec is there, and a tenth at least."""
    given: list[float | None] = []
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)

    def run(self: Trainer, budget: Budget) -> None:
        given.append(budget.minutes)
        clock.now += 60 * minutes_passed
        self.save()

    monkeypatch.setattr(Trainer, "run", run)
    monkeypatch.setattr("sfumato.train.run.time", clock)
    begin(data, tmp_path / "run", "codec.time_share=0.4", steps=None, minutes=10.0)
    assert given == pytest.approx([4.0, left])


def test_captions_are_wanted(data: Path, tmp_path: Path) -> None:
    for caption in data.glob("*.txt"):
        caption.unlink()
    with pytest.raises(InputError, match="the recipe wants captions, and the data has none"):
        begin(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_data_is_not_taken_up(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run")
    (data / "01.txt").write_text("a blue house")
    with pytest.raises(ResumeError, match="fingerprint"):
        begin(data, tmp_path / "run", resume=True, steps=6)


def test_latents_that_were_altered_are_not_taken_up(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run")
    path = next((tmp_path / "run").glob("latents-*.npy"))
    before, record = path.read_bytes(), (tmp_path / "run" / "run.json").read_bytes()
    np.save(path, 0 * np.load(path))
    text = r"the file .*latents-\w+\.npy is not the one .*: put it back; or remove it, and --resume makes it anew"
    for _ in range(2):
        with pytest.raises(ResumeError, match=text):
            begin(None, tmp_path / "run", resume=True, steps=6)
    assert (tmp_path / "run" / "run.json").read_bytes() == record
    path.unlink()
    begin(None, tmp_path / "run", resume=True, steps=6)
    assert path.read_bytes() == before


def test_a_tokenizer_that_was_altered_is_not_taken_up(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", *LEARNED, "condition.vocabulary=300", "codec.kind=identity")
    path = tmp_path / "run" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    pieces = tokenizer["model"]["vocab"]
    (one, a), (other, b) = list(pieces.items())[-2:]
    pieces[one], pieces[other] = b, a
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(
        ResumeError, match=r"tokenizer\.json is not the one .*; or remove it, and --resume makes it anew"
    ):
        begin(None, tmp_path / "run", resume=True, steps=6)
    path.unlink()
    begin(None, tmp_path / "run", resume=True, steps=6)


def test_a_refused_resume_leaves_the_record_of_the_codec(data: Path, tmp_path: Path) -> None:
    """Else a second one would go on with the codec that the first was refused for."""
    begin(data, tmp_path / "run")
    codec = tmp_path / "run" / "codec" / "codec.json"
    record = json.loads(codec.read_text())
    record["codec"]["scale"] = [2 * scale for scale in record["codec"]["scale"]]
    codec.write_text(json.dumps(record))
    for _ in range(2):
        with pytest.raises(ResumeError, match="is not the one that this run was trained in: put it back"):
            begin(None, tmp_path / "run", resume=True, steps=6)


PHASES = [
    "sfumato.train.run.Run.make",
    "sfumato.train.run.Run.stage",
    "sfumato.train.tasks.denoise.copy_codec",
    "sfumato.train.tasks.denoise.CachedText",
    "sfumato.train.tasks.denoise.LatentFeed",
    "sfumato.train.tasks.denoise.fit_layout",
    "sfumato.train.trainer.Trainer.rehearse",
    "sfumato.train.checkpoint.save_checkpoint",
    "sfumato.system.file.write_folder",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("phases", [PHASES[2::5], pytest.param(PHASES, marks=pytest.mark.release)], ids=["some", "all"])
def test_a_run_killed_at_any_phase_begins_anew_or_goes_on(
    phases: list[str], after: bool, data: Path, tmp_path: Path
) -> None:
    """At the start of each phase, or at its end; nothing that a process does on its way out is done."""
    begin(data, tmp_path / "whole")
    for phase in phases:
        out = tmp_path / phase
        if not (pid := os.fork()):
            try:
                _die_at(phase, after)
                begin(data, out)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9, phase
        resume = (out / "run.json").exists()
        begin(None if resume else data, out, resume=resume)
        assert everything(tmp_path / "whole" / "system") == everything(out / "system"), phase
        assert not list(out.rglob(".*.part")), phase


def _die_at(phase: str, after: bool) -> None:
    place, _, name = phase.rpartition(".")
    owner = pkgutil.resolve_name(place)
    real = getattr(owner, name)

    def dying(*arguments: Any, **options: Any) -> Any:
        if after:
            real(*arguments, **options)
        os._exit(9)

    setattr(owner, name, dying)
