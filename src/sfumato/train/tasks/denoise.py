"""The task denoise: a diffusion model, on data or in latents."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sfumato import logs
from sfumato.codec import Codec, Identity, Latent
from sfumato.condition import Conditioner, Prompt
from sfumato.core.condition import Condition
from sfumato.core.process import Gaussian, Process
from sfumato.data.dataset import Dataset
from sfumato.errors import InputError, ResumeError
from sfumato.library import find_system, load_codec
from sfumato.system import System
from sfumato.system.samples import Samples
from sfumato.train.base_recipe import Recipe
from sfumato.train.build import build, build_conditioner, check_build
from sfumato.train.denoise_recipe import DenoiseRecipe
from sfumato.train.feed import Feed, LatentFeed, latents_key, latents_size
from sfumato.train.fitted_codec import copy_codec
from sfumato.train.initialize import StateDict, initialize, network_weights
from sfumato.train.layout import LAYOUT_SHARE, fit_layout
from sfumato.train.plan import disk_needed
from sfumato.train.run_folder import RunFolder
from sfumato.train.tasks.autoencode import AutoencodeRecipe, dry_autoencoder, perceptual_network
from sfumato.train.tasks.protocol import Need, Preview, Stop, Task, Trainee, never

if TYPE_CHECKING:
    from sfumato.train.run import Run

_log = logs.EventLogger(__name__)
AUTOENCODER = "autoencoder"
"""The folder of the stage that fits the codec."""
_MOST_SHOWN, _MOST_CAPTIONS = 64, 12


class DenoiseTask(Task):
    """Leaves a `System`. In latents it wants a codec first, which a stage fits; captions are encoded once."""

    recipe = DenoiseRecipe
    leaves = "system"
    stages = (AUTOENCODER,)

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.own: DenoiseRecipe = run.recipe  # pyright: ignore[reportAttributeAccessIssue]
        tokenizer = run.folder.read_tokenizer()
        self.conditioner = build_conditioner(self.own.condition, run.dataset, tokenizer)
        self.training_conditioner: Conditioner = self.conditioner
        self.feed = run.recipe.data.feed(run.dataset, self.conditioner.reads)
        self.codec = self._codec()
        self.start = self._start()

    # Before data is read ----------------------------------------------------------------------------------------------

    @classmethod
    def check_sources(cls, recipe: DenoiseRecipe, before: DenoiseRecipe | None, folder: RunFolder) -> None:
        fitting = folder.within(AUTOENCODER)
        if before is not None and (folder.has_codec or fitting.begun) and before.codec != recipe.codec:
            state = "its codec" if folder.has_codec else "begun to fit its codec"
            raise ResumeError(f"{folder} has {state} already: [codec] cannot be changed any more")
        vocabulary = None if before is None else before.condition.vocabulary
        if folder.tokenizer.exists() and vocabulary not in (None, recipe.condition.vocabulary):
            raise ResumeError(f"{folder} has its tokenizer already: condition.vocabulary cannot be changed any more")
        if recipe.train.init_from is not None and not folder.trained:
            find_system(recipe.train.init_from)
        if recipe.codec.kind == "latent" and not folder.has_codec and not fitting.begun:
            if (source := recipe.codec.path or recipe.codec.init_from) is not None:
                load_codec(source)
            if recipe.codec.is_fitted:
                perceptual_network(codec_recipe(recipe))

    @classmethod
    def stage_recipes(cls, recipe: DenoiseRecipe, folder: RunFolder) -> Sequence[Recipe]:
        return [codec_recipe(recipe)] if recipe.codec.is_fitted and not folder.has_codec else []

    @classmethod
    def notes(cls, recipe: DenoiseRecipe, dataset: Dataset) -> Sequence[str]:
        own, notes = recipe.condition, []
        if dataset.classes and own.kind in ("text", "learned", "nothing"):
            notes.append("there are classes, and this recipe does not condition on them")
        if any(dataset.captions) and not own.reads_captions:
            notes.append("there are captions, and this recipe does not read them: condition.kind=text does")
        return notes

    # What must be there first -----------------------------------------------------------------------------------------

    def check(self) -> int:
        return check_build(self.own, self.run.dataset, self.codec or self._coming(), self.conditioner, self.start)

    def needs(self) -> Sequence[Need]:
        """Tokenizer, captions, codec and latents, as far as the recipe wants them."""
        folder, codec = self.run.folder, self.codec or self._coming()
        needs = []
        if self.conditioner.reads == "captions":
            size = self.conditioner.training_size(folder, self.feed.captions())
            needs.append(Need(size, self._prepare_conditioner))
        if isinstance(codec, Latent):
            if self.codec is None:
                needs.append(Need(self._codec_size(codec), self._fit_codec))
            there = self.codec is not None and folder.latents(latents_key(self.feed, codec)).exists()
            needs.append(Need(0 if there else latents_size(self.feed, codec), self._encode_data))
        return needs

    def _prepare_conditioner(self) -> None:
        """What training asks in the place of the conditioner: captions encoded, or the tokenizer that the run keeps."""
        run, progress = self.run, partial(self.run.monitor.preparing, what="reading captions")
        with run.compute.accelerator.main_process_first():  # the others find the file
            conditioner = self.conditioner.to(run.compute.device)
            self.training_conditioner = conditioner.for_training(run.folder, self.feed.captions(), progress)
            self.conditioner = self.training_conditioner.saved.to("cpu")  # not wanted again before samples are drawn

    def _fit_codec(self) -> None:
        """Put the run's codec into its folder, from where the recipe says or by a run of its own."""
        own, folder = self.own.codec, self.run.folder
        if own.path is None:
            self.run.stage(AUTOENCODER, codec_recipe(self.own), "the codec", own.time_share)
        if self.run.compute.is_main:
            copy_codec(folder.within(AUTOENCODER).path if own.path is None else own.path, folder.codec)
        self.run.compute.wait()
        self.codec = self._codec()

    def _encode_data(self) -> None:
        codec, plain = self.codec, self.feed
        assert isinstance(codec, Latent)
        what = f"encoding {self.feed.medium.plural}"
        with self.run.compute.accelerator.main_process_first():
            cache = self.run.folder.latents(latents_key(plain, codec))
            self.latent_feed = LatentFeed(plain, codec, cache, partial(self.run.monitor.preparing, what=what))

    # The trainee ------------------------------------------------------------------------------------------------------

    def trainee(self) -> Trainee:
        run, codec = self.run, self.codec
        assert codec is not None
        feed: Feed = self.latent_feed if isinstance(codec, Latent) else self.feed
        system = build(self.own, self.run.dataset, codec, self.conditioner)
        trainee = DenoiseTrainee(self.own, system, feed, self.training_conditioner)
        if not run.folder.trained:  # else both are in the checkpoint
            if self.start is not None:
                network, source = trainee.model.network, str(self.own.train.init_from)
                _log.info(initialize(network, self.start, source, "train.init_from"))
            seconds = None if run.budget.minutes is None else 60 * run.budget.minutes * LAYOUT_SHARE
            fit_layout(trainee, run.compute.device, partial(run.monitor.preparing, what="fitting the layout"), seconds)
        return trainee

    def _start(self) -> StateDict | None:
        """The weights that the network begins with; None if it begins with its own, or has begun."""
        source = self.own.train.init_from
        return None if source is None or self.run.folder.trained else network_weights(source)

    def _codec(self) -> Codec | None:
        """The codec of the run, on its device; None if it is not there yet."""
        if self.own.codec.kind == "identity":
            return Identity(self.feed.medium)
        if not self.run.folder.has_codec:
            return None
        return load_codec(self.run.folder.codec).requires_grad_(False).to(self.run.compute.device)

    def _coming(self) -> Latent:
        """The codec that the recipe takes over, or one of the shape of that which it fits."""
        if self.own.codec.path is not None:
            codec, channels = load_codec(self.own.codec.path), self.feed.medium.channels
            if codec.medium.channels != channels:
                raise InputError(f"the codec is for {codec.medium.channels} channels, and the pictures have {channels}")
            return codec
        return Latent(dry_autoencoder(codec_recipe(self.own), self.feed, self.run.folder.within(AUTOENCODER)))

    def _codec_size(self, codec: Latent) -> int:
        weights = sum(parameter.numel() for parameter in codec.parameters())
        within = self.run.folder.within(AUTOENCODER)
        return 4 * weights if self.own.codec.path else disk_needed(weights, [within.checkpoints, within.codec])


class DenoiseTrainee:
    """The network learns to denoise. `conditioner` gives the conditions that the system's own does, perhaps faster."""

    process: Process = Gaussian()

    def __init__(
        self, recipe: DenoiseRecipe, system: System, feed: Feed, conditioner: Conditioner | None = None
    ) -> None:
        self.recipe, self.system, self.feed = recipe, system, feed
        own = recipe.condition.conditioner or recipe.condition
        self.times, self.schedule, self.dropout = recipe.times, recipe.schedule, own.dropout
        self.conditioner = conditioner or system.conditioner
        self.model = system.denoiser
        self.shape = system.codec.shape(system.settings.size)

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, condition: Condition) -> tuple[Any, ...]:
        level = self.schedule(t)
        return self.process.corrupt(x_0, level, noise), level, condition

    def loss(self, outputs: Any, x_0: Tensor, condition: Condition) -> Tensor:
        return self.recipe.loss(outputs, x_0, self.schedule)

    def artefact(self, network: nn.Module) -> System:
        own = self.system
        return System(own.codec, own.conditioner, own.denoiser.with_network(network), own.settings)

    @property
    def passes(self) -> int:
        own = self.system.settings
        prompts, seeds = self._shown()
        return max(len(prompts), 1) * seeds * own.steps * (1 if own.guidance == 1 else 2)

    def preview(self, artefact: System, stop: Stop = never) -> Preview | None:
        """Samples of each class; or of captions from all over the data, two of each; or of anything. Of data with
        conditioning images, some of these, and beside each two samples that it conditions."""
        prompts, seeds = self._shown()
        places = self._places()
        beside = self.feed.concat(places, torch.zeros_like(places))
        condition = None if beside is None else Condition(concat=beside.repeat_interleave(seeds, 0))
        drawn: list[Samples] = []
        for frame in artefact.stream(prompts or None, seeds=range(seeds), condition=condition):
            if stop():
                return None
            if frame.samples is not None:
                drawn.append(frame.samples)
        samples = Samples.concat(drawn)
        record = samples.records[0] | {"captions": [prompt for prompt in prompts if prompt is not None]}
        if beside is None:
            return samples.preview(captions=True), record
        images = artefact.codec.decode(beside.to(artefact.device)).cpu()
        rows = torch.cat([images[:, None], samples.data.unflatten(0, (-1, seeds))], 1).flatten(0, 1)
        names = [self.feed.dataset.names[i] if p is None else str(p) for i, p in zip(places, prompts, strict=True)]
        return samples.medium.preview(rows, captions=[name for name in names for _ in range(1 + seeds)]), record

    def _shown(self) -> tuple[list[Prompt], int]:
        """The prompts of a preview, and how many samples of each; no prompts where anything is drawn."""
        if self.feed.dataset.conditioning is not None:
            return self._prompts(), 2
        if classes := self._classes():
            return list[Prompt](classes), max(min(8, _MOST_SHOWN // len(classes)), 1)
        captions = list[Prompt](dict.fromkeys(prompt for prompt in self._prompts() if prompt is not None))
        return captions, 2 if captions else _MOST_SHOWN // 4

    def _classes(self) -> list[str]:
        return [*getattr(self.system.conditioner, "classes", ())][:_MOST_SHOWN]

    def _prompts(self) -> list[Prompt]:
        """The prompts of some data: captions, or the names of classes."""
        prompts = (self.feed.prompt(i, 0, 0.0) for i in self._places().tolist())
        return [self.feed.dataset.classes[prompt] if isinstance(prompt, int) else prompt for prompt in prompts]

    def _places(self) -> Tensor:
        """The numbers of some data, from all over them."""
        n = len(self.feed.dataset)
        most = min(n, _MOST_CAPTIONS)
        return torch.arange(most) * n // most


def codec_recipe(recipe: DenoiseRecipe) -> AutoencodeRecipe:
    """The recipe of the stage that fits the codec, on the run's own data."""
    from sfumato.train.recipe import check_recipe, load_recipe  # which knows all tasks

    if fixed := [setting for setting in recipe.codec.settings if setting.startswith("data.")]:
        raise InputError(f"codec.settings cannot set {fixed[0]}: the codec is fitted on the run's own data")
    own = load_recipe(recipe.codec.fit, recipe.codec.settings)
    if not isinstance(own, AutoencodeRecipe):
        raise InputError(f"codec.fit names the recipe {recipe.codec.fit}, whose task is {own.task}, not autoencode")
    changed: dict[str, Any] = {"data": recipe.data.model_dump(mode="json")}
    if recipe.codec.init_from is not None:
        changed["codec"] = own.codec.model_dump(mode="json") | {"init_from": recipe.codec.init_from}
    read = check_recipe(own.dump() | changed)
    assert isinstance(read, AutoencodeRecipe)
    return read
