"""From a recipe and its pictures to the work: the codec first, which may itself want training, then what is drawn in
it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sfumato import files
from sfumato.codec import Codec, Identity, Latent
from sfumato.condition import CachedText, Conditioner, Labels, Text, TokenIds, captions_size
from sfumato.data.dataset import Dataset
from sfumato.errors import InputError
from sfumato.library import load_codec, open_codec
from sfumato.media import Image
from sfumato.nn.image.autoencoder import Autoencoder
from sfumato.nn.image.mobilenet import MobileNet
from sfumato.parts import AUTOENCODERS, CODECS
from sfumato.system import file as system_file
from sfumato.train import checkpoint
from sfumato.train import recipe as recipes
from sfumato.train.autoencode import AutoencodeTask
from sfumato.train.build import (
    build,
    build_autoencoder,
    build_classifier,
    build_conditioner,
    check_build,
    image_channels,
)
from sfumato.train.feed import Feed, LatentFeed, PictureFeed, latents_key, latents_size
from sfumato.train.initialize import StateDict, autoencoder_weights, fitting_weights, initialize, network_weights
from sfumato.train.layout import LAYOUT_SHARE, fit_layout
from sfumato.train.monitor import Monitor
from sfumato.train.place import Place
from sfumato.train.plan import check_disk, disk_needed
from sfumato.train.recipe import Recipe
from sfumato.train.record import CAPTIONS, CODEC, FITTING, GIVEN, LATENTS, TOKENIZER
from sfumato.train.task import ClassifyTask, DenoiseTask, Task

Begin = Callable[[], None]
"""Puts a new run on record: called before the first file is kept in its folder."""
FitCodec = Callable[[], None]
"""Puts the run's codec into its folder `codec/`."""


def work(
    recipe: Recipe,
    pictures: Dataset,
    place: Place,
    monitor: Monitor,
    begin: Begin,
    fit: FitCodec,
    minutes: float | None = None,
) -> Task:
    """The work that a recipe describes, untrained; `minutes` are what there is for all of it.

    What the system is to be is built and checked first, as far as it can be without a codec. Then what training needs
    is made, unless the run's folder has it: captions are read, the codec is fitted, latents are computed.
    """
    if recipe.task == "classify":
        return ClassifyTask(recipe, build_classifier(recipe, pictures), _feed(recipe, pictures, "labels"))
    if recipe.task == "autoencode":
        network, given = build_autoencoder(recipe, pictures), None
        if recipe.codec.init_from is not None and checkpoint.last_step(place.folder / "checkpoints") < 0:
            source = recipe.codec.init_from
            monitor.say(initialize(network, autoencoder_weights(source), source, "codec.init_from"))
        if recipe.codec.path is not None:
            given = _given(network, recipe.codec.path, place, begin)
        return AutoencodeTask(recipe, network, _feed(recipe, pictures, None), _perceptual_network(recipe), given)
    conditioner = build_conditioner(recipe.condition, pictures, _tokenizer(place.folder))
    prompts = None if not conditioner.widths else "labels" if isinstance(conditioner, Labels) else "text"
    feed: Feed
    feed = plain = _feed(recipe, pictures, prompts)
    answering: Conditioner = conditioner
    codec, start = _codec(recipe, pictures, place), _start(recipe, place)
    _check(recipe, plain, place, codec, conditioner, start)
    place.accelerator.wait_for_everyone()  # no process makes anything before all have seen what is there
    first = place.accelerator.main_process_first  # the others find the file
    if isinstance(conditioner, TokenIds):
        begin()
        with first():
            conditioner = answering = _with_kept_tokenizer(conditioner, place.folder)
    if isinstance(conditioner, Text):
        begin()
        with first():
            answering = _remembered(conditioner, plain, place, monitor)
    if codec is None:
        begin()
        fit()
        codec = _codec(recipe, pictures, place)
        assert codec is not None
    if isinstance(codec, Latent):
        begin()
        with first():
            cache = _latents(plain, codec, place)
            feed = LatentFeed(plain, codec, cache, partial(monitor.preparing, what="encoding pictures"))
    task = DenoiseTask(recipe, build(recipe, pictures, codec, conditioner), feed, answering)
    if checkpoint.last_step(place.folder / "checkpoints") < 0:  # else both are in there
        if start is not None:
            monitor.say(initialize(task.model.network, start, str(recipe.train.init_from), "train.init_from"))
        seconds = None if minutes is None else 60 * minutes * LAYOUT_SHARE
        fit_layout(task, place.device, partial(monitor.preparing, what="fitting the layout"), seconds)
    return task


def kept(folder: Path) -> int:
    """The bytes of the captions and latents that were made for the run in a folder."""
    return sum(path.stat().st_size for name in (CAPTIONS, LATENTS.format("*")) for path in folder.glob(name))


def _check(
    recipe: Recipe,
    feed: PictureFeed,
    place: Place,
    codec: Codec | None,
    conditioner: Conditioner,
    start: StateDict | None,
) -> None:
    """Raise an error if what the recipe describes cannot be built, or if there is no room for it and for all that is
    to be made before it is trained."""
    coming = codec or _coming(recipe, feed.pictures, place)
    held = [place.folder / "checkpoints", place.folder / "system"]
    needed = disk_needed(check_build(recipe, feed.pictures, coming, conditioner, start), held)
    if isinstance(conditioner, Text) and not (place.folder / CAPTIONS).exists():
        needed += captions_size(conditioner, feed.said())
    if isinstance(coming, Latent):
        if codec is None or not _latents(feed, coming, place).exists():
            needed += latents_size(feed, coming)
        if codec is None:
            weights = sum(parameter.numel() for parameter in coming.parameters())
            held = [place.folder / FITTING / name for name in ("checkpoints", CODEC)]
            needed += 4 * weights if recipe.codec.path else disk_needed(weights, held)
    check_disk(place.folder, needed)


def _start(recipe: Recipe, place: Place) -> StateDict | None:
    """The weights that the network begins with; None if it begins with its own, or has begun."""
    if recipe.train.init_from is None or checkpoint.last_step(place.folder / "checkpoints") >= 0:
        return None
    return network_weights(recipe.train.init_from)


def _feed(recipe: Recipe, pictures: Dataset, prompts: str | None) -> PictureFeed:
    own = recipe.data
    return PictureFeed(pictures, own.flip, own.background, own.backgrounds, prompts)


def _remembered(conditioner: Text, feed: PictureFeed, place: Place, monitor: Monitor) -> CachedText:
    progress = partial(monitor.preparing, what="reading captions")
    if place.device.type == "cpu":
        return CachedText(conditioner, feed.said(), place.folder / CAPTIONS, progress)
    remembered = CachedText(conditioner.to(place.device), feed.said(), place.folder / CAPTIONS, progress)
    conditioner.to("cpu")  # it is not wanted again before pictures are drawn
    return remembered


def _perceptual_network(recipe: Recipe) -> MobileNet | None:
    """The network in whose features pictures are compared, if the recipe wants that."""
    own = recipe.reconstruction
    return MobileNet.read(own.features) if own.perceptual and own.features is not None else None


def _latents(feed: PictureFeed, codec: Latent, place: Place) -> Path:
    """The file of a run's latents."""
    return place.folder / LATENTS.format(latents_key(feed, codec)[:12])


def _tokenizer(folder: Path) -> str | None:
    """The tokenizer that a run has fitted to its captions; None if it has none yet."""
    path = folder / TOKENIZER
    if not path.exists():
        return None
    files.read_json(path)  # an error that names the file
    return path.read_text(encoding="utf-8")


def _with_kept_tokenizer(conditioner: TokenIds, folder: Path) -> TokenIds:
    """The conditioner with the run's tokenizer, which is its own if there is none yet."""
    if not (folder / TOKENIZER).exists():
        files.write_bytes(folder / TOKENIZER, conditioner.tokenizer.encode())
    return replace(conditioner, tokenizer=_tokenizer(folder))


# The codec ------------------------------------------------------------------------------------------------------------


def _codec(recipe: Recipe, pictures: Dataset, place: Place) -> Codec | None:
    """The codec of the run, on its device; None if it is yet to be fitted."""
    if recipe.codec.kind == "identity":
        return Identity(Image(image_channels(pictures)))
    folder = place.folder / CODEC
    if not (folder / system_file.CODEC_FILE).exists():
        return None
    return load_codec(folder).requires_grad_(False).to(place.device)


def _coming(recipe: Recipe, pictures: Dataset, place: Place) -> Latent:
    """The codec that the recipe takes over, or one of the shape of that which it fits."""
    if recipe.codec.path is not None:
        codec = load_codec(recipe.codec.path)
        if codec.medium.channels != image_channels(pictures):
            raise InputError(
                f"the codec is for {codec.medium.channels} channels, and the pictures have {image_channels(pictures)}"
            )
        return codec
    stage = fitting(recipe)
    with torch.device("meta"):
        network = build_autoencoder(stage, pictures)
    if stage.codec.init_from is not None and checkpoint.last_step(place.folder / FITTING / "checkpoints") < 0:
        fitting_weights(network, autoencoder_weights(stage.codec.init_from), stage.codec.init_from, "codec.init_from")
    return Latent(network)


def check_codec(recipe: Recipe) -> None:
    """Raise an error if the codec of a recipe can neither be taken over nor be fitted."""
    source = recipe.codec.path or recipe.codec.init_from
    if source is not None:
        load_codec(source)
    if recipe.task == "denoise" and recipe.codec.path is None:
        _perceptual_network(fitting(recipe))


def fitting(recipe: Recipe) -> Recipe:
    """The recipe of the first stage: the one that fits the codec, on the second's data."""
    if said := [setting for setting in recipe.codec.settings if setting.startswith("data.")]:
        raise InputError(f"codec.settings cannot set {said[0]}: the codec is fitted on the run's own data")
    own = recipes.load_recipe(recipe.codec.fit, recipe.codec.settings)
    if own.task != "autoencode":
        raise InputError(f"codec.fit names the recipe {recipe.codec.fit}, whose task is {own.task}, not autoencode")
    changed: dict[str, Any] = {"data": recipe.data.model_dump(mode="json")}
    if recipe.codec.init_from is not None:
        changed["codec"] = own.codec.model_dump(mode="json") | {"init_from": recipe.codec.init_from}
    return recipes.check_recipe(own.dump() | changed)


def _given(network: Autoencoder, source: str, place: Place, begin: Begin) -> Latent:
    """The codec that goes on learning, as the run found it: a copy is kept, for its latents must stay what they were.
    Its network must be shaped like this one."""
    copy = place.folder / GIVEN
    kept = (copy / system_file.CODEC_FILE).exists()
    codec = load_codec(copy if kept else source)
    own, theirs = AUTOENCODERS.dump(network), AUTOENCODERS.dump(codec.network)
    if changes := recipes.differences(theirs, own, "network"):
        raise InputError(f"the codec in {source} is of another shape than the recipe's: {'; '.join(changes)}")
    place.accelerator.wait_for_everyone()
    if not kept:
        begin()
        if place.accelerator.is_main_process:
            copy_codec(source, copy)
    place.accelerator.wait_for_everyone()
    return codec


def copy_codec(source: str | Path, target: Path) -> None:
    """Copy a codec, as `load_codec` finds it, in float32: what names the weights comes last, so that it comes whole."""
    codec, about = open_codec(source)
    spec = {"codec": CODECS.dump(codec), "about": about}
    system_file.write_folder(target, spec, {CODEC: codec.float()}, system_file.CODEC_FILE)
