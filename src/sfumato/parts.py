"""Parts as data: the one place where named parts become JSON and come back.

Every part keeps its constructor's arguments under their own names, so its kind and those arguments say all of it:
`Linear(T=1000)` is `{"kind": "linear", "T": 1000, …}`. Reading is strict: an unknown kind or key, or a value of the
wrong type, is an `InputError` that names it and the nearest known.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

import pydantic
from pydantic import ConfigDict, GetPydanticSchema
from pydantic_core import core_schema
from torch import nn

from sfumato import loss, media, sample
from sfumato.codec import Codec, Identity, Latent
from sfumato.condition import (
    ClipText,
    Conditioner,
    EncodedText,
    Labels,
    MiniLM,
    Nothing,
    Phrases,
    Pretrained,
    TextEncoder,
    TokenIds,
)
from sfumato.core import discrete, grid, parameterization, process, schedule
from sfumato.errors import InputError, nearest, quoted
from sfumato.foreign.spelling import folded_name
from sfumato.loss import Loss, Times, Weight
from sfumato.media import Medium
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
from sfumato.sample import Sampler

P = TypeVar("P")


class Kinds(Generic[P]):
    """The known kinds of one part, by name."""

    def __init__(self, part: str, kinds: Mapping[str, type]) -> None:
        self.part, self.kinds = part, dict(kinds)
        self._models: dict[str, type[pydantic.BaseModel]] = {}

    def __repr__(self) -> str:
        return f"the kinds of {self.part}"

    def add(self, kind: str, known: type[P]) -> None:
        """Know one more kind, for the rest of this process: a part of somebody's own, whose constructor stores its
        arguments under their own names. An `InputError` for a kind that another has."""
        if self.kinds.setdefault(kind, known) is not known:
            raise InputError(f"the {self.part} {quoted(kind)} is {self.kinds[kind].__name__}: give yours another name")

    def dump(self, value: P) -> dict[str, Any]:
        """The part as data, ready for JSON."""
        for kind, known in self.kinds.items():
            if type(value) is known:
                names = inspect.signature(known).parameters
                return {"kind": kind, **{name: _plain(getattr(value, name)) for name in names}}
        raise InputError(f"a {type(value).__name__} is not a known {self.part}; known: {', '.join(self.kinds)}")

    def load(self, data: Any, **given: Any) -> P:
        """The part that `data` spells. `given` are arguments that the caller knows and the data need not say."""
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise InputError(f"{self.part} should be a table with a kind; known kinds: {', '.join(self.kinds)}")
        kind = data["kind"]
        if kind not in self.kinds:
            raise InputError(f"there is no {self.part} {quoted(kind)}; {nearest(kind, self.kinds)}")
        values = {key: value for key, value in data.items() if key != "kind"} | given
        model = self._model(kind)
        checked = validate(model, values, f"{self.part}.{kind}")
        return self.kinds[kind](**{name: getattr(checked, name) for name in model.model_fields})

    def parse(self, text: str) -> P:
        """The part that a short text spells: a kind, then settings, as in `ddim` or `ddim,eta=0.5`; or a JSON table,
        where parts hold parts. Case, spaces, hyphens and underscores of the kind do not matter."""
        if text.lstrip().startswith("{"):
            return self.load(value_of(text))
        kind, *settings = text.split(",")
        known = {folded_name(one): one for one in self.kinds}
        data: dict[str, Any] = {"kind": known.get(folded_name(kind), kind.strip())}
        for setting in settings:
            name, sign, value = setting.partition("=")
            name = name.strip()
            if not sign or not name or name in data:
                raise InputError(f"{quoted(setting)} should read name=value, each name once, as in 'ddim,eta=0.5'")
            data[name] = value_of(value.strip())
        return self.load(data)

    def spell(self, value: P) -> str:
        """A short text that `parse` reads as the part."""
        return spell_table(self.dump(value))

    def _model(self, kind: str) -> type[pydantic.BaseModel]:
        """A strict model of the constructor's arguments."""
        if kind not in self._models:
            known = self.kinds[kind]
            hints = get_type_hints(known.__init__)
            fields: dict[str, Any] = {}
            for name, parameter in inspect.signature(known).parameters.items():
                default = ... if parameter.default is parameter.empty else parameter.default
                fields[name] = (_nested(hints[name]), default)
            config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
            self._models[kind] = pydantic.create_model(kind, __config__=config, **fields)
        return self._models[kind]


def validate(model: type[pydantic.BaseModel], values: Mapping[str, Any], where: str) -> pydantic.BaseModel:
    """`values` checked strictly against `model`; the first thing wrong as an `InputError` that says where and what."""
    try:
        return model.model_validate_json(json.dumps(values))
    except pydantic.ValidationError as error:
        wrong = _wrong(error, model, where)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} holds a value that is no number, text, list or table: {error}") from error
    # Raised here and not above: pydantic's error may hold this one, which would then hold pydantic's as what it came
    # amid, and nothing would ever free the two, with all that was being read.
    raise wrong


def _wrong(error: pydantic.ValidationError, model: type[pydantic.BaseModel], where: str) -> InputError:
    """The first thing that pydantic found wrong, as an error of ours."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return InputError(f"{where or 'the recipe'} holds a text of half a character, or nests too deeply")
    place = ".".join([where, *(str(step)[:50] for step in first["loc"])]).lstrip(".")
    if isinstance(cause := first.get("ctx", {}).get("error"), InputError):
        return cause
    if first["type"] == "extra_forbidden":
        hint = nearest(str(first["loc"][-1]), _keys(model, first["loc"]))
        return InputError(f"there is no setting '{place}'; {hint}")
    if first["type"] == "unexpected_keyword_argument":  # within a dataclass
        return InputError(f"there is no setting '{place}'")
    if first["type"] == "missing":
        return InputError(f"'{place}' is missing")
    message = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    return InputError(f"'{place}': {message}, not {quoted(first['input'])}")


def value_of(text: str) -> Any:
    """A setting's value from the command line: JSON where it reads as JSON, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def spell_table(table: Mapping[str, Any]) -> str:
    """A part's table as the short text that `Kinds.parse` reads: a kind, then settings; or as JSON, where a setting is
    a table, a list or a text that would be read as something else."""
    kind, settings = table.get("kind"), {name: value for name, value in table.items() if name != "kind"}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    parts = [str(kind), *(f"{name}={text}" for name, text in texts.items())]
    same = all(value_of(text) == settings[name] and text == text.strip() for name, text in texts.items())
    return ",".join(parts) if same and not any("," in part for part in parts) else json.dumps(table)


def _keys(model: type[pydantic.BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The keys that the table which holds the last step of `place` may have."""
    for step in place[:-1]:
        field = model.model_fields.get(str(step))
        if (
            field is None
            or not inspect.isclass(field.annotation)
            or not issubclass(field.annotation, pydantic.BaseModel)
        ):
            break
        model = field.annotation
    return list(model.model_fields)


def _plain(value: Any) -> Any:
    """A constructor's argument as JSON: a nested part by its own kind."""
    for kinds in KINDS.values():
        if isinstance(value, tuple(kinds.kinds.values())):
            return kinds.dump(value)
    return list(value) if isinstance(value, tuple) else value


def _nested(hint: Any) -> Any:
    """The type of an argument, or, where it is itself a part, how to read that part."""
    kinds = KINDS.get(hint)
    return Annotated[hint, part_field(kinds)] if kinds else hint


def part_field(kinds: Kinds[Any], load: Callable[[Any], Any] | None = None) -> GetPydanticSchema:
    """Marks a pydantic field as holding a part: read from a table (by `load`, if that is another's) or given as it is,
    kept as the part, written as a table."""
    read = load or kinds.load
    writes = core_schema.plain_serializer_function_ser_schema(kinds.dump)
    schema = core_schema.no_info_plain_validator_function(
        lambda value: value if type(value) in kinds.kinds.values() else read(value), serialization=writes
    )
    return GetPydanticSchema(lambda source, handler: schema)


SCHEDULES = Kinds[schedule.Schedule](
    "schedule",
    {
        "linear": schedule.Linear,
        "scaled-linear": schedule.ScaledLinear,
        "quadratic": schedule.Quadratic,
        "cosine": schedule.Cosine,
        "sigmoid": schedule.Sigmoid,
        "betas": schedule.Betas,
        "alphas-cumprod": schedule.AlphasCumprod,
        "zero-terminal": schedule.ZeroTerminal,
        "vp": schedule.VP,
        "sub-vp": schedule.SubVP,
        "ve": schedule.VE,
        "edm": schedule.EDM,
        "flow": schedule.Flow,
    },
)
PARAMETERIZATIONS = Kinds[parameterization.Parameterization](
    "parameterization",
    {
        "eps": parameterization.EpsPrediction,
        "x0": parameterization.X0Prediction,
        "v": parameterization.VPrediction,
        "flow": parameterization.FlowPrediction,
        "score": parameterization.ScorePrediction,
        "karras": parameterization.EDMPreconditioning,
        "mean": parameterization.MeanPrediction,
    },
)
PROCESSES = Kinds[process.Process](
    "process", {"gaussian": process.Gaussian, "masking": process.Masking, "uniform": process.Uniform}
)
SPACINGS = Kinds[grid.Spacing](
    "spacing",
    {
        "uniform": grid.UniformSpacing,
        "trailing": grid.TrailingSpacing,
        "leading": grid.LeadingSpacing,
        "quadratic": grid.QuadraticSpacing,
        "karras": grid.KarrasSpacing,
        "logsnr": grid.LogSNRSpacing,
        "ays": grid.AYSSpacing,
        "explicit": grid.ExplicitSpacing,
        "discrete": discrete.DiscreteSpacing,
        "distilled": discrete.DistilledSpacing,
    },
)
SAMPLERS = Kinds[Sampler[Any]](
    "sampler",
    {
        "ddpm": sample.Ancestral,
        "ddim": sample.DDIM,
        "euler": sample.Euler,
        "euler-ancestral": sample.EulerAncestral,
        "heun": sample.Heun,
        "dpm++": sample.DPMSolver,
        "dpm++2s": sample.DPMSolverS,
        "dpm++pairs": sample.DPMSolverPairs,
        "unipc": sample.UniPC,
        "ipndm": sample.IPNDM,
        "plms": sample.PLMS,
        "lms": sample.LMS,
        "lcm": sample.LCM,
        "langevin": sample.Langevin,
        "annealed-langevin": sample.AnnealedLangevin,
        "predictor-corrector": sample.PredictorCorrector,
        "token-ancestral": sample.TokenAncestral,
        "confidence-unmasking": sample.ConfidenceUnmasking,
    },
)
NETWORKS = Kinds[Any](
    "network",
    {
        "unet": UNet,
        "dit": DiT,
        "unet-1d": UNet1D,
        "dit-1d": DiT1D,
        "token-transformer": TokenTransformer,
        "sprites": Sprites,
        "encoder": Encoder,
        "with-text": WithText,
        "with-layout": WithLayout,
    },
)
LAYOUTS = Kinds[DenseLayout]("layout", {"dense": DenseLayout})
TEXT_NETWORKS = Kinds[TextTransformer]("text network", {"transformer": TextTransformer})
AUTOENCODERS = Kinds[Autoencoder]("autoencoder", {"kl": KLAutoencoder, "vq": VQAutoencoder, "pca": PCA})
MEDIA = Kinds[Medium](
    "medium",
    {
        "image": media.Image,
        "audio": media.Audio,
        "text": media.Text,
        "embedding": media.Embedding,
        "layout": media.Layout,
    },
)
CODECS = Kinds[Codec]("codec", {"identity": Identity, "latent": Latent})
TEXT_ENCODERS = Kinds[TextEncoder]("text encoder", {"minilm": MiniLM, "transformers": Pretrained})
CONDITIONERS = Kinds[Conditioner](
    "conditioner",
    {
        "nothing": Nothing,
        "labels": Labels,
        "text": EncodedText,
        "phrases": Phrases,
        "token-ids": TokenIds,
        "clip": ClipText,
    },
)
WEIGHTS = Kinds[Weight](
    "weight",
    {
        "unit": loss.UnitWeight,
        "snr": loss.SNRWeight,
        "min-snr": loss.MinSNRWeight,
        "p2": loss.P2Weight,
        "sigma2": loss.Sigma2Weight,
        "edm": loss.EDMWeight,
    },
)
LOSSES = Kinds[Loss](
    "loss",
    {
        "denoising": loss.Denoising,
        "vlb": loss.VLB,
        "token-vlb": loss.TokenVLB,
        "hybrid": loss.Hybrid,
    },
)
TIMES = Kinds[Times](
    "times",
    {
        "uniform": loss.UniformTimes,
        "logit-normal": loss.LogitNormalTimes,
        "log-normal": loss.LogNormalTimes,
        "cosine": loss.CosineTimes,
        "importance": loss.ImportanceTimes,
    },
)

KINDS: dict[Any, Kinds[Any]] = {
    schedule.Schedule: SCHEDULES,
    Medium: MEDIA,
    nn.Module: NETWORKS,
    TextTransformer: TEXT_NETWORKS,
    DenseLayout: LAYOUTS,
    Autoencoder: AUTOENCODERS,
    TextEncoder: TEXT_ENCODERS,
    Sampler[Any]: SAMPLERS,
    Weight: WEIGHTS,
    Loss: LOSSES,
}
"""The parts that other parts may hold, by the type that says so in their constructors."""
