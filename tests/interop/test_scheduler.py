"""Diffusers' schedulers, run as they are in their own float32, beside what we make of their configurations.

Both ask one network, in closed form: its output depends on the time that it receives, as a trained one's does.
"""

import inspect
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato.core.discrete import DiscreteSpacing
from sfumato.core.estimate import Estimate
from sfumato.core.grid import (
    KarrasSpacing,
    LeadingSpacing,
    LogSNRSpacing,
    QuadraticSpacing,
    TrailingSpacing,
    initial_std,
    levels,
)
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.parameterization import EDMPreconditioning, EpsPrediction, FlowPrediction, ScorePrediction
from sfumato.core.schedule import EDM, VP, Linear, ScaledLinear, Table, ZeroTerminal
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.denoise import Denoiser
from sfumato.errors import FormatError, InputError
from sfumato.interop.diffusers.schedulers.config import read_scheduler, write_scheduler
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler
from sfumato.interop.diffusers.schedulers.solver_options import UNBOUNDED
from sfumato.interop.diffusers.schedulers.table import CLASS_OF_SAMPLER, OTHER_SCHEDULERS, SCHEDULERS
from sfumato.oracle import MixtureDenoiser
from sfumato.parts import SAMPLERS, SCHEDULES, SPACINGS
from sfumato.sample import DDIM, Ancestral, DPMSolver, Euler, Heun, sample
from sfumato.system.settings import Thresholding

diffusers = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # theirs, with numpy 2
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BOUND = 1e-4
SEEDS = (3, 4, 5)
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5]], dtype=torch.float64)[:, :, None, None]
STDS = torch.tensor([0.6, 0.7, 0.5], dtype=torch.float64)
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
ZERO = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}


class Network(nn.Module):
    """The exact answer for a mixture of Gaussians, at the noise of the time that it receives."""

    def __init__(self, scheduler: Scheduler, kind: str, twice: bool = False) -> None:
        super().__init__()
        self.scheduler, self.kind, self.twice = scheduler, kind, twice
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        level = self.level(time.double().reshape(-1)[:1])
        x_t = x.double()
        if self.kind == "karras":
            x_t = x_t * (level.sigma**2 + 0.25).sqrt()
        estimate = MixtureDenoiser(self.scheduler.schedule, WEIGHTS, MEANS, STDS)(x_t, level)
        output = self.output(estimate)
        return torch.cat([output, torch.sin(3 * x_t)], 1).to(x.dtype) if self.twice else output.to(x.dtype)

    def level(self, time: Tensor) -> Level:
        if self.kind == "karras":
            return Level(time, torch.ones_like(time), torch.exp(4 * time))
        if self.kind == "flow":
            return Level(time, 1 - time / 1000, time / 1000)
        return self.scheduler.schedule(time)

    def output(self, estimate: Estimate) -> Tensor:
        if self.kind == "karras":
            sigma = estimate.level.sigma
            skip, out = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / (sigma**2 + 0.25).sqrt()
            return (estimate.x0 - skip * estimate.x_t) / out
        return getattr(estimate, {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}.get(self.kind, self.kind))


def theirs(config: dict[str, Any], network: Network, steps: int) -> Tensor:
    """Their scheduler's trajectory, as their pipelines take it."""
    options = {key: value for key, value in config.items() if key != "_class_name"}
    scheduler = getattr(diffusers, config["_class_name"])(**options)
    scheduler.set_timesteps(steps)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    x = torch.cat([torch.randn(1, 2, 1, 1, generator=generator) for generator in generators])
    x = x * getattr(scheduler, "init_noise_sigma", 1.0)
    takes = "generator" in inspect.signature(scheduler.step).parameters
    takes = takes and config["_class_name"] != "EulerDiscreteScheduler"
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = network(seen, t).detach()
        if network.twice and config["_class_name"] != "DDPMScheduler":
            output = output[:, :2]
        x = scheduler.step(output, t, x, **({"generator": generators} if takes else {})).prev_sample
    return x


def ours(scheduler: Scheduler, network: Network, steps: int) -> Tensor:
    noise = Noise(SEEDS)
    path = levels(scheduler.schedule, scheduler.spacing, steps)
    x = noise(2, 1, 1) * initial_std(scheduler.spacing, path[0])
    denoiser = scheduler.thresholding.around(Denoiser(network, scheduler.schedule, scheduler.parameterization))
    *_, x = sample(denoiser, scheduler.sampler, x, path, noise=noise)
    return x / path[-1].alpha.float() if config_of(scheduler) == "EulerDiscreteScheduler" else x


def config_of(scheduler: Scheduler) -> str:
    """Theirs end in x/alpha."""
    return "EulerDiscreteScheduler" if isinstance(scheduler.sampler, Euler) else ""


def predicted(config: dict[str, Any]) -> str:
    if config["_class_name"].startswith("EDM"):
        return "karras"
    return "flow" if config["_class_name"].startswith("Flow") else config.get("prediction_type", "epsilon")


def of(name: str, *options: dict[str, Any], **more: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"_class_name": name + "Scheduler"}
    for option in options:
        config |= option
    return config | more


def grid(name: str, **options: list[Any]) -> list[dict[str, Any]]:
    """SD's table with one option changed at a time."""
    return [of(name, SD, {key: value}) for key, values in options.items() for value in values]


SPACED: dict[str, list[Any]] = {"timestep_spacing": ["leading", "trailing", "linspace"]}
PREDICTED: dict[str, list[Any]] = {"prediction_type": ["epsilon", "sample", "v_prediction"]}
TABLES: list[dict[str, Any]] = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
    {"trained_betas": [0.001 + 0.00002 * i for i in range(1000)]},
]
CLIPPED: list[dict[str, Any]] = [
    {"clip_sample": True, "clip_sample_range": 0.8},
    {"clip_sample": False, "thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": 1.3},
    {"clip_sample": False, "thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": UNBOUNDED},
]
FREE = {"clip_sample": False}
DPM, SINGLE, UNIPC = "DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep"
LAWS: dict[str, list[Any]] = {f"use_{law}_sigmas": [True] for law in ("karras", "exponential", "beta")}
SDE = {"algorithm_type": "sde-dpmsolver++"}
CASES: list[dict[str, Any]] = [
    *(of("DDPM", table, FREE, timestep_spacing="leading") for table in TABLES),
    *(of("DDPM", SD, FREE, timestep_spacing=spacing) for spacing in SPACED["timestep_spacing"]),
    *(of("DDPM", SD, FREE, prediction_type=kind) for kind in PREDICTED["prediction_type"]),
    *(of("DDPM", clip) for clip in CLIPPED),
    of("DDPM", FREE, beta_schedule="sigmoid"),
    *(of("DDPM", FREE, variance_type=kind) for kind in ("fixed_small_log", "fixed_large", "learned_range")),
    of("DDPM", FREE, ZERO, timestep_spacing="trailing"),
    *(of("DDIM", table, FREE) for table in TABLES),
    *(of("DDIM", SD, FREE, timestep_spacing=spacing) for spacing in ("leading", "trailing")),
    *(of("DDIM", SD, FREE, prediction_type=kind) for kind in PREDICTED["prediction_type"]),
    *(of("DDIM", clip) for clip in CLIPPED),
    of("DDIM", SD, FREE, set_alpha_to_one=False, steps_offset=1),
    of("DDIM", FREE, ZERO, timestep_spacing="trailing"),
    of("PNDM", SD, skip_prk_steps=True, steps_offset=1),
    of("PNDM", skip_prk_steps=True, set_alpha_to_one=True),
    *(
        case
        for name in ("LMSDiscrete", "EulerDiscrete", "HeunDiscrete")
        for case in (*grid(name, **SPACED, **PREDICTED, **LAWS), *(of(name, table) for table in TABLES[::2]))
    ),
    of("EulerDiscrete", SD, use_karras_sigmas=True, sigma_min=0.05, sigma_max=10.0),
    of("EulerDiscrete", SD, use_karras_sigmas=True, interpolation_type="log_linear", timestep_spacing="leading"),
    of("EulerDiscrete", SD, timestep_spacing="leading", steps_offset=1, final_sigmas_type="sigma_min"),
    of("EulerDiscrete", SD, ZERO, timestep_spacing="trailing"),
    *grid("EulerAncestralDiscrete", **SPACED, prediction_type=["v_prediction"]),
    of("EulerAncestralDiscrete", SD, ZERO, timestep_spacing="trailing"),
    of("HeunDiscrete", SD, CLIPPED[0]),
    *(
        case
        for name in (DPM, UNIPC)
        for case in (
            *grid(name, **SPACED, **PREDICTED, **LAWS, solver_order=[1, 3]),
            of(name, SD, final_sigmas_type="sigma_min"),
            of(name, SD, final_sigmas_type="sigma_min", lower_order_final=False),
            of(name, SD, ZERO, timestep_spacing="trailing"),
            of(name, SD, thresholding=True, dynamic_thresholding_ratio=0.7, sample_max_value=1.3),
        )
    ),
    *grid(DPM, solver_type=["heun"], use_lu_lambdas=[True], lambda_min_clipped=[-1.5], variance_type=["learned_range"]),
    of(DPM, SD, solver_order=3, lower_order_final=False),
    of(DPM, SD, final_sigmas_type="sigma_min", euler_at_final=True),
    *(
        of(DPM, SD, SDE, {key: value})
        for key, value in (("solver_order", 1), ("solver_order", 2), ("solver_type", "heun"))
    ),
    of(DPM, SD, SDE, use_karras_sigmas=True),
    of(UNIPC, SD, solver_type="bh1", final_sigmas_type="sigma_min"),
    of(UNIPC, SD, disable_corrector=[0, 1]),
    of(UNIPC, SD, use_karras_sigmas=True, sigma_min=0.05, sigma_max=10.0),
    *grid(SINGLE, **PREDICTED, **LAWS, solver_order=[1], solver_type=["heun"]),
    of(SINGLE, SD, final_sigmas_type="sigma_min"),
    of(SINGLE, SD, final_sigmas_type="sigma_min", lower_order_final=True),
    of(SINGLE, SD, SDE, lower_order_final=True),
    *(of("EDMEuler", {"sigma_schedule": law}) for law in ("karras", "exponential")),
    of("EDMEuler", rho=5.0, sigma_min=0.01, sigma_max=20.0),
    *(of("EDMDPMSolverMultistep", {"solver_order": order}) for order in (1, 2, 3)),
    of("EDMDPMSolverMultistep", SDE, solver_type="heun"),
    *(of("FlowMatchEulerDiscrete", {"shift": shift}) for shift in (1.0, 3.0)),
    of("LCM"),
    of("LCM", CLIPPED[0], prediction_type="v_prediction"),
    of("LCM", original_inference_steps=100),
]


def spelled(config: dict[str, Any]) -> str:
    options = {key: value for key, value in config.items() if key not in ("_class_name", *SD, "trained_betas")}
    return config["_class_name"].removesuffix("Scheduler") + "".join(
        f",{key}={value}" for key, value in options.items()
    )


def runs() -> list[Any]:
    """All in 10 steps; in 20 one of each class, and all of those that do otherwise in few steps."""
    seen: set[str] = set()
    found = []
    for config in CASES:
        name = config["_class_name"]
        longer = name not in seen or "solver_order" in SCHEDULERS[name].options
        seen.add(name)
        found += [pytest.param(config, steps, id=f"{spelled(config)}-{steps}") for steps in (10, 20)[: 1 + longer]]
    return found


@pytest.mark.parametrize(("config", "steps"), runs())
def test_the_same_seeds_give_the_same_pictures(config: dict[str, Any], steps: int) -> None:
    scheduler = read_scheduler(config, exact=True)
    network = Network(scheduler, predicted(config), config.get("variance_type") == "learned_range")
    found, wanted = ours(scheduler, network, steps), theirs(config, network, steps)
    assert wanted.isfinite().all()
    assert (found - wanted).abs().max() < BOUND


def test_every_class_is_among_the_cases() -> None:
    assert {config["_class_name"] for config in CASES} == SCHEDULERS.keys()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_defaults_are_theirs(name: str) -> None:
    parameters = inspect.signature(getattr(diffusers, name).__init__).parameters
    options = SCHEDULERS[name].options
    assert {key: option.default for key, option in options.items()} == {key: parameters[key].default for key in options}
    assert parameters.keys() - options.keys() <= {"self", "use_dynamic_shifting", "time_shift_type"}


# Where theirs are at odds with their papers, ours are not ------------------------------------------------------------

AT_ODDS = {
    "ddim steps by T//steps, whatever the times are": of("DDIM", SD, FREE, timestep_spacing="linspace"),
    "plms too": of("PNDM", SD, skip_prk_steps=True, timestep_spacing="linspace"),
    "plms averages v of several times, and turns it to eps by one": of(
        "PNDM", SD, skip_prk_steps=True, prediction_type="v_prediction"
    ),
    "the large variance is left in the picture": of(
        "DDPM", FREE, variance_type="fixed_large", timestep_spacing="trailing"
    ),
    "unipc of bh1 cannot come onto clean data": of(UNIPC, SD, solver_type="bh1"),
    "3M of the SDE has a sign wrong": of(DPM, SD, SDE, solver_order=3),
    "3M takes half the second derivative": of(DPM, SD, solver_order=3),
}


@pytest.mark.parametrize("config", AT_ODDS.values(), ids=list(AT_ODDS))
def test_where_theirs_are_at_odds(config: dict[str, Any]) -> None:
    scheduler = read_scheduler(config)
    network = Network(scheduler, predicted(config))
    found, wanted = ours(scheduler, network, 20), theirs(config, network, 20)
    assert found.isfinite().all()
    assert not (found - wanted).abs().max() < 10 * BOUND


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "None, which is not done here; known: DDIMScheduler, "),
        (of("KDPM2Discrete"), "'KDPM2DiscreteScheduler', which is not done here; the nearest is HeunDiscreteScheduler"),
        (of("DEISMultistep"), "'DEISMultistepScheduler', which is not done here"),
        (of("DDIM", clip_samples=True), "there is no option 'clip_samples' of schedulers; did you mean 'clip_sample'"),
        (of("DDIM", beta_schedule="exp"), "beta_schedule of a DDIMScheduler can be 'linear', 'scaled_linear', "),
        (of("DDIM", clip_sample=1), "clip_sample of a DDIMScheduler must be true or false, not 1"),
        (
            of("DDIM", num_train_timesteps=True),
            "num_train_timesteps of a DDIMScheduler must be a whole number, not True",
        ),
        (of("DDIM", beta_start="a"), "beta_start of a DDIMScheduler must be a number, not 'a'"),
        (of("DDIM", trained_betas=[0.1, "b"]), "trained_betas of a DDIMScheduler must be a list of numbers"),
        (of("DDIM", trained_betas=[0.1] * 10_001), "must be a list of numbers, 10,000 at most, not "),
        (of("DDIM", trained_betas=[0.1, 1.5]), "scheduler_config.json: betas must lie between 0 and 1"),
        (of("PNDM"), "skip_prk_steps of a PNDMScheduler can be True here, not False"),
        (of("PNDM", skip_prk_steps=1), "skip_prk_steps of a PNDMScheduler can be True here, not 1"),
        (of("PNDM", skip_prk_steps=True, prediction_type="sample"), "prediction_type of a PNDMScheduler can be"),
        (of("DDPM", variance_type="learned"), "variance_type of a DDPMScheduler can be 'fixed_small'"),
        (of("EulerDiscrete", interpolation_type="log_linear"), "log_linear gives the network other times"),
        (of("EulerDiscrete", use_karras_sigmas=True, use_beta_sigmas=True), "by one curve, not by karras and beta"),
        (
            of("EulerDiscrete", timestep_type="continuous"),
            "timestep_type of a EulerDiscreteScheduler can be 'discrete'",
        ),
        (of(DPM, algorithm_type="dpmsolver"), "can be 'dpmsolver\\+\\+', 'sde-dpmsolver\\+\\+' here"),
        (of(DPM, use_flow_sigmas=True), "use_flow_sigmas of a DPMSolverMultistepScheduler can be False here"),
        (of(DPM, lambda_min_clipped=-5.1, timestep_spacing="trailing"), "lambda_min_clipped with trailing times"),
        (of(SINGLE, solver_order=3), "solver_order of a DPMSolverSinglestepScheduler can be 1, 2 here, not 3"),
        (of("FlowMatchEulerDiscrete", use_dynamic_shifting=True), "use_dynamic_shifting of a FlowMatch"),
        (of("EDMEuler", prediction_type="v_prediction"), "prediction_type of a EDMEulerScheduler can be 'epsilon'"),
    ],
)
def test_what_is_not_done_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_scheduler(config)


@pytest.mark.parametrize(
    "more", [{"tensor_format": "pt"}, {"timestep_values": None}, {"predict_epsilon": True}, {"of_next_year": None}]
)
def test_old_options_and_those_that_are_null_say_nothing(more: dict[str, Any]) -> None:
    config = {"_class_name": "DDIMScheduler", "clip_sample": False}
    assert read_scheduler({**config, **more}, "x") == read_scheduler(config, "x")
    assert read_scheduler({**config, "clip_sample": None}, "x") == read_scheduler(config, "x")  # to them null is false


def test_options_of_other_classes_are_passed_over() -> None:
    """Stable Diffusion's own file has an option of whether PNDM clips, which it never does."""
    config = of("PNDM", SD, skip_prk_steps=True, clip_sample=True, _diffusers_version="0.6.0")
    assert read_scheduler(config) == read_scheduler(of("PNDM", SD, skip_prk_steps=True))


# Writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CASES, ids=spelled)
def test_what_is_read_is_written_and_diffusers_takes_it(config: dict[str, Any]) -> None:
    scheduler = replace(read_scheduler(config), steps=10)
    written = json.loads(json.dumps(write_scheduler(scheduler)))
    again = read_scheduler(written)
    assert replace(again, steps=10) == scheduler
    there = getattr(diffusers, written["_class_name"]).from_config(written).config
    shared = [key for key in written if key in there and key[0] != "_"]
    assert {key: there[key] for key in shared} == {key: written[key] for key in shared}


def of_row(name: str) -> list[dict[str, Any]]:
    """The row's defaults, and each value that is known of one of its options."""
    needed = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    found = [{"_class_name": name, **needed}]
    for key, option in SCHEDULERS[name].options.items():
        values = option.known or ((True, False) if isinstance(option.default, bool) else ())
        found += [{"_class_name": name, **needed, key: value} for value in values]
    return found


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_value_that_a_row_reads_is_written_and_read_again(name: str) -> None:
    refused = 0
    for config in of_row(name):
        try:
            scheduler = replace(read_scheduler(config), steps=10)
        except FormatError:  # an option that goes with others alone
            refused += 1
            continue
        assert replace(read_scheduler(write_scheduler(scheduler)), steps=10) == scheduler, config
    assert refused == (name == "EulerDiscreteScheduler")


def test_each_sampler_on_a_table_has_one_row() -> None:
    pairs = [(row.schedule, row.sampler) for row in SCHEDULERS.values()]
    assert len(set(pairs)) == len(pairs)
    assert {SCHEDULERS[name].sampler for name in CLASS_OF_SAMPLER.values()} == {
        sampler for schedule, sampler in pairs if schedule is Table
    }


def test_every_scheduler_of_stable_diffusion_has_a_row_or_is_refused_in_a_sentence() -> None:
    names = {name for row in SCHEDULERS for name in getattr(diffusers, row)._compatibles}
    names |= {scheduler.name for scheduler in diffusers.schedulers.KarrasDiffusionSchedulers}
    assert len(names) >= 15 and names - SCHEDULERS.keys() <= OTHER_SCHEDULERS.keys()
    for name, near in OTHER_SCHEDULERS.items():
        assert near.split()[0] in SCHEDULERS and name not in SCHEDULERS and hasattr(diffusers, name)
        with pytest.raises(FormatError, match=f"the scheduler '{name}', which is not done here; the nearest is {near}"):
            read_scheduler({"_class_name": name})


@pytest.mark.parametrize("config", CASES[::3], ids=spelled)
def test_the_parts_survive_json(config: dict[str, Any]) -> None:
    scheduler = read_scheduler(config)
    parts: Any = ((SCHEDULES, scheduler.schedule), (SPACINGS, scheduler.spacing), (SAMPLERS, scheduler.sampler))
    for kinds, part in parts:
        assert kinds.load(json.loads(json.dumps(kinds.dump(part)))) == part


def test_plain_spacings_are_written_too() -> None:
    assert (
        write_scheduler(Scheduler(Linear(), EpsPrediction(), DDIM(), TrailingSpacing(), 50))["timestep_spacing"]
        == "trailing"
    )
    assert (
        write_scheduler(Scheduler(Linear(), EpsPrediction(), Ancestral(), LeadingSpacing(), 50))["timestep_spacing"]
        == "leading"
    )


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (Scheduler(VP(), EpsPrediction(), DDIM(), TrailingSpacing()), "no schedule like VP"),
        (
            Scheduler(EDM(), EpsPrediction(), Heun(), KarrasSpacing()),
            "no Heun.* on this schedule: take Euler, DPMSolver",
        ),
        (
            Scheduler(Linear(), ScorePrediction(), DDIM(), TrailingSpacing()),
            "networks that predict eps, x0 or v, not Score",
        ),
        (
            Scheduler(Linear(), EpsPrediction(), DDIM(eta=0.5), TrailingSpacing()),
            "no sampler DDIM\\(eta=0.5\\) with this",
        ),
        (Scheduler(Linear(), EpsPrediction(), DDIM(), QuadraticSpacing()), "no spacing like Quadratic"),
        (
            Scheduler(Linear(), EpsPrediction(), Euler(), TrailingSpacing(), thresholding=Thresholding(1.0)),
            "no thresholding Thresholding.*with this sampler",
        ),
        (Scheduler(Linear(), EpsPrediction(), DPMSolver(eta=0.5), TrailingSpacing()), "no sampler DPMSolver"),
        (Scheduler(Linear(), EpsPrediction(), DPMSolver(), LeadingSpacing()), "cannot visit the levels of Leading"),
        (
            Scheduler(
                ScaledLinear(),
                EpsPrediction(),
                DDIM(),
                DiscreteSpacing(final_sigma="sigma_min", time_input="floor", sigmas="beta"),
            ),
            "cannot visit",
        ),
        (Scheduler(ZeroTerminal(Linear()), EpsPrediction(), Euler(), TrailingSpacing()), "no schedule ZeroTerminal"),
        (
            Scheduler(FlowSchedule(), FlowPrediction("sigma", 1000.0), Euler(), TrailingSpacing()),
            "cannot visit the levels of Trailing",
        ),
        (
            Scheduler(EDM(), EDMPreconditioning(0.5), Euler(), LogSNRSpacing(sigma_max=5.0)),
            "cannot visit the levels of LogSNR",
        ),
        (
            Scheduler(FlowSchedule(), FlowPrediction(), Euler(), KarrasSpacing()),
            "no parameterization Flow.*time_input='t'",
        ),
    ],
    ids=repr,
)
def test_what_has_no_equal_there_is_named(scheduler: Scheduler, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_scheduler(scheduler)
