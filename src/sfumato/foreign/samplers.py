"""What other tools call samplers and spacings, and how each is spelled here.

After k-diffusion's `sampling.py`, ComfyUI's `samplers.py`, A1111's `sd_samplers_kdiffusion.py` and `sd_schedulers.py`,
InvokeAI's `schedulers.py` and the classes of diffusers. The pages 'coming from' are made from these tables.
"""

import re
from typing import NamedTuple

from sfumato.errors import InputError, quoted
from sfumato.foreign.spelling import folded_name


class KnownMethod(NamedTuple):
    """A sampler or a spacing under the names that it has in other tools.

    `here` is how it is spelled here. With `same` it gives the same numbers to rounding, on the same levels and from
    the same noise (`tests/sample/test_parity_*.py`); without, the `note` says what differs.
    """

    here: str
    k_diffusion: tuple[str, ...] = ()
    """ComfyUI's names too; k-diffusion's functions are `sample_` and this."""
    a1111: tuple[str, ...] = ()
    diffusers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    same: bool = False
    note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.k_diffusion, *self.a1111, *self.diffusers, *self.others)


SAMPLER_NAMES = (
    KnownMethod(
        "euler",
        ("euler",),
        ("Euler",),
        ("EulerDiscreteScheduler", "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"),
        same=True,
    ),
    KnownMethod(
        "euler-ancestral",
        ("euler_ancestral",),
        ("Euler a",),
        ("EulerAncestralDiscreteScheduler",),
        ("euler_a",),
        same=True,
    ),
    KnownMethod("heun", ("heun",), ("Heun",), ("HeunDiscreteScheduler",), same=True),
    KnownMethod("heun,along=flow", diffusers=("FlowMatchHeunDiscreteScheduler",), same=True),
    KnownMethod("lms", ("lms",), ("LMS",), ("LMSDiscreteScheduler",), same=True),
    KnownMethod("ddim", ("ddim",), ("DDIM",), ("DDIMScheduler",), same=True),
    KnownMethod("ddpm", ("ddpm",), (), ("DDPMScheduler",), same=True),
    KnownMethod(
        "dpm++",
        ("dpmpp_2m",),
        ("DPM++ 2M",),
        ("DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"),
        ("dpm++_2m", "dpmpp", "DPMSolver++"),
        same=True,
        note="diffusers, in fewer than 15 steps, ends at first order: `dpm++,lower_final=true`",
    ),
    KnownMethod("dpm++,eta=1", ("dpmpp_2m_sde", "dpmpp_2m_sde_gpu"), ("DPM++ 2M SDE",), same=True),
    KnownMethod(
        "dpm++,eta=1,form=heun", ("dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"), ("DPM++ 2M SDE Heun",), same=True
    ),
    KnownMethod(
        "dpm++,order=3,eta=1,form=heun,halved=true",
        ("dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
        ("DPM++ 3M SDE",),
        same=True,
    ),
    KnownMethod("dpm++,form=heun", ("res_multistep",), ("Res Multistep",), same=True),
    KnownMethod(
        "dpm++2s,eta=1",
        ("dpmpp_2s_ancestral",),
        ("DPM++ 2S a",),
        others=("dpmpp_2s_a", "DPM++ 2S Ancestral"),
        same=True,
    ),
    KnownMethod("dpm++pairs", diffusers=("DPMSolverSinglestepScheduler",), others=("dpmpp_2s",), same=True),
    KnownMethod(
        "unipc",
        ("uni_pc", "uni_pc_bh2"),
        ("UniPC",),
        ("UniPCMultistepScheduler",),
        note="as in diffusers; A1111 and ComfyUI take order 3, lower it at the end, and end in a little noise",
    ),
    KnownMethod("plms", (), ("PLMS",), ("PNDMScheduler",), ("pndm",), same=True),
    KnownMethod("ipndm", ("ipndm",), (), ("IPNDMScheduler",), note="as in diffusers; ComfyUI's last step is Euler's"),
    KnownMethod(
        "lcm", ("lcm",), ("LCM",), ("LCMScheduler",), note="as in diffusers; ComfyUI leaves out the boundary weights"
    ),
    KnownMethod(
        "predictor-corrector",
        diffusers=("ScoreSdeVeScheduler",),
        note="the step size of the corrector is an argument here",
    ),
)

SPACING_NAMES = (
    KnownMethod(
        "uniform",
        ("normal",),
        ("Uniform", "Normal"),
        ("linspace",),
        note="times are whole here, and in ComfyUI and A1111 fractions",
    ),
    KnownMethod(
        "trailing",
        ("simple", "sgm_uniform"),
        ("Simple", "SGM Uniform"),
        ("trailing",),
        note="as in diffusers; the others are within one time of it",
    ),
    KnownMethod("leading", diffusers=("leading",), note="as in diffusers, but for its `steps_offset`"),
    KnownMethod(
        "discrete,timestep_spacing=leading,steps_offset=1",
        ("ddim_uniform",),
        ("DDIM",),
        note="the same times where the number of steps divides 1,000",
    ),
    KnownMethod(
        "karras",
        ("karras",),
        ("Karras",),
        ("use_karras_sigmas",),
        note="rounded to the times of the schedule; `discrete,sigmas=karras,sigma_range=table` has the very σ",
    ),
    KnownMethod(
        "logsnr",
        ("exponential",),
        ("Exponential", "Polyexponential"),
        ("use_exponential_sigmas", "use_lu_lambdas"),
        note="rounded to the times of the schedule; `discrete,sigmas=exponential,sigma_range=table` has the very σ",
    ),
    KnownMethod("ays", others=("AYS", "AYS SD1"), note="ComfyUI's table; A1111 visits its last σ too"),
    KnownMethod("ays,model=sdxl", others=("AYS SDXL",), note="ComfyUI's table; A1111 visits its last σ too"),
    KnownMethod("ays,model=svd", others=("AYS SVD",)),
)

NOT_HERE = {
    "dpm_2": "heun",
    "DPM2": "heun",
    "KDPM2DiscreteScheduler": "heun",
    "dpm_2_ancestral": "dpm++2s,eta=1",
    "DPM2 a": "dpm++2s,eta=1",
    "KDPM2AncestralDiscreteScheduler": "dpm++2s,eta=1",
    "dpm_fast": "dpm++2s",
    "dpm_adaptive": "dpm++2s",
    "dpmpp_sde": "dpm++,eta=1",
    "dpmpp_sde_gpu": "dpm++,eta=1",
    "DPM++ SDE": "dpm++,eta=1",
    "DPMSolverSDEScheduler": "dpm++,eta=1",
    "dpmpp_3m": "dpm++,order=3",
    "heunpp2": "heun",
    "exp_heun_2_x0": "dpm++2s",
    "exp_heun_2_x0_sde": "dpm++2s,eta=1",
    "ipndm_v": "lms",
    "deis": "dpm++",
    "DEISMultistepScheduler": "dpm++",
    "res_multistep_ancestral": "dpm++,eta=1",
    "gradient_estimation": "euler",
    "er_sde": "dpm++,eta=1",
    "seeds_2": "dpm++2s,eta=1",
    "seeds_3": "dpm++2s,eta=1",
    "sa_solver": "unipc",
    "sa_solver_pece": "unipc",
    "SASolverScheduler": "unipc",
    "Restart": "heun",
    "tcd": "lcm",
    "TCDScheduler": "lcm",
}
"""Samplers of other tools that are none of ours, each with the nearest."""

SPACINGS_NOT_HERE = {
    "Automatic": "it follows the sampler there: leave the spacing out, or take karras",
    "Align Your Steps": "it follows the model there: take ays for Stable Diffusion 1, ays,model=sdxl for XL",
    "beta": "A1111 and diffusers mean discrete,sigmas=beta,sigma_range=table; ComfyUI's, of times and not of σ, is none"
    " of ours",
    "use_beta_sigmas": "take discrete,sigmas=beta,sigma_range=table",
    "kl_optimal": "the nearest is logsnr",
    "linear_quadratic": "the nearest is trailing",
    "Turbo": "the nearest is trailing",
    "gits": "the nearest is ays",
    "Karras Exponential": "the nearest is karras",
}
"""Spacings of other tools that are none of ours, or more than one, and what to take."""

_SAMPLERS = {folded_name(name): known.here for known in SAMPLER_NAMES for name in known.names}
_SPACINGS = {folded_name(name): known.here for known in SPACING_NAMES for name in known.names}
_NOT_HERE = {folded_name(name): nearest for name, nearest in NOT_HERE.items()}
_SPACINGS_NOT_HERE = {folded_name(name): hint for name, hint in SPACINGS_NOT_HERE.items()}
_ENDINGS = {
    folded_name(name): here
    for known in SPACING_NAMES
    for name in (known.here, *known.k_diffusion, *known.a1111)
    if name != "DDIM" and "," not in (here := known.here)
} | {"beta": "beta"}
"""How the spacing stands at the end of a sampler's name: "DPM++ 2M Karras", "euler_trailing"."""


def own_sampler(text: str) -> tuple[str, str | None]:
    """A sampler's name as it is spelled here, with the spacing that the name holds, if it holds one.

    Case, spaces, hyphens and underscores do not matter: "DPM++ 2M Karras" and "dpmpp_2m_karras" are `dpm++` and
    `karras`. Settings may follow, as in "Euler a,eta=0.5". A text that no other tool is known to use comes back as it
    is. An `InputError`, which names the nearest, for a sampler that is none of ours.
    """
    name, comma, settings = text.partition(",")
    folded = folded_name(re.sub(r"_ka?$", "_karras", name))  # A1111's alias, InvokeAI's name
    for start, ending in ((folded, None), *_divided(folded)):
        if (here := _known_sampler(start, name)) is not None:
            return here + comma + settings, own_spacing(ending) if ending else None
    return text, None


def own_spacing(text: str) -> str:
    """A spacing's name as it is spelled here: "SGM Uniform" is `trailing`. A text that no other tool is known to use
    comes back as it is. An `InputError`, which says what to take, for one that is none of ours."""
    name, comma, settings = text.partition(",")
    folded = folded_name(name)
    if folded in _SPACINGS_NOT_HERE:
        raise InputError(f"there is no spacing {quoted(name)} here: {_SPACINGS_NOT_HERE[folded]}")
    return _SPACINGS.get(folded, name) + comma + settings


def is_sampler(text: str) -> bool:
    """Whether some tool calls a sampler so."""
    folded = folded_name(text.partition(",")[0])
    return folded in _SAMPLERS or folded in _NOT_HERE or own_sampler(text) != (text, None)


def is_spacing(text: str) -> bool:
    """Whether some tool calls a spacing so."""
    folded = folded_name(text.partition(",")[0])
    return folded in _SPACINGS or folded in _SPACINGS_NOT_HERE


def _known_sampler(folded: str, name: str) -> str | None:
    """A folded name as it is spelled here; an `InputError` if it is that of a sampler which is not here."""
    for known in (folded, folded.removeprefix("sample"), folded.removeprefix("k")):
        if known in _SAMPLERS:
            return _SAMPLERS[known]
        plain = known.replace("cfg++", "").replace("cfgpp", "")
        nearest = _NOT_HERE.get(plain) or (_SAMPLERS.get(plain) if plain != known else None)
        if nearest is not None:
            raise InputError(f"there is no sampler {quoted(name)} here: the nearest is {nearest}")
    return None


def _divided(folded: str) -> list[tuple[str, str]]:
    """The ways to divide a name into a sampler's and a spacing's, the longest of these first."""
    found = [ending for ending in _ENDINGS if folded.endswith(ending) and folded != ending]
    return [(folded.removesuffix(ending), ending) for ending in sorted(found, key=len, reverse=True)]
