"""Times that follow the losses, whose memory is kept, and networks that learn the variance too."""

import json
from pathlib import Path

import pytest
import torch
from small_runs import begin, digest, equal, everything, newest, tensors, trainer

import sfumato
from sfumato.errors import InputError, ResumeError
from sfumato.loss import ImportanceTimes
from sfumato.sample import Ancestral
from sfumato.train import checkpoint
from sfumato.train.plan import Budget

T = 4
CHAIN = f'schedule={{"kind":"linear","T":{T},"beta_end":0.5}}'
FOLLOW = (
    CHAIN,
    'times={"kind":"importance","history":3,"uniform":0.1}',
    'loss={"kind":"denoising","weight":{"kind":"unit","view":"x0"}}',  # which differs from time to time
)
LEARNED = ('variance="learned"', 'loss={"kind":"hybrid"}', 'settings.sampler={"kind":"ddpm","variance":"learned"}')

# Times that follow the losses -----------------------------------------------------------------------------------------


def test_a_resumed_run_remembers_the_losses(data: Path, tmp_path: Path) -> None:
    """The same bytes, memory and all, whether it stops before there is a full history or after."""
    more = ("train.accumulate=2", "network.dropout=0.2")
    begin(data, tmp_path / "once", *FOLLOW, *more, steps=9)
    begin(data, tmp_path / "thrice", *FOLLOW, *more, steps=1)
    assert tensors(newest(tmp_path / "thrice"))["memory"].isnan().any()
    for steps in (6, 9):
        begin(None, tmp_path / "thrice", resume=True, steps=steps)
        assert not tensors(newest(tmp_path / "thrice"))["memory"].isnan().any()
    once, thrice = tensors(newest(tmp_path / "once")), tensors(newest(tmp_path / "thrice"))
    assert once["memory"].shape == (T, 3) and once["memory"].dtype == torch.float64
    assert equal(once, thrice)
    assert digest(newest(tmp_path / "once")) == digest(newest(tmp_path / "thrice"))
    assert everything(tmp_path / "once" / "system") == everything(tmp_path / "thrice" / "system")


def test_another_memory_would_be_another_run(data: Path, tmp_path: Path) -> None:
    """The test above can fail: what is remembered decides where training goes."""
    begin(data, tmp_path / "run", *FOLLOW, steps=6)
    ends = []
    for forget in (False, True):
        own = trainer(data, tmp_path / str(forget), *FOLLOW)
        own.resume(newest(tmp_path / "run"))
        assert own.memory is not None
        if forget:
            own.memory = own.memory.flip(0)
        own.run(Budget(9))
        ends.append(own.network.get_parameter("enter.weight").clone())
    assert not torch.equal(*ends)


def test_the_memory_holds_the_last_losses_of_each_time(data: Path, tmp_path: Path) -> None:
    own = trainer(data, tmp_path, *FOLLOW)
    seen: dict[int, list[float]] = {t: [] for t in range(T)}
    for step in range(4):
        batch = own._dataset()[step]
        t, losses = own._gradients(batch, step)
        for place, loss in zip(t.long().tolist(), losses.tolist(), strict=True):
            seen[place].append(loss)
        own._update(batch)
    assert own.memory is not None
    for place, losses in seen.items():
        assert len(losses) > 3, "every time was drawn"
        assert own.memory[place].tolist() == losses[-3:]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_gradients_are_those_of_losses_over_their_probability(accumulate: int, data: Path, tmp_path: Path) -> None:
    own = trainer(data, tmp_path, *FOLLOW, f"train.accumulate={accumulate}")
    own.run(Budget(5))
    times, batch = own.recipe.times, own._dataset()[5]
    assert isinstance(times, ImportanceTimes) and own.memory is not None
    t, factor = times.draw(own.recipe.schedule, batch.u, own.memory)
    assert factor.max() > 1.2 * factor.min(), "times are not uniform"
    own._gradients(batch, 5)
    found = [parameter.grad.clone() for parameter in own.network.parameters() if parameter.grad is not None]
    own.optimizer.zero_grad()
    (own._losses(batch, t) * factor.float()).mean().backward()
    wanted = [parameter.grad for parameter in own.network.parameters() if parameter.grad is not None]
    assert max(float((here - there).abs().max()) for here, there in zip(found, wanted, strict=True)) < 1e-6
    assert max(float(there.abs().max()) for there in wanted) > 1e-3


def test_rehearsing_is_not_remembered(data: Path, tmp_path: Path) -> None:
    own = trainer(data, tmp_path, *FOLLOW)
    own.rehearse(Budget(3))
    assert own.memory is not None and own.memory.isnan().all()


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [((CHAIN,), FOLLOW), (FOLLOW, (CHAIN,)), (FOLLOW, (CHAIN, 'times={"kind":"importance","history":4}'))],
    ids=["none", "too much", "another"],
)
def test_a_memory_of_other_times_changes_nothing(
    kept: tuple[str, ...], wanted: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    begin(data, tmp_path / "run", *kept, steps=1)
    own = trainer(data, tmp_path / "other", *wanted)
    weight, memory = own.network.get_parameter("enter.weight").clone(), own.memory
    with pytest.raises(
        ResumeError, match="does not fit this run: it remembers other losses than the recipe's times do"
    ):
        own.resume(newest(tmp_path / "run"))
    assert own.step == 0 and own.memory is memory
    assert torch.equal(own.network.get_parameter("enter.weight"), weight)


def test_without_such_times_nothing_is_remembered(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "run", steps=1)
    assert "memory" not in tensors(newest(tmp_path / "run"))
    own = trainer(data, tmp_path / "other")
    assert checkpoint.load_checkpoint(newest(tmp_path / "run"), own.network, own.average, own.optimizer) == (1, None)


def test_times_of_a_schedule_without_whole_ones_cannot_be_followed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="importance times count losses of whole times, and this schedule has none"):
        begin(data, tmp_path, 'schedule={"kind":"vp"}', FOLLOW[1], steps=1)


# Learned variance -----------------------------------------------------------------------------------------------------


def test_a_network_learns_the_variance_and_keeps_it(data: Path, tmp_path: Path) -> None:
    system = begin(data, tmp_path / "run", *LEARNED, "optimizer.learning_rate=1e-2", steps=4)
    assert system.denoiser.network.out_channels == 2 and system.settings.sampler == Ancestral("learned")
    again = sfumato.load(tmp_path / "run", "cpu", "float32")
    x, level = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), system.denoiser.schedule
    here, there = (
        one.denoiser.eval()(x, level(torch.tensor([50])), one.conditioner([0, 1])) for one in (system, again)
    )
    assert (
        here.variance_fraction is not None
        and there.variance_fraction is not None
        and here.variance_fraction.shape == x.shape
    )
    assert torch.equal(here.variance_fraction, there.variance_fraction) and torch.equal(here.x0, there.x0)
    assert (here.variance_fraction - 0.5).abs().max() > 1e-4, "it has learnt something of it"
    (mine,), (its,) = (one.generate([0], seeds=[3]).images() for one in (system, again))
    assert mine.tobytes() == its.tobytes()


def test_a_learned_variance_wants_a_loss_that_teaches_it(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="variance=learned wants a loss that teaches the variance: loss.kind=hybrid"):
        trainer(data, tmp_path / "simple", LEARNED[0], 'loss={"kind":"denoising"}')
    with pytest.raises(InputError, match="this network gives none"):
        trainer(data, tmp_path / "hybrid", LEARNED[1])


def test_the_bound_reaches_the_variance_and_the_simple_loss_does_not(data: Path, tmp_path: Path) -> None:
    """The last layer has two channels: the estimate's, and the variance's."""
    moved = []
    for name, share in (("hybrid", 0.001), ("simple", 0.0)):
        own = trainer(data, tmp_path / name, LEARNED[0], f'loss={{"kind":"hybrid","share":{share}}}')
        own._gradients(own._dataset()[0], 0)
        last = [p.grad for p in own.network.parameters() if p.grad is not None and p.shape[:1] == (2,)][-1]
        moved.append([float(row.abs().max()) for row in last])
    (of_mean, of_variance), (of_simple, of_nothing) = moved
    assert of_mean == pytest.approx(of_simple, rel=1e-5)
    assert of_variance > 1e-9 and of_nothing == 0


def test_a_run_that_learns_the_variance_resumes_with_the_same_bytes(data: Path, tmp_path: Path) -> None:
    settings = [*LEARNED, 'times={"kind":"importance","history":1}', CHAIN]
    begin(data, tmp_path / "once", *settings, steps=6)
    begin(data, tmp_path / "twice", *settings, steps=3)
    begin(None, tmp_path / "twice", resume=True, steps=6)
    assert digest(newest(tmp_path / "once")) == digest(newest(tmp_path / "twice"))
    record = json.loads((tmp_path / "once" / "run.json").read_text())
    assert record["recipe"]["variance"] == "learned"


def test_a_hybrid_loss_wants_a_network_that_gives_a_variance(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this network gives none: set variance=learned"):
        begin(data, tmp_path, LEARNED[1], steps=1)


def test_variance_is_fixed_or_learned(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'variance': input should be 'fixed' or 'learned', not 'free'"):
        begin(data, tmp_path, 'variance="free"', steps=1)
