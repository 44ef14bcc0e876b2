"""Samplers and spacings under the names of other tools."""

from typing import Any

import pytest

from sfumato.core.grid import KarrasSpacing, LogSNRSpacing, TrailingSpacing
from sfumato.errors import InputError
from sfumato.foreign.samplers import NOT_HERE, SAMPLER_NAMES, SPACING_NAMES, SPACINGS_NOT_HERE, own_sampler, own_spacing
from sfumato.foreign.spelling import folded_name
from sfumato.interop.diffusers.schedulers.table import CLASS_OF_SAMPLER, OTHER_SCHEDULERS, SCHEDULERS
from sfumato.parts import SAMPLERS, SPACINGS
from sfumato.sample import DPMSolver, EulerAncestral
from sfumato.system.settings import Preset, Settings

NAMES = [(known.here, name) for known in SAMPLER_NAMES for name in known.names]
SPACED = [(known.here, name) for known in SPACING_NAMES for name in known.names]


@pytest.mark.parametrize(
    ("text", "sampler", "spacing"),
    [
        ("dpmpp_2m_karras", "dpm++", "karras"),
        ("DPM++ 2M Karras", "dpm++", "karras"),
        ("dpmpp_2m_k", "dpm++", "karras"),
        ("k_dpmpp_2m_ka", "dpm++", "karras"),
        ("DPM++ 2M SDE Exponential", "dpm++,eta=1", "logsnr"),
        ("Euler a", "euler-ancestral", None),
        ("EULER-ANCESTRAL", "euler-ancestral", None),
        ("euler a,eta=0.5", "euler-ancestral,eta=0.5", None),
        ("sample_heun", "heun", None),
        ("K_EULER", "euler", None),
        ("EulerDiscrete", "euler", None),
        ("euler_trailing", "euler", "trailing"),
        ("dpm++2s", "dpm++2s", None),
    ],
)
def test_a_sampler_is_known_by_its_names_elsewhere(text: str, sampler: str, spacing: str | None) -> None:
    assert own_sampler(text) == (sampler, spacing)


@pytest.mark.parametrize(("here", "name"), NAMES, ids=[name for _, name in NAMES])
def test_every_name_of_a_sampler_stands_for_one_that_is_here(here: str, name: str) -> None:
    assert own_sampler(name) == (here, None)
    SAMPLERS.parse(here)
    assert own_sampler(here) == (here, None)


@pytest.mark.parametrize(("here", "name"), SPACED, ids=[name for _, name in SPACED])
def test_every_name_of_a_spacing_stands_for_one_that_is_here(here: str, name: str) -> None:
    assert own_spacing(name) == here
    SPACINGS.parse(here)
    assert own_spacing(here) == here


@pytest.mark.parametrize("name", NOT_HERE)
def test_a_sampler_that_is_not_here_is_refused_with_the_nearest(name: str) -> None:
    SAMPLERS.parse(NOT_HERE[name])
    with pytest.raises(InputError, match="the nearest is ") as raised:
        own_sampler(name)
    assert str(raised.value).endswith(NOT_HERE[name])


@pytest.mark.parametrize("name", ["DPM2 Karras", "kdpm_2_k", "dpm_2", "DPM++ 2M CFG++", "euler_ancestral_cfg_pp"])
def test_so_is_one_with_a_spacing_in_its_name_or_with_another_guidance(name: str) -> None:
    with pytest.raises(InputError, match="the nearest is "):
        own_sampler(name)


@pytest.mark.parametrize("name", SPACINGS_NOT_HERE)
def test_a_spacing_that_is_not_here_is_refused_with_what_to_take(name: str) -> None:
    with pytest.raises(InputError, match="there is no spacing"):
        own_spacing(name)


@pytest.mark.parametrize("kinds", [SAMPLERS, SPACINGS], ids=["samplers", "spacings"])
def test_our_own_names_keep_their_meaning_whatever_their_case(kinds: Any) -> None:
    own = {folded_name(kind): kind for kind in kinds.kinds}
    assert len(own) == len(kinds.kinds)
    for kind in kinds.kinds:
        translated = own_sampler(kind) if kinds is SAMPLERS else (own_spacing(kind), None)
        assert translated == (kind, None)
    if kinds is SAMPLERS:
        assert kinds.parse("Predictor_Corrector") == kinds.parse("predictor-corrector")


def test_classes_of_diffusers_stand_for_what_their_configurations_are_opened_as() -> None:
    for kind, name in CLASS_OF_SAMPLER.items():
        assert own_sampler(name) == (kind, None)
    for name in SCHEDULERS:
        assert isinstance(SAMPLERS.parse(own_sampler(name)[0]), SCHEDULERS[name].sampler)
    for name in OTHER_SCHEDULERS:
        with pytest.raises(InputError, match="the nearest is"):
            own_sampler(name)


def test_settings_are_spelled_in_the_words_of_other_tools() -> None:
    settings = Settings((8, 8))
    assert settings.updated(sampler="DPM++ 2M Karras") == settings.updated(sampler="dpm++", spacing="karras")
    assert settings.updated(sampler="Euler a").sampler == EulerAncestral()
    assert settings.updated(spacing="SGM Uniform").spacing == TrailingSpacing()
    assert settings.updated(sampler="dpmpp_2m_karras", spacing="karras").spacing == KarrasSpacing()
    refined = settings.updated(sampler="dpmpp_2m_karras", spacing="karras,sigma_max=80")
    assert refined == settings.updated(sampler="dpm++", spacing=KarrasSpacing(sigma_max=80.0))
    assert settings.updated(sampler="DDIM,eta=0.5") == settings.updated(sampler="ddim,eta=0.5")
    with pytest.raises(InputError, match="has the spacing karras in its name, and the spacing given is 'exponential'"):
        settings.updated(sampler="dpmpp_2m_karras", spacing="exponential")


def test_a_preset_is_that_of_the_sampler_under_any_name() -> None:
    preset = Preset(DPMSolver(lower_final=True), LogSNRSpacing())
    settings = Settings((8, 8), presets={"dpm++": preset})
    assert settings.updated(sampler="dpmpp_2m").sampler == preset.sampler
    assert settings.updated(sampler="dpmpp_2m").spacing == LogSNRSpacing()
    assert settings.updated(sampler="dpmpp_2m_karras").spacing == KarrasSpacing()
