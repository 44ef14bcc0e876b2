"""Properties of each sampler, shown in the documentation and measured by the tests."""

from typing import NamedTuple


class Facts(NamedTuple):
    """The properties of a sampler with certain settings.

    - `order` of convergence: halving every stride divides the error by 2^order. For the deterministic, of where samples
      come to; for the `stochastic`, of the mean and variance of Gaussian data. None where it is not strides that count;
    - `source`: the paper, or the code that made it known;
    - `evaluations` of the denoiser a step, and `over` that many more (or fewer) in a trajectory onto clean data;
    - `cold`: the order of a whole trajectory, if its first steps, which have none before them, lower it;
    - `from_noise`: whether it can start from pure noise, alpha 0.
    """

    order: int | None
    source: str
    evaluations: int = 1
    over: int = 0
    cold: int | None = None
    stochastic: bool = False
    from_noise: bool = True


_DDPM = "DDPM, arXiv:2006.11239, algorithm 2"
_DDIM = "DDIM, arXiv:2010.02502, eq. 12"
_EDM = "EDM, arXiv:2206.00364, algorithms 1 and 2"
_DPM = "DPM-Solver++, arXiv:2211.01095"
_UNIPC = "UniPC, arXiv:2302.04867"
_PNDM = "PNDM, arXiv:2202.09778"
_IPNDM = "iPNDM, arXiv:2204.13902"
_LCM = "latent consistency models, arXiv:2310.04378, algorithm 3"
_LMS = "Adams and Bashforth, 1883; as k-diffusion's lms"

FACTS = {
    "ddpm": Facts(1, _DDPM, stochastic=True),
    "ddpm,variance=large": Facts(1, _DDPM, stochastic=True),
    "ddim": Facts(1, _DDIM),
    "ddim,eta=0.5": Facts(1, _DDIM, stochastic=True),
    "ddim,eta=1": Facts(1, _DDIM, stochastic=True),
    "euler": Facts(1, _EDM),
    "euler-ancestral": Facts(1, "k-diffusion's euler_ancestral", stochastic=True),
    "heun": Facts(2, _EDM, evaluations=2, over=-1, from_noise=False),
    "heun,along=flow": Facts(2, _EDM, evaluations=2, over=-1),
    "dpm++,order=1": Facts(1, _DPM),
    "dpm++": Facts(2, _DPM + ", algorithm 2 (2M)"),
    "dpm++,order=3": Facts(3, _DPM + ", code (3M)", cold=2),
    "dpm++,order=1,eta=1": Facts(1, _DPM + ", section 5", stochastic=True),
    "dpm++,eta=1": Facts(2, _DPM + ", section 5 (SDE-2M)", stochastic=True),
    "dpm++,order=3,eta=1": Facts(2, "k-diffusion's dpmpp_3m_sde", stochastic=True),
    "dpm++2s": Facts(2, _DPM + ", algorithm 1 (2S)", evaluations=2, over=-1),
    "dpm++2s,eta=1": Facts(2, "k-diffusion's dpmpp_2s_ancestral", evaluations=2, over=-1, stochastic=True),
    "dpm++pairs": Facts(2, _DPM + ", algorithm 1 (2S), a step for each evaluation"),
    "unipc,order=1": Facts(2, _UNIPC),
    "unipc": Facts(3, _UNIPC),
    "unipc,order=3": Facts(4, _UNIPC, cold=3),
    "unipc,order=1,b=bh1": Facts(2, _UNIPC),
    "unipc,b=bh1": Facts(3, _UNIPC),
    "unipc,order=3,b=bh1": Facts(4, _UNIPC, cold=3),
    "ipndm,order=1": Facts(1, _IPNDM),
    "ipndm,order=2": Facts(2, _IPNDM),
    "ipndm,order=3": Facts(3, _IPNDM, cold=2),
    "ipndm": Facts(4, _IPNDM, cold=2),
    "plms,order=2": Facts(2, _PNDM, over=1),
    "plms,order=3": Facts(3, _PNDM, over=1),
    "plms": Facts(4, _PNDM, over=1, cold=3),
    "lms,order=1": Facts(1, _LMS),
    "lms,order=2": Facts(2, _LMS),
    "lms,order=3": Facts(3, _LMS, cold=2),
    "lms": Facts(4, _LMS, cold=2),
    "lcm": Facts(None, _LCM, stochastic=True),
    "langevin,size=1e-4": Facts(None, "NCSN, arXiv:1907.05600, eq. 4", over=1, stochastic=True),
    "annealed-langevin": Facts(None, "NCSN, algorithm 1", evaluations=100, over=1, stochastic=True),
    "predictor-corrector": Facts(None, "score SDE, arXiv:2011.13456", evaluations=2, over=-1, stochastic=True),
}
"""By the sampler as it is spelled. The orders of `ipndm` and `plms` hold where σ falls evenly."""

_D3PM = "D3PM, arXiv:2107.03006, eq. 4"
_MASKGIT = "MaskGIT, arXiv:2202.04200, section 3.2"

TOKEN_FACTS = {
    "token-ancestral": Facts(None, _D3PM, stochastic=True),
    "confidence-unmasking": Facts(None, _MASKGIT, stochastic=True),
}
"""The samplers of tokens. Their error falls as more steps change fewer tokens each, to order 1; it has no norm here."""
