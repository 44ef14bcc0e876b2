"""From a recipe and its pictures to the work: the codec first, which may itself want training, then what is drawn in
it."""

from collections.abc import Callable
from pathlib import Path

from sfumato import files, system_file
from sfumato.codec import Codec, Latent, Pixels
from sfumato.condition import Labels, Remembered, Text
from sfumato.data.prepare import Pictures
from sfumato.errors import InputError
from sfumato.nn.mobilenet import MobileNet
from sfumato.train import recipe as recipes
from sfumato.train.autoencode import Autoencoding
from sfumato.train.build import build, build_autoencoder, build_classifier, build_conditioner, colours
from sfumato.train.feed import Feed, LatentFeed, PictureFeed
from sfumato.train.monitor import Monitor
from sfumato.train.recipe import Recipe
from sfumato.train.work import Classifying, Denoising, Work

CODEC = "codec"
LATENTS = "latents-{}.npy"
CAPTIONS = "captions.safetensors"

Fit = Callable[[], None]
"""Trains the run's codec and leaves it in the run's folder `codec/`."""


def work(recipe: Recipe, pictures: Pictures, folder: Path, monitor: Monitor, fit: Fit) -> Work:
    """The work that a recipe describes, untrained. `fit` is called if it needs a codec and there is none in `folder`
    yet."""
    if recipe.task == "classify":
        return Classifying(recipe, build_classifier(recipe, pictures), _feed(recipe, pictures, "labels"))
    if recipe.task == "autoencode":
        own = recipe.reconstruction
        eye = MobileNet.read(own.features) if own.perceptual and own.features is not None else None
        return Autoencoding(own, build_autoencoder(recipe, pictures), _feed(recipe, pictures, None), eye)
    conditioner = build_conditioner(recipe.condition, pictures)
    prompts = None if not conditioner.doors else "labels" if isinstance(conditioner, Labels) else "text"
    plain = _feed(recipe, pictures, prompts)
    if isinstance(conditioner, Text):  # before the codec: a text encoder that is not to be had says so at once
        conditioner = Remembered(conditioner, plain.said(), folder / CAPTIONS, monitor.preparing)
    codec = _codec(recipe, pictures, folder, fit)
    feed = plain if isinstance(codec, Pixels) else _latents(plain, codec, folder, monitor)
    return Denoising(recipe, build(recipe, pictures, codec), feed, conditioner)


def _feed(recipe: Recipe, pictures: Pictures, prompts: str | None) -> PictureFeed:
    own = recipe.data
    return PictureFeed(pictures, own.flip, own.background, own.backgrounds, prompts)


def _codec(recipe: Recipe, pictures: Pictures, folder: Path, fit: Fit) -> Codec:
    if recipe.codec.kind == "pixels":
        return Pixels(colours(pictures))
    if not (folder / CODEC / system_file.CODEC).exists():
        fit()
    codec, _ = system_file.read_codec(folder / CODEC)
    if codec.colours != colours(pictures):
        raise InputError(f"the codec in {folder / CODEC} is for {codec.colours} colours, not {colours(pictures)}")
    return codec


def _latents(feed: PictureFeed, codec: Codec, folder: Path, monitor: Monitor) -> Feed:
    """The latents of all pictures, from the run's folder if they are there."""
    digest = files.read_json(folder / CODEC / system_file.CODEC)["digest"]
    return LatentFeed(feed, codec, folder / LATENTS.format(digest[:12]), monitor.preparing)


def check_codec(recipe: Recipe) -> None:
    """Raise an error if the codec of a recipe can neither be taken over nor be fitted."""
    if recipe.codec.use is not None:
        system_file.read_spec(_codec_folder(Path(recipe.codec.use)), system_file.CODEC)
    else:
        fitting(recipe)


def fitting(recipe: Recipe) -> Recipe:
    """The recipe of the first stage: the one that fits the codec, on the second's data."""
    own = recipes.load(recipe.codec.fit, recipe.codec.settings)
    if own.task != "autoencode":
        raise InputError(f"codec.fit names the recipe {recipe.codec.fit}, whose task is {own.task}, not autoencode")
    return recipes.check(own.dump() | {"data": recipe.data.model_dump(mode="json")})


def copy_codec(source: Path, target: Path) -> None:
    """Copy a codec's folder, or that in a run's folder: what names the weights last, so that it comes whole."""
    source = _codec_folder(source)
    spec = system_file.read_spec(source, system_file.CODEC)
    codec, _ = system_file.read_codec(source)
    assert isinstance(codec, Latent)
    del spec["weights"], spec["digest"]
    system_file.write(target, spec, {CODEC: codec}, system_file.CODEC)


def _codec_folder(source: Path) -> Path:
    """The folder of a codec: `source`, or the one in a run's folder."""
    return source / CODEC if (source / CODEC).is_dir() else source
