"""The loop: it learns, it stops, it keeps, and nothing that is not finite reaches the weights."""

import json
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import (
    begin,
    checkpoints,
    digest,
    equal,
    everything,
    last_step,
    newest,
    pictures_file,
    read,
    tensors,
    trainer,
    weights,
)
from torch import Tensor

import sfumato
from sfumato.condition import Nothing
from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal
from sfumato.core.schedule import Schedule
from sfumato.denoise import Denoiser
from sfumato.errors import InputError, NonFiniteError, OutOfMemoryError, SfumatoError, StorageError
from sfumato.loss import Denoising
from sfumato.system.samples import read_record
from sfumato.train import checkpoint, recipe
from sfumato.train.batches import Batches
from sfumato.train.plan import Budget
from sfumato.train.trainer import Trainer

# Learning -------------------------------------------------------------------------------------------------------------


def mean_loss(denoiser: Denoiser, own: Trainer) -> float:
    """L_simple over 512 samples, with draws that no step of training makes."""
    conditioner = own.artefact.conditioner
    batch = Batches(own.trainee.feed, (1, 8, 8), seed=10**6, batch=512, dropout=0.0, conditioner=conditioner)[0]
    level = own.recipe.schedule(own.recipe.times(own.recipe.schedule, batch.u))
    with torch.no_grad():
        estimate = denoiser.eval()(marginal(batch.x_0, level).sample(batch.noise), level, batch.condition)
    return float(Denoising()(estimate, batch.x_0, own.recipe.schedule).mean())


def test_the_loss_on_digits_falls(tmp_path: Path) -> None:
    own = trainer("digits", tmp_path / "run", "network.width=16", "train.batch=32", "optimizer.learning_rate=3e-3")
    before = mean_loss(own.model, own)
    assert before == pytest.approx(1, abs=0.02), "a network that says nothing misses the whole of the noise"
    own.run(Budget(60))
    assert mean_loss(own.model, own) < 0.5 * before
    assert mean_loss(own.artefact.denoiser, own) < 0.6 * before, "and that of the average"


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_parts_of_a_batch_give_the_weights_of_the_whole(
    accumulate: int, dropout: float, data: Path, tmp_path: Path
) -> None:
    """In float64: Adam blows the rounding of gradients that are all but zero up to the size of a step."""
    settings = (f"network.dropout={dropout}", "optimizer.learning_rate=0.01")
    whole, parts = (trainer(data, tmp_path / str(n), f"train.accumulate={n}", *settings) for n in (1, accumulate))
    for own in (whole, parts):
        own.network.double(), own.average.double()
        own.run(Budget(3))
    furthest = max(float((weights(whole)[name] - tensor).abs().max()) for name, tensor in weights(parts).items())
    assert furthest <= 1e-6


def test_the_accumulation_and_scaling_of_accelerate_are_not_ours(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trainer(data, tmp_path)
    monkeypatch.setattr(own.compute.accelerator, "backward", lambda *_: pytest.fail("it would divide the gradients"))
    own._gradients(own._dataset()[0], 0)
    assert any(bool(parameter.grad.any()) for parameter in own.network.parameters() if parameter.grad is not None)


def test_a_part_of_a_batch_weighs_as_a_sample_does(data: Path, tmp_path: Path) -> None:
    """Gradients are those of the mean over the batch, whatever it is cut into."""
    gradients = []
    for n in (1, 8):
        own = trainer(data, tmp_path / str(n), f"train.accumulate={n}")
        own._gradients(own._dataset()[0], 0)
        gradients.append([parameter.grad.clone() for parameter in own.network.parameters()])  # type: ignore[union-attr]
    assert max(float((a - b).abs().max()) for a, b in zip(*gradients, strict=True)) <= 1e-6
    assert max(float(a.abs().max()) for a in gradients[0]) > 1e-3


def test_the_rate_rises_and_falls_and_gradients_are_clipped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, norms = [], []
    settings = ("optimizer.warmup=3", "optimizer.learning_rate=1e-3", "optimizer.decay=4", "optimizer.clip=0.01")
    own = trainer(data, tmp_path, *settings)
    step = own.optimizer.step

    def look(*args: Any) -> Any:
        rates.append(own.optimizer.param_groups[0]["lr"])
        norms.append(math.hypot(*(float(p.grad.norm()) for p in own.network.parameters() if p.grad is not None)))
        return step(*args)

    monkeypatch.setattr(own.optimizer, "step", look)
    own.run(Budget(6))
    assert rates == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3, 1e-3 * (4 / 5) ** 0.5, 1e-3 * (4 / 6) ** 0.5])
    assert norms == pytest.approx([0.01] * 6, rel=1e-3)


def test_the_average_is_that_of_the_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    own = trainer(data, tmp_path)
    step = own.optimizer.step

    def look(*args: Any) -> Any:
        result = step(*args)
        seen.append(own.network.get_parameter("enter.weight").detach().double().clone())
        return result

    monkeypatch.setattr(own.optimizer, "step", look)
    own.run(Budget(5))
    edges = (np.arange(6) / 5) ** (own.recipe.average.gamma + 1)
    expected = sum(float(share) * weight for share, weight in zip(np.diff(edges), seen, strict=True))
    assert (own.average.get_parameter("enter.weight") - expected).abs().max() < 1e-7


def test_bfloat16_trains_too(data: Path, tmp_path: Path) -> None:
    system = begin(data, tmp_path / "run", steps=2, precision="bfloat16")
    assert next(system.denoiser.parameters()).dtype == torch.bfloat16
    held = tensors(newest(tmp_path / "run"))
    assert {tensor.dtype for tensor in held.values()} == {torch.float32}, "what is kept is exact"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["precision"] == "bfloat16"


# Conditions -----------------------------------------------------------------------------------------------------------


def test_pictures_without_classes_train_without_conditions(tmp_path: Path) -> None:
    system = begin(pictures_file(tmp_path / "plain.npz", labels=[]), tmp_path / "run", steps=2)
    assert system.conditioner == Nothing() and system.generate(seeds=[1]).data.shape == (1, 1, 8, 8)


def test_classes_can_be_left_aside(data: Path, tmp_path: Path) -> None:
    assert begin(data, tmp_path / "run", "condition.kind=nothing", steps=2).conditioner == Nothing()


def test_a_single_class_trains_without_conditions(tmp_path: Path) -> None:
    one = pictures_file(tmp_path / "one.npz", labels=[0] * 24)
    assert begin(one, tmp_path / "run", steps=2).conditioner == Nothing()


def test_fewer_pictures_than_a_batch_are_enough(tmp_path: Path) -> None:
    begin(pictures_file(tmp_path / "few.npz", n=3), tmp_path / "run", steps=2)
    assert last_step(tmp_path / "run") == 2


# Budgets --------------------------------------------------------------------------------------------------------------


def test_minutes_stop_a_run(data: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    begin(data, tmp_path / "run", minutes=0.01)
    assert 0.6 <= time.monotonic() - began < 30 and last_step(tmp_path / "run") >= 1


@pytest.mark.parametrize(("images", "steps"), [(16, 2), (17, 3)])
def test_images_stop_a_run(images: int, steps: int, data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", images=images)
    assert last_step(tmp_path / "run") == steps


def test_the_recipe_says_how_long_unless_asked(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", "train.steps=3")
    assert last_step(tmp_path / "run") == 3


# Keeping --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five steps that saved and showed after each. Look, and do not touch."""
    out = tmp_path_factory.mktemp("finished") / "run"
    begin(data, out, "train.save_minutes=0", "train.show_minutes=0", steps=5)
    return out


def test_two_checkpoints_are_kept_and_both_load(finished: Path, data: Path, tmp_path: Path) -> None:
    assert [path.name for path in checkpoints(finished)] == ["step-000000004.safetensors", "step-000000005.safetensors"]
    for step, path in zip((4, 5), checkpoints(finished), strict=True):
        own = trainer(data, tmp_path)
        assert checkpoint.load_checkpoint(path, own.network, own.average, own.optimizer) == (step, None)


def test_a_run_leaves_what_it_says_and_nothing_else(finished: Path) -> None:
    files = {"run.json", "log.jsonl", "history.json", "index.html"}
    assert {path.name for path in finished.iterdir()} == {*files, "checkpoints", "samples", "system"}
    assert len(list((finished / "system").iterdir())) == 2
    assert not list(finished.rglob("*.part")) and not list(finished.rglob(".*"))


def test_the_record_says_what_decides_the_weights(finished: Path, data: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["data"] == str(data) and record["fingerprint"] == read(data).fingerprint
    assert record["recipe"]["train"]["batch"] == 8 and record["recipe"]["optimizer"]["weight_decay"] == 0.0
    assert record["precision"] == "float32" and record["sfumato"] == "0.1.0" and record["format"] == 2


def test_the_system_holds_the_average(finished: Path) -> None:
    system = sfumato.load(finished, "cpu", "float32")
    average = {name: t for name, t in tensors(newest(finished)).items() if name.startswith("average.")}
    found = {f"average.{name}": tensor for name, tensor in system.denoiser.network.state_dict().items()}
    assert equal(average, found)
    assert system.about == {"recipe": recipe.load_recipe("digits").about, "steps": 5, "pictures seen": 40}
    assert system.conditioner.classes == ("0", "1", "2")  # type: ignore[attr-defined]


def test_the_log_has_a_line_for_the_last_step(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 5 and 0 < lines[-1]["loss"] < 5
    assert {"step", "loss", "pictures_a_second", "share_of_peak", "seconds"} <= lines[-1].keys()
    assert 0 < lines[-1]["share_of_peak"] < 1


def test_sheets_show_a_class_a_row(finished: Path) -> None:
    sheets = sorted((finished / "samples").glob("step-*"))
    assert (sheets[0].name, sheets[-1].name) == ("step-000000001.png", "step-000000005.png")
    with Image.open(sheets[-1]) as page:
        heading = page.height - 3 * 98 - 2
        assert page.width == 8 * 98 + 2 and heading > 30, "three classes by eight seeds, enlarged, below their names"
    record = read_record(sheets[-1])
    assert record["seed"] == 0 and record["captions"] == ["0", "1", "2"]
    assert (finished / "samples" / "latest.png").read_bytes() == sheets[-1].read_bytes()


def test_a_latest_sheet_of_somebody_else_stays(data: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "samples" / "latest.png"
    theirs.parent.mkdir()
    theirs.write_bytes(b"mine")
    assert trainer(data, tmp_path).show() == tmp_path / "samples" / "step-000000000.png"
    assert theirs.read_bytes() == b"mine"


def test_a_sheet_names_the_system_that_drew_it(data: Path, tmp_path: Path) -> None:
    """Also between two saves."""
    own = trainer(data, tmp_path, "train.save_minutes=99", "train.show_minutes=0")
    own.run(Budget(1))  # which ends with a save
    own.run(Budget(3))
    named = [read_record(sheet)["system"] for sheet in sorted((tmp_path / "samples").glob("step-*"))]
    assert named[-1] == sfumato.load(tmp_path, "cpu", "float32").fingerprint()
    assert len(named) == 3 and len(set(named)) == 3


def test_the_system_returned_is_the_one_kept(data: Path, tmp_path: Path) -> None:
    system = begin(data, tmp_path / "run", steps=3)
    kept = sfumato.load(tmp_path / "run", "cpu", "float32")
    assert system.fingerprint() == kept.fingerprint()
    assert torch.equal(system.generate("1").data, kept.generate("1").data)


# What is not finite ---------------------------------------------------------------------------------------------------


def poisoned(monkeypatch: pytest.MonkeyPatch, way: str, call: int, sample: int = 0) -> None:
    """From the `call`-th on, the loss of one sample is NaN, or infinite, or finite with a gradient that is not."""
    calls, honest = 0, Denoising.__call__

    def loss(self: Denoising, estimate: Estimate, x_0: Tensor, schedule: Schedule) -> Tensor:
        nonlocal calls
        calls += 1
        loss = honest(self, estimate, x_0, schedule)
        if calls < call:
            return loss
        if way == "gradient":
            return loss + (loss - loss.detach()).sqrt() * (torch.arange(len(loss)) == sample)
        return torch.where(torch.arange(len(loss)) == sample, math.nan if way == "nan" else math.inf, loss)

    monkeypatch.setattr(Denoising, "__call__", loss)


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("nan", r"^the loss at step 2 is not finite for 1 of 8 pictures \(small\[\d+\]\); the weights are as before"),
        ("inf", r"^the loss at step 2 is not finite for 1 of 8 pictures \(small\[\d+\]\); the weights are as before"),
        (
            "gradient",
            "^the gradient at step 2 is not finite, though the loss is .*; the weights are as before the step",
        ),
    ],
)
def test_what_is_not_finite_never_reaches_the_weights(
    way: str, text: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = trainer(data, tmp_path / "well", "train.save_minutes=0")
    well.run(Budget(2))
    ill = trainer(data, tmp_path / "ill", "train.save_minutes=0")
    poisoned(monkeypatch, way, call=3)
    with pytest.raises(NonFiniteError, match=text):
        ill.run(Budget(5))
    assert ill.step == 2 and equal(weights(ill), weights(well))
    for part in ("checkpoints", "system"):
        assert everything(tmp_path / "ill" / part) == everything(tmp_path / "well" / part)


def test_the_pictures_that_gave_it_are_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(data, tmp_path, "train.accumulate=4")
    batch = own._dataset()[0]
    poisoned(monkeypatch, "nan", call=1, sample=1)  # the second of each part of two
    names = ", ".join(own.trainee.feed.dataset.names[int(i)] for i in batch.sample[1::2][:3]).replace("[", r"\[")
    with pytest.raises(NonFiniteError, match=rf"at step 0 is not finite for 4 of 8 pictures \({names}\)"):
        own.run(Budget(1))
    assert own.step == 0 and not (tmp_path / "checkpoints").exists()


def test_a_run_that_begins_so_leaves_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(monkeypatch, "nan", call=1)
    with pytest.raises(NonFiniteError, match="the loss at step 0"):
        begin(data, tmp_path / "run", steps=3)
    assert not (tmp_path / "run").exists()


# Memory and disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 9 TB")]
)
def test_too_little_memory_says_what_to_set(
    error: Exception, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Denoising, estimate: Estimate, x_0: Tensor, schedule: Schedule) -> Tensor:
        if x_0.ndim < 4:
            return torch.zeros(len(x_0))  # the recipe is tried out on numbers
        raise error

    monkeypatch.setattr(Denoising, "__call__", fail)
    text = r"a batch of 8 in 2 parts does not fit the memory: set train.accumulate=4 .*, or train.batch lower$"
    with pytest.raises(OutOfMemoryError, match=text):
        begin(data, tmp_path / "run", "train.accumulate=2", steps=2)
    assert not (tmp_path / "run").exists()


def test_another_error_is_not_taken_for_want_of_memory(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Denoising, estimate: Estimate, x_0: Tensor, schedule: Schedule) -> Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Denoising, "__call__", fail)
    with pytest.raises(RuntimeError, match="^shapes do not match$"):
        begin(data, tmp_path / "run", steps=2)


def test_a_disk_without_space_is_reported_before_anything(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100_000

    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage)
    text = r"run needs [\d.]+ MB of space and there are [\d.]+ MB free: make room, or choose another folder with --out$"
    with pytest.raises(StorageError, match=text):
        begin(data, tmp_path / "run", steps=2)
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(data: Path, tmp_path: Path) -> None:
    """Files may not grow beyond a share of a checkpoint's size, as on a disk that is full there."""
    resource = pytest.importorskip("resource")
    out = tmp_path / "run"
    begin(data, out, steps=2)
    before, size = everything(out / "checkpoints") | everything(out / "system"), newest(out).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for percent in (0, 1, 10, 25, 40, 55, 70, 85, 95, 99):
        own = trainer(data, out)
        own.resume(newest(out))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * percent // 100, limits[1]))
        try:
            with pytest.raises(StorageError, match="cannot write|no space to write"):
                own.run(Budget(3))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert everything(out / "checkpoints") | everything(out / "system") == before, "nothing lost, nothing left over"
    begin(None, out, resume=True, steps=3)
    assert last_step(out) == 3


def test_a_full_disk_names_what_is_free(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    begin(data, out, steps=2)
    kept = digest(newest(out))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfumato.serial.pieces", fail)
    text = r"^no space to write .*: [\d,.]+ MB needed, [\d,.]+ MB free; what was there before is untouched$"
    with pytest.raises(StorageError, match=text):
        begin(None, out, resume=True, steps=3)
    assert digest(newest(out)) == kept and last_step(out) == 2


def test_a_file_in_place_of_a_folder_is_reported(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises((InputError, StorageError), match="is not empty|is a file, not a folder"):
            begin(data, out, steps=2)
    assert (tmp_path / "file").read_text() == "mine"


def test_processes_share_a_batch_evenly(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one would wait for another for ever."""
    monkeypatch.setattr(
        "sfumato.train.processes.join", lambda *_: SimpleNamespace(num_processes=3, device=torch.device("cpu"))
    )
    message = r"train.batch \(8\) must be a multiple of 6: 3 processes .* in 2 parts each; set train.batch=6"
    with pytest.raises(InputError, match=message):
        begin(data, tmp_path / "run", "train.accumulate=2", steps=1)


def test_the_device_is_the_one_asked_for(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SfumatoError, match="device 'abacus' is not to be had here"):
        begin(data, tmp_path / "run", steps=1, device="abacus")
