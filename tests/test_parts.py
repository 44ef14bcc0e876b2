"""Parts as data: every kind goes to JSON and comes back, and reading says what is wrong and what would be right."""

import gc
import json
import math
import weakref
from dataclasses import fields
from typing import Any

import pytest
import torch

from sfumato import sample
from sfumato.codec import Identity, Latent
from sfumato.condition import ClipText, EncodedText, Labels, MiniLM, Nothing, Phrases, Pretrained, TokenIds
from sfumato.core import grid, process, schedule
from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing
from sfumato.core.parameterization import (
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    MeanPrediction,
    ScorePrediction,
    VPrediction,
    X0Prediction,
)
from sfumato.errors import InputError
from sfumato.loss import (
    VLB,
    CosineTimes,
    Denoising,
    EDMWeight,
    Hybrid,
    ImportanceTimes,
    LogitNormalTimes,
    LogNormalTimes,
    MinSNRWeight,
    P2Weight,
    Sigma2Weight,
    SNRWeight,
    TokenVLB,
    UniformTimes,
    UnitWeight,
)
from sfumato.media import Image
from sfumato.nn.audio.dit import DiT1D
from sfumato.nn.audio.unet import UNet1D
from sfumato.nn.image.autoencoder import Autoencoder, KLAutoencoder, VQAutoencoder
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.encoder import Encoder
from sfumato.nn.image.layout import DenseLayout, WithLayout
from sfumato.nn.image.pca import PCA
from sfumato.nn.image.sprites import Sprites
from sfumato.nn.image.unet import UNet
from sfumato.nn.text.token_transformer import TokenTransformer
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText
from sfumato.parts import (
    AUTOENCODERS,
    CODECS,
    CONDITIONERS,
    LOSSES,
    NETWORKS,
    PARAMETERIZATIONS,
    PROCESSES,
    SAMPLERS,
    SCHEDULES,
    SPACINGS,
    TEXT_ENCODERS,
    TIMES,
    WEIGHTS,
    Kinds,
    spell_table,
    value_of,
)
from sfumato.sample import DDIM, Ancestral

ALL: list[Kinds[Any]] = [
    SCHEDULES,
    PARAMETERIZATIONS,
    SPACINGS,
    SAMPLERS,
    NETWORKS,
    AUTOENCODERS,
    CODECS,
    CONDITIONERS,
    TEXT_ENCODERS,
    WEIGHTS,
    LOSSES,
    PROCESSES,
    TIMES,
]
VALUES: list[tuple[Kinds[Any], Any]] = [
    (SCHEDULES, schedule.Linear()),
    (SCHEDULES, schedule.Linear(T=10, beta_start=0.01, beta_end=0.3)),
    (SCHEDULES, schedule.ScaledLinear(T=7)),
    (SCHEDULES, schedule.Quadratic(beta_end=0.5)),
    (SCHEDULES, schedule.Cosine(T=50, offset=0.01, max_beta=0.9)),
    (SCHEDULES, schedule.Sigmoid(T=3, beta_start=0.1, beta_end=0.2)),
    (SCHEDULES, schedule.Betas((0.1, 0.5, 0.25))),
    (SCHEDULES, schedule.AlphasCumprod((0.75, 0.5, 0.0625))),
    (SCHEDULES, schedule.ZeroTerminal(schedule.Linear(T=10))),
    (SCHEDULES, schedule.ZeroTerminal(schedule.Betas((0.1, 0.5)))),
    (SCHEDULES, schedule.VP(beta_min=0.2, beta_max=10.0, first=0.01)),
    (SCHEDULES, schedule.SubVP(beta_min=0.2)),
    (SCHEDULES, schedule.VE()),
    (SCHEDULES, schedule.VE(T=10, sigma_min=0.1, sigma_max=3.0, growth="linear")),
    (SCHEDULES, schedule.EDM(sigma_max=10.0)),
    (SCHEDULES, schedule.Flow(shift=3.0, first=0.01)),
    (PARAMETERIZATIONS, EpsPrediction()),
    (PARAMETERIZATIONS, X0Prediction()),
    (PARAMETERIZATIONS, VPrediction()),
    (PARAMETERIZATIONS, MeanPrediction(schedule.Cosine(T=50))),
    (PARAMETERIZATIONS, MeanPrediction(schedule.VP(first=0.01), step=0.25)),
    (PARAMETERIZATIONS, MeanPrediction(schedule.ZeroTerminal(schedule.Cosine()))),
    (PARAMETERIZATIONS, ScorePrediction()),
    (PARAMETERIZATIONS, ScorePrediction(over_sigma=False)),
    (PARAMETERIZATIONS, FlowPrediction()),
    (PARAMETERIZATIONS, FlowPrediction(time_input="sigma")),
    (PARAMETERIZATIONS, EDMPreconditioning(sigma_data=1.5)),
    (SPACINGS, grid.UniformSpacing()),
    (SPACINGS, grid.TrailingSpacing()),
    (SPACINGS, grid.LeadingSpacing()),
    (SPACINGS, grid.QuadraticSpacing()),
    (SPACINGS, grid.QuadraticSpacing(0.8)),
    (SPACINGS, grid.KarrasSpacing(rho=5.0)),
    (SPACINGS, grid.LogSNRSpacing()),
    (SPACINGS, grid.AYSSpacing("sdxl")),
    (SPACINGS, grid.ExplicitSpacing((999.0, 500.0, 0.5))),
    (SPACINGS, DiscreteSpacing("trailing", sigmas="karras", sigma_max=10.0, time_input="rounded")),
    (SPACINGS, DistilledSpacing(original_steps=25)),
    (SAMPLERS, Ancestral()),
    (SAMPLERS, Ancestral("large")),
    (SAMPLERS, Ancestral("learned")),
    (SAMPLERS, DDIM(eta=0.5)),
    (SAMPLERS, sample.Euler(churn=40.0, low=0.05, high=50.0, noise_scale=1.003)),
    (SAMPLERS, sample.EulerAncestral(eta=0.5)),
    (SAMPLERS, sample.Heun(along="flow")),
    (SAMPLERS, sample.DPMSolver(order=3, eta=1.0)),
    (SAMPLERS, sample.DPMSolverS(eta=0.5)),
    (SAMPLERS, sample.DPMSolver(form="heun", halved=True, lower_final=True)),
    (SAMPLERS, sample.DPMSolverPairs(eta=1.0, form="heun", lower_final=True)),
    (SAMPLERS, sample.LCM(scaling=5.0)),
    (SAMPLERS, sample.UniPC(order=3, b="bh1")),
    (SAMPLERS, sample.UniPC(uncorrected=(0, 1), lower_final=True)),
    (SAMPLERS, sample.IPNDM(order=2)),
    (SAMPLERS, sample.PLMS(order=3)),
    (SAMPLERS, sample.LMS(order=1)),
    (SAMPLERS, sample.Langevin(size=0.01, steps=5)),
    (SAMPLERS, sample.AnnealedLangevin(steps=3, rate=0.5)),
    (SAMPLERS, sample.PredictorCorrector(DDIM(eta=1.0), corrections=2)),
    (SAMPLERS, sample.TokenAncestral()),
    (SAMPLERS, sample.ConfidenceUnmasking(temperature=0.5, noise_scale=0.0)),
    (CODECS, Identity(Image(channels=1))),
    (CONDITIONERS, Nothing()),
    (CONDITIONERS, Labels(("cat", "a dog", "été"), dropout=0.2)),
    (CONDITIONERS, EncodedText()),
    (CONDITIONERS, EncodedText(Pretrained("a/b", 8, 4, 77, "12ab", "34cd"), length=16, dropout=0.2)),
    (CONDITIONERS, Phrases(names=("cat with tears of joy",), styles=("3D style",), things=3, dropout=0.2)),
    (CONDITIONERS, TokenIds('{"version": "1.0"}', length=16, dropout=0.2)),
    (CONDITIONERS, ClipText("a/b", "sdxl", 2048, 1280, True, (640, 512), sha256=("12", "ab"), dropout=0.2)),
    (TEXT_ENCODERS, MiniLM()),
    (TEXT_ENCODERS, Pretrained("a/b", 8, 4, 77)),
    *((WEIGHTS, UnitWeight(view)) for view in ("eps", "x0", "v", "flow", "score")),
    (WEIGHTS, SNRWeight()),
    (WEIGHTS, MinSNRWeight(gamma=2.5)),
    (WEIGHTS, P2Weight(gamma=0.5, k=2.0)),
    (WEIGHTS, Sigma2Weight()),
    (WEIGHTS, EDMWeight(sigma_data=1.0)),
    (LOSSES, Denoising()),
    (LOSSES, Denoising(UnitWeight("v"))),
    (LOSSES, Denoising(MinSNRWeight())),
    (LOSSES, VLB()),
    (LOSSES, TokenVLB()),
    (PROCESSES, process.Gaussian()),
    (PROCESSES, process.Masking(26)),
    (PROCESSES, process.Uniform(27)),
    (LOSSES, Hybrid(share=0.25, mean=Denoising(P2Weight()))),
    (TIMES, UniformTimes()),
    (TIMES, LogitNormalTimes(mean=0.5, std=2.0)),
    (TIMES, LogNormalTimes(mean=-0.5)),
    (TIMES, CosineTimes(shift=-2.0)),
    (TIMES, ImportanceTimes(history=3, uniform=0.125)),
]
SMALL_AUTOENCODER: dict[str, Any] = {"width": 8, "multipliers": (1, 2), "blocks": 1, "latent": 2, "attention": False}
BUILT: list[tuple[type, dict[str, Any]]] = [
    (KLAutoencoder, {**SMALL_AUTOENCODER, "patch": 2}),
    (VQAutoencoder, {**SMALL_AUTOENCODER, "codes": 5, "commitment": 0.5}),
    (PCA, {"in_channels": 1, "latent": 2, "patch": 4}),
    (UNet, {"width": 8, "multipliers": (1,), "attention": ()}),
    (UNet, {"in_channels": 1, "out_channels": 2, "width": 8, "multipliers": (1, 2), "head_width": 4, "patch": 2}),
    (UNet, {"width": 8, "scale_shift": True, "resample": "residual", "dropout": 0.1, "time_scale": 2.5}),
    (UNet, {"width": 8, "vector": 3, "context": 4, "concat": 5}),
    (DiT, {"in_channels": 1, "out_channels": 2, "width": 8, "depth": 1, "head_width": 4, "patch": 4, "mlp": 1.5}),
    (DiT, {"width": 8, "head_width": 8, "dropout": 0.1, "time_scale": 2.5, "vector": 3, "context": 4, "concat": 5}),
    (UNet1D, {"in_channels": 1, "out_channels": 2, "width": 8, "multipliers": (1, 2), "head_width": 4, "patch": 2}),
    (DiT1D, {"in_channels": 1, "out_channels": 2, "width": 8, "depth": 1, "head_width": 4, "context": 4}),
    (TokenTransformer, {"tokens": 7, "width": 8, "depth": 1, "head_width": 4, "vector": 3, "context": 5}),
    (
        Sprites,
        {"names": 3, "sprites": 4, "file_bytes": 5, "phrase": 6, "styles": 2, "side": 4},
    ),
    (Encoder, {"in_channels": 1, "outputs": 5, "width": 8, "multipliers": (1, 2), "attention": (1,), "patch": 2}),
]


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(data, allow_nan=False))


@pytest.mark.parametrize(
    ("kinds", "value"), VALUES, ids=lambda value: None if isinstance(value, Kinds) else repr(value)
)
def test_every_part_survives_json(kinds: Kinds[Any], value: Any) -> None:
    data = kinds.dump(value)
    assert data.keys() == {"kind", *(field.name for field in fields(value))}
    again = kinds.load(through_json(data))
    assert type(again) is type(value) and again == value
    assert kinds.dump(again) == data


def test_a_codec_survives_json_with_its_network() -> None:
    with torch.device("meta"):
        codec = Latent(KLAutoencoder(**SMALL_AUTOENCODER), shift=(0.5, -0.5), scale=(2.0,))
        data = CODECS.dump(codec)
        again = CODECS.load(through_json(data))
    assert isinstance(again, Latent) and (again.shift, again.scale) == ((0.5, -0.5), (2.0,))
    assert CODECS.dump(again) == data


def test_a_network_that_reads_survives_json_with_what_it_reads_by() -> None:
    with torch.device("meta"):
        network = WithText(
            UNet(width=8, multipliers=(1,), attention=(), vector=4, context=4), TextTransformer(9, 4, 1, 2)
        )
        data = NETWORKS.dump(network)
        again = NETWORKS.load(through_json(data))
    assert isinstance(again, WithText) and NETWORKS.dump(again) == data
    assert again.state_dict().keys() == network.state_dict().keys()


def test_a_network_with_a_layout_survives_json_with_it() -> None:
    with torch.device("meta"):
        unet = UNet(width=8, multipliers=(1,), attention=(), vector=4, concat=3)
        network = WithLayout(unet, DenseLayout(4, 3, side=2, width=8, time_scale=10.0))
        data = NETWORKS.dump(network)
        again = NETWORKS.load(through_json(data))
    assert isinstance(again, WithLayout) and NETWORKS.dump(again) == data
    assert again.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize(("kind", "arguments"), BUILT)
def test_every_network_survives_json(kind: type, arguments: dict[str, Any]) -> None:
    kinds = AUTOENCODERS if issubclass(kind, Autoencoder) else NETWORKS
    with torch.device("meta"):
        network = kind(**arguments)
        data = kinds.dump(network)
        again = kinds.load(through_json(data))
    assert type(again) is kind and kinds.dump(again) == data
    for name, value in arguments.items():
        assert getattr(again, name) == value and type(getattr(again, name)) is type(value)
    shapes = ({name: p.shape for name, p in each.named_parameters()} for each in (network, again))
    assert next(shapes) == next(shapes)


def test_every_known_kind_is_among_those_tested() -> None:
    tested = {(kinds.part, type(value)) for kinds, value in VALUES} | {
        ("codec", Latent),
        ("network", WithText),
        ("network", WithLayout),
    }
    tested |= {("autoencoder" if issubclass(kind, Autoencoder) else "network", kind) for kind, _ in BUILT}
    assert tested == {(kinds.part, known) for kinds in ALL for known in kinds.kinds.values()}


def test_a_part_in_a_part_says_its_own_kind() -> None:
    assert PARAMETERIZATIONS.dump(MeanPrediction(schedule.VP())) == {
        "kind": "mean",
        "schedule": {"kind": "vp", "beta_min": 0.1, "beta_max": 20.0, "first": 0.001},
        "step": 1.0,
    }


def test_a_field_left_out_takes_its_default() -> None:
    assert SCHEDULES.load({"kind": "linear"}) == schedule.Linear()
    assert SAMPLERS.load({"kind": "ddim"}) == DDIM()
    assert SAMPLERS.load({"kind": "ddim", "eta": 1}) == DDIM(eta=1.0)


def test_what_the_caller_knows_may_be_left_out() -> None:
    assert SCHEDULES.load({"kind": "linear"}, T=10) == schedule.Linear(T=10)


class Mine(schedule.Linear):
    """A schedule of somebody's own: JSON has no word for it."""


def test_a_part_without_a_name_cannot_be_written() -> None:
    with pytest.raises(InputError, match="a Mine is not a known schedule; known: linear, scaled-linear"):
        SCHEDULES.dump(Mine())


@pytest.mark.parametrize(
    ("kinds", "data", "message"),
    [
        (
            SCHEDULES,
            {"kind": "linaer"},
            "there is no schedule 'linaer'; did you mean 'linear'[?] known: .*, cosine, edm, flow, linear,",
        ),
        (SAMPLERS, {"kind": "stroll"}, "there is no sampler 'stroll'; known: .*ddim, ddpm"),
        (
            SCHEDULES,
            {"kind": "linear", "beta_stat": 1.0},
            "no setting 'schedule.linear.beta_stat'; did you mean 'beta_sta",
        ),
        (
            SCHEDULES,
            {"kind": "vp", "T": 1000},
            "there is no setting 'schedule.vp.T'; known: beta_max, beta_min, first$",
        ),
        (SCHEDULES, {}, "schedule should be a table with a kind; known kinds: linear,"),
        (SCHEDULES, {"kind": 3}, "schedule should be a table with a kind"),
        (SCHEDULES, {"kind": ["linear"]}, "schedule should be a table with a kind"),
        (SCHEDULES, "linear", "schedule should be a table with a kind"),
        (SCHEDULES, None, "schedule should be a table with a kind"),
        (PARAMETERIZATIONS, {"kind": "mean"}, "'parameterization.mean.schedule' is missing$"),
        (PARAMETERIZATIONS, {"kind": "mean", "schedule": 3}, "schedule should be a table with a kind"),
        (
            PARAMETERIZATIONS,
            {"kind": "mean", "schedule": {"kind": "linaer"}},
            "schedule 'linaer'; did you mean 'linear'",
        ),
        (
            PARAMETERIZATIONS,
            {"kind": "mean", "schedule": {"kind": "linear", "TT": 5}},
            "no setting 'schedule.linear.TT'; did you mean 'T'",
        ),
    ],
    ids=str,
)
def test_an_unknown_word_is_named_with_the_nearest_known(kinds: Kinds[Any], data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kinds.load(data)


@pytest.mark.parametrize(
    ("kinds", "data", "message"),
    [
        (SCHEDULES, {"kind": "linear", "T": True}, "'schedule.linear.T': input should be a valid integer, not True"),
        (SCHEDULES, {"kind": "linear", "T": "3"}, "'schedule.linear.T': input should be a valid integer, not '3'"),
        (SCHEDULES, {"kind": "linear", "T": 3.5}, "'schedule.linear.T': input should be a valid integer, not 3.5"),
        (SCHEDULES, {"kind": "linear", "T": None}, "'schedule.linear.T': input should be a valid integer, not None"),
        (SCHEDULES, {"kind": "linear", "beta_end": "0.02"}, "beta_end': input should be a valid number, not '0.02'"),
        (SCHEDULES, {"kind": "linear", "beta_end": False}, "beta_end': input should be a valid number, not False"),
        (SCHEDULES, {"kind": "linear", "beta_end": math.nan}, "beta_end': input should be a finite number, not nan"),
        (SCHEDULES, {"kind": "linear", "beta_end": math.inf}, "beta_end': input should be a finite number, not inf"),
        (SCHEDULES, {"kind": "linear", "T": {1, 2}}, "holds a value that is no number, text, list or table"),
        (
            SAMPLERS,
            {"kind": "ddpm", "variance": "medium"},
            "variance': input should be 'small', 'large' or 'learned', not 'medium'",
        ),
        (
            SCHEDULES,
            {"kind": "betas", "given": [0.1, "0.2"]},
            "'schedule.betas.given.1': input should be a valid number",
        ),
        (SCHEDULES, {"kind": "ve", "growth": "cubic"}, "growth': input should be 'geometric' or 'linear', not 'cubic'"),
        (
            PARAMETERIZATIONS,
            {"kind": "score", "over_sigma": "yes"},
            "'parameterization.score.over_sigma': input should be a valid boolean, not 'yes'",
        ),
        (
            PARAMETERIZATIONS,
            {"kind": "flow", "time_input": "λ"},
            "time_input': input should be 't' or 'sigma', not 'λ'",
        ),
        (WEIGHTS, {"kind": "unit", "view": "mean"}, "'weight.unit.view': input should be 'eps', 'x0', 'v', 'flow' or"),
        (
            LOSSES,
            {"kind": "hybrid", "mean": {"kind": "l2"}},
            "no loss 'l2'; known: denoising, hybrid, token-vlb, vlb$",
        ),
        (
            LOSSES,
            {"kind": "denoising", "weight": {"kind": "min-snr", "gama": 5}},
            "there is no setting 'weight.min-snr.gama'; did you mean 'gamma'",
        ),
        (
            NETWORKS,
            {"kind": "unet", "multipliers": [1, "2"]},
            "'network.unet.multipliers.1': input should be a valid int",
        ),
        (
            NETWORKS,
            {"kind": "unet", "multipliers": [1, True]},
            "multipliers.1': input should be a valid integer, not Tr",
        ),
        (NETWORKS, {"kind": "unet", "multipliers": 2}, "'network.unet.multipliers': input should be a valid "),
        (NETWORKS, {"kind": "unet", "scale_shift": 1}, "scale_shift': input should be a valid boolean, not 1"),
        (
            NETWORKS,
            {"kind": "unet", "resample": "none"},
            "resample': input should be 'plain' or 'residual', not 'none'",
        ),
        (CONDITIONERS, {"kind": "labels", "classes": [1, 2]}, "classes.0': input should be a valid string, not 1"),
        (CONDITIONERS, {"kind": "labels", "classes": "ab"}, "classes': input should be a valid "),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused(kinds: Kinds[Any], data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kinds.load(data)


@pytest.mark.parametrize(
    ("kinds", "data"),
    [
        (SCHEDULES, {"kind": "x" * 10**6}),
        (SCHEDULES, {"kind": "linear", "x" * 10**6: 1}),
        (SCHEDULES, {"kind": "linear", "T": "x" * 10**6}),
        (SCHEDULES, {"kind": "linear", "T": [{}] * 10**5}),
        (NETWORKS, {"kind": "unet", "in_channels": 1, "out_channels": 1, "multipliers": [99] * 10**5}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_error_quotes_little_of_a_value_however_long(kinds: Kinds[Any], data: Any) -> None:
    with pytest.raises(InputError) as caught:
        kinds.load(data)
    assert len(str(caught.value)) < 600 and "x" * 101 not in str(caught.value)


@pytest.mark.parametrize(
    ("kinds", "text", "wanted"),
    [
        (SAMPLERS, "ddim", DDIM()),
        (SAMPLERS, "ddim,eta=0.5", DDIM(eta=0.5)),
        (SAMPLERS, " ddim , eta = 1 ", DDIM(eta=1.0)),
        (SAMPLERS, "ddpm,variance=large", Ancestral("large")),
        (SAMPLERS, 'ddpm,variance="large"', Ancestral("large")),
        (SPACINGS, "quadratic,reach=0.8", grid.QuadraticSpacing(0.8)),
        (SPACINGS, "ays,model=sdxl", grid.AYSSpacing("sdxl")),
        (SCHEDULES, "linear,T=10,beta_end=1e-1", schedule.Linear(T=10, beta_end=0.1)),
        (SCHEDULES, "flow,shift=3", schedule.Flow(shift=3.0)),
        (SCHEDULES, "ve,T=null,growth=linear", schedule.VE(growth="linear")),
    ],
)
def test_a_short_text_spells_a_part(kinds: Kinds[Any], text: str, wanted: Any) -> None:
    assert kinds.parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ddmi", "there is no sampler 'ddmi'; did you mean 'dd[ip]m'[?] known: .*ddim, ddpm"),
        ("", "there is no sampler ''; known: .*ddim, ddpm"),
        ("ddim,eta", "'eta' should read name=value, each name once"),
        ("ddim,eat=1", "there is no setting 'sampler.ddim.eat'; did you mean 'eta'[?] known: eta"),
        ("ddim,eta=high", "'sampler.ddim.eta': input should be a valid number, not 'high'"),
        ("ddim,eta=", "'sampler.ddim.eta': input should be a valid number, not ''"),
        ("ddim,eta=true", "'sampler.ddim.eta': input should be a valid number, not True"),
        ("ddim,eta=NaN", "'sampler.ddim.eta': input should be a finite number, not nan"),
        ("ddim,eta=1e999", "'sampler.ddim.eta': input should be a finite number, not inf"),
    ],
)
def test_a_text_that_spells_nothing_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SAMPLERS.parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("null", None),
        ("cat", "cat"),
        ('"3"', "3"),
        ("", ""),
    ],
)
def test_a_setting_is_json_where_it_reads_as_json(text: str, value: Any) -> None:
    found = value_of(text)
    assert found == value and type(found) is type(value)


def test_a_setting_nested_without_end_is_an_input_error() -> None:
    with pytest.raises(InputError):
        SAMPLERS.parse("ddim,eta=" + "[" * 200_000)


@pytest.mark.parametrize("text", ["ddim,", "ddim,eta=0,eta=1", "ddim,kind=ddpm", "ddim,=1"])
def test_a_name_that_is_empty_or_given_twice_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="each name once"):
        SAMPLERS.parse(text)


@pytest.mark.parametrize("kinds", [SAMPLERS, SPACINGS], ids=repr)
def test_what_a_part_is_spelled_as_is_the_part_again(kinds: Kinds[Any]) -> None:
    held = [value for known, value in VALUES if known is kinds]
    assert {type(value) for value in held} == set(kinds.kinds.values()), "each kind once, at least"
    for value in held:
        assert kinds.parse(kinds.spell(value)) == value
        assert json.loads(json.dumps(kinds.dump(value))) == kinds.dump(kinds.parse(kinds.spell(value)))


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"kind": "ddim", "eta": 0.5}, "ddim,eta=0.5"),
        ({"kind": "a", "b": True, "c": None, "d": "x"}, "a,b=true,c=null,d=x"),
        ({"kind": "a", "b": "1"}, '{"kind": "a", "b": "1"}'),
        ({"kind": "a", "b": "x,y=2"}, '{"kind": "a", "b": "x,y=2"}'),
        ({"kind": "a", "b": [1, 2]}, '{"kind": "a", "b": [1, 2]}'),
    ],
    ids=str,
)
def test_a_table_is_spelled_as_it_is_read(table: dict[str, Any], text: str) -> None:
    assert spell_table(table) == text


def test_what_is_refused_within_a_part_is_freed() -> None:
    """An error of ours within one of pydantic's within ours would stay in memory for good, with all that was read."""

    def refuse() -> weakref.ref[InputError]:
        with pytest.raises(InputError, match="there is no schedule 'nothing'") as caught:
            SCHEDULES.load({"kind": "zero-terminal", "table": {"kind": "nothing"}})
        return weakref.ref(caught.value)

    error = refuse()
    gc.collect()
    assert error() is None
