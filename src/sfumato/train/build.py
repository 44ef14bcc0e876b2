"""From a recipe and its data to a system of random weights."""

import torch
from torch import nn

from sfumato.codec import Codec, Identity
from sfumato.condition import Conditioner, EncodedText, Labels, Nothing, TokenIds, fit_tokenizer
from sfumato.data.dataset import Dataset
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.nn.image.layout import DenseLayout, WithLayout
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText
from sfumato.parts import NETWORKS
from sfumato.system import System
from sfumato.system.settings import Settings
from sfumato.train.batches import mix
from sfumato.train.denoise_recipe import ConditionRecipe, DenoiseRecipe
from sfumato.train.initialize import StateDict, fitting_weights


def build(
    recipe: DenoiseRecipe, dataset: Dataset, codec: Codec | None = None, conditioner: Conditioner | None = None
) -> System:
    """The system that `recipe` describes for these data, of random weights; on the data themselves, unless there is a
    codec. The weights follow from the recipe's seed."""
    codec = codec or Identity(recipe.data.feed(dataset).medium)
    conditioner = conditioner or build_conditioner(recipe.condition, dataset)
    torch.manual_seed(mix(recipe.train.seed, 0))
    return _system(recipe, dataset, codec, conditioner, _network(recipe, codec, conditioner))


def check_build(
    recipe: DenoiseRecipe, dataset: Dataset, codec: Codec, conditioner: Conditioner, start: StateDict | None = None
) -> int:
    """Raise an `InputError` if `build` would, or if no weight of `start` fits its network; builds nothing of any size.
    Returns how many weights there would be to train."""
    with torch.device("meta"):
        network = _network(recipe, codec, conditioner)
    _system(recipe, dataset, codec, conditioner, network)
    if start is not None:
        fitting_weights(network, start, str(recipe.train.init_from), "train.init_from")
    return sum(parameter.numel() for parameter in network.parameters())


def _network(recipe: DenoiseRecipe, codec: Codec, conditioner: Conditioner) -> nn.Module:
    """The network, and around it what draws a layout, if one is wanted, and what encodes texts, if that is learned."""
    own = recipe.condition
    learned = conditioner.vocabulary > 0
    widths = {"vector": own.width, "context": own.width} if learned else conditioner.widths
    channels = codec.channels * (2 if recipe.variance == "learned" else 1)
    laid_out = own.layout > 0 and "vector" in widths
    if own.image and "concat" in widths:
        raise InputError("the conditioner gives the network its concat already: set condition.image=false, or another")
    concat = widths.get("concat", 0) + own.image * codec.channels
    given = {
        "in_channels": codec.channels,
        "out_channels": channels,
        **widths,
        **({"concat": concat} if concat else {}),
    }
    if repeated := given.keys() & recipe.network.keys():
        raise InputError(f"network.{min(repeated)} follows from the data: leave it out of the recipe")
    network = NETWORKS.load(recipe.network, **(given | ({"concat": concat + channels} if laid_out else {})))
    if getattr(network, "onto_concat", False) and not network.concat:
        raise InputError("network.onto_concat wants conditioning images to add to: set condition.image=true")
    if laid_out:
        layout = DenseLayout(widths["vector"], channels, own.layout, time_scale=network.time_scale)
        network = WithLayout(network, layout)
    if not learned:
        return network
    return WithText(network, TextTransformer(conditioner.vocabulary, own.width, own.layers, own.heads, own.length))


def _system(
    recipe: DenoiseRecipe, dataset: Dataset, codec: Codec, conditioner: Conditioner, network: nn.Module
) -> System:
    own, size = recipe.settings, dataset.size
    settings = Settings(size, own.sampler, own.spacing, own.steps, own.guidance, own.interval, own.rescale)
    system = System(codec, conditioner, Denoiser(network, recipe.schedule, recipe.parameterization), settings)
    system.check(settings, prompted=bool(conditioner.widths))
    return system


def build_conditioner(recipe: ConditionRecipe, dataset: Dataset, tokenizer: str | None = None) -> Conditioner:
    """Captions where the recipe wants them; labels where the data has classes and the recipe does not refuse them.
    Where captions are learned to be encoded, the `tokenizer` is fitted to them unless there is one."""
    if recipe.reads_captions and not any(dataset.captions):
        noun = dataset.medium.noun
        raise InputError(
            f"the recipe wants captions, and the data has none: put a .txt beside each {noun}, a metadata.jsonl"
            " into the folder, or a column `text` into the parquet file"
        )
    if recipe.conditioner is not None:
        return recipe.conditioner
    if recipe.kind == "text":
        return EncodedText(recipe.encoder, recipe.length, recipe.dropout)
    if recipe.kind == "learned":
        captions = (caption for own in dataset.captions for caption in own)
        return TokenIds(tokenizer or fit_tokenizer(captions, recipe.vocabulary), recipe.length, recipe.dropout)
    classes = dataset.classes if dataset.labels is not None else ()
    if recipe.kind == "labels" and len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "none"
        raise InputError(
            f"the recipe wants classes, and the data has {found}: sort the {dataset.medium.plural} into a folder a"
            " class, or train without, by condition.kind=nothing"
        )
    if recipe.kind == "nothing" or len(classes) < 2:
        return Nothing()
    return Labels(classes, recipe.dropout)
