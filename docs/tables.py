"""The tables of the recipe page, made from the code, so that they cannot fall behind it."""

import inspect
import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from sfumato import errors, parts
from sfumato.errors import SfumatoError
from sfumato.foreign.samplers import NOT_HERE, SAMPLER_NAMES, SPACING_NAMES, SPACINGS_NOT_HERE, KnownMethod
from sfumato.foreign.words import DRAWING_WORDS
from sfumato.nn.image.autoencoder import KLAutoencoder
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.unet import UNet
from sfumato.sample.facts import FACTS, TOKEN_FACTS, Facts
from sfumato.train.base_recipe import Recipe
from sfumato.train.data_recipe import AudioData, LayoutData
from sfumato.train.ema import AVERAGES
from sfumato.train.recipe import recipe_names
from sfumato.train.tasks import TASKS

MEANING = {
    "data.medium": "what the data are; each medium has a table [data] of its own",
    "data.size": "width and height; the pictures' own, if they share one, when left out",
    "data.channels": "1 for grayscale, 3 for colour; grayscale if every picture is, when left out",
    "data.fit": "how another aspect is met: `crop`, `pad` or `stretch`",
    "data.background": "the colour behind transparent pictures and around padded ones",
    "data.store": "where decoded data lie: in `memory`, in a mapped file (`map`), or nowhere (`source`: read anew);"
    " `auto` takes the first that has room",
    "data.flip": "show each picture mirrored half of the time",
    "data.backgrounds": "colours, by CSS name, that transparent pictures are also seen before; captions say which",
    "sounds.medium": "`audio`: the data are sounds",
    "sounds.store": "as for pictures",
    "sounds.rate": "samples a second; sounds of another rate are resampled",
    "sounds.channels": "1, or as many as are kept; others are mixed",
    "sounds.seconds": "how much of each sound is taken: its beginning, and silence after its end",
    "sounds.samples": "the same in samples; the sounds' own length, if they share one, when both are left out",
    "sounds.gain": "`own`, or `peak`: the loudest sample of each is ±1",
    "sounds.invert": "show each sound with the other polarity half of the time",
    "layouts.medium": "`layout`: the data are layouts, what stands where in pictures",
    "layouts.store": "as for pictures",
    "layouts.styles": "the names of the styles, in the order of the layouts' numbers",
    "layouts.things": "how many things a layout has room for",
    "codec.kind": "`identity`: the data themselves, or `latent`: those of an autoencoder",
    "codec.fit": "the recipe that fits the autoencoder, on the same pictures, before all else",
    "codec.settings": "what is laid over that recipe, as with `--set`",
    "codec.time_share": "its share of the `--minutes`",
    "codec.path": "the folder of a codec, or of a run with one, or the name of a system that ships: taken in its place;"
    " where an autoencoder is fitted: the one whose decoder alone is trained on",
    "codec.init_from": "a codec whose weights it begins with, as far as they fit; all learn on: a folder, or the name"
    " of a system that ships",
    "reconstruction.noise": "what is decoded has noise of up to so many of the latents' standard deviations",
    "reconstruction.edges": "the weight of the error of differences between neighbours",
    "reconstruction.tones": "the weight of the error of the means of 8×8 squares",
    "reconstruction.penalty": "the weight of what latents cost: a divergence (`kl`), the distance to the codes (`vq`)",
    "reconstruction.perceptual": "the weight of the distance in the features of a network that sees",
    "reconstruction.features": "the file of that network (a MobileNet as `.npz`)",
    "reconstruction.adversarial": "the weight of the generator loss, by a discriminator of patches trained alongside",
    "autoencoder.latent": "channels of the latents",
    "autoencoder.width": "channels at the first level",
    "autoencoder.multipliers": "one number a level, times `width`; each level after the first works at half the size",
    "autoencoder.blocks": "residual blocks a level on the way in; one more on the way out",
    "autoencoder.attention": "attention in the middle",
    "autoencoder.patch": "the side of the square of pixels that is one place of the first level: 4 saves most work",
    "autoencoder.groups": "groups of each normalisation; by the width when left out",
    "autoencoder.attend": "the levels with self-attention, counted from 0, besides the middle",
    "autoencoder.quant": "a last layer of the encoder, of one place, as in Stable Diffusion",
    "autoencoder.post_quant": "the same as a first layer of the decoder",
    "condition.kind": "`labels`, `nothing`, `text`, `learned`, or `auto`: labels if there are two classes or more",
    "condition.encoder": "what reads the captions",
    "condition.length": "the most tokens that are read",
    "condition.vocabulary": "`learned`: the most tokens that captions are taken apart into",
    "condition.width": "`learned`: numbers a token",
    "condition.layers": "`learned`: layers of the transformer that reads",
    "condition.heads": "`learned`: its attention heads",
    "condition.image": "whether the network sees, beside each sample, the conditioning image that the data have of it",
    "condition.layout": "places a side of what dense layers draw of the condition at once; 0: nothing is drawn",
    "condition.dropout": "the share of samples without their condition, below 1; guidance needs some",
    "condition.conditioner": "a conditioner of any kind, with its own settings, in the place of all these",
    "network.width": "channels at the first level: size, speed and quality hang on it most",
    "network.multipliers": "one number a level, times `width`; each level after the first works at half the size",
    "network.blocks": "residual blocks a level",
    "network.attention": "the levels with self-attention, counted from 0",
    "network.head_width": "channels an attention head; one head when left out",
    "network.dropout": "the share of activations that training drops",
    "network.scale_shift": "time scales and shifts the activations (ADM), instead of being added to them (DDPM)",
    "network.resample": "`plain`, or `residual`: sizes change inside residual blocks (ADM)",
    "network.patch": "the side of the square of pixels that is one place of the network: 2 is a quarter of the work",
    "network.stem": "channels of the first convolution, where they are not those of the first level",
    "network.groups": "groups of each normalisation; by the width when left out",
    "network.eps": "what normalisations add to the variance",
    "network.heads": "how many attention heads each level has, in place of `head_width`",
    "network.depth": "blocks of a transformer at each level, as in Stable Diffusion; plain attention when left out",
    "network.projection": "how those begin and end: `linear`, or `convolution` of one place",
    "network.padding": "where halving pads: on `both` sides, or at the `end`",
    "network.bottom": "at the lowest level: `attention`, `bare attention` (no norm), `residual` blocks, or `none`",
    "network.cosine_first": "cosines before sines in the embedding of time",
    "network.frequency_shift": "1: the last of its frequencies is 1/10,000 of the first; 0: the one after it would be",
    "network.vector_mlp": "a perceptron of two layers takes the condition's vector in, not one linear layer",
    "network.onto_concat": "what comes out is laid onto the conditioning image: the network learns what that lacks",
    "network.time_scale": "what times are multiplied by before they are embedded; 1000 for times in [0, 1]",
    "dit.width": "numbers a place: size, speed and quality hang on it most",
    "dit.depth": "blocks",
    "dit.head_width": "channels an attention head; must divide `width`",
    "dit.patch": "the side of the square of the sample that is one place: 1 is four times the work of 2, or more",
    "dit.mlp": "hidden units of the perceptrons, as a multiple of `width`",
    "dit.dropout": "the share of those hidden units that training drops",
    "dit.time_scale": "what times are multiplied by before they are embedded; 1000 for times in [0, 1]",
    "dit.modulation": "`shared`: one layer sets the norms of all blocks (PixArt-α); `block`: each has its own (DiT)",
    "dit.qk_norm": "whether queries and keys are normalised (Stable Diffusion 3)",
    "dit.null": "whether the empty prompt has a vector of its own, as in DiT",
    "dit.base_size": "the side that positions are counted on; none when left out",
    "dit.mlp_eps": "what the norm before a perceptron adds to the variance",
    "dit.frequency_shift": "0: frequencies of time as DiT was trained with; 1: as diffusers draws from it",
    "optimizer.learning_rate": "of AdamW, once warmed up",
    "optimizer.betas": "how long AdamW remembers gradients and their squares",
    "optimizer.weight_decay": "AdamW's pull of the weights towards zero",
    "optimizer.decay": "after so many steps the rate falls, as one over the square root of the steps; never, if 0",
    "optimizer.warmup": "steps over which the rate rises to `learning_rate`",
    "optimizer.clip": "the norm that the gradient of a step is held to",
    "train.batch": "pictures a step",
    "train.accumulate": "parts that a batch is worked through in: less memory, the same result",
    "train.steps": "steps in all, unless `--steps`, `--images` or `--minutes` says otherwise; 0: a closed form alone",
    "train.seed": "decides every draw: weights, order, times, noise",
    "train.init_from": "a system whose weights the network begins with, as far as they fit; all learn on: a folder,"
    " or the name of one that ships",
    "train.save_minutes": "how often a checkpoint and the system are saved",
    "train.show_minutes": "how often a sheet of samples is drawn",
    "settings.sampler": "how the finished system draws, unless a call asks for something else",
    "settings.spacing": "which times it visits",
    "settings.steps": "in how many steps",
    "settings.guidance": "the scale of classifier-free guidance; 1 is off",
    "settings.interval": "the two sigma/alpha between which it guides; everywhere when left out",
    "settings.rescale": "how far the contrast that guidance adds is taken back: 0 not at all, 1 wholly",
}
KINDS = {
    "schedule": parts.SCHEDULES,
    "encoder": parts.TEXT_ENCODERS,
    "parameterization": parts.PARAMETERIZATIONS,
    "loss": parts.LOSSES,
    "weight": parts.WEIGHTS,
    "times": parts.TIMES,
    "average": AVERAGES,
    "sampler": parts.SAMPLERS,
    "spacing": parts.SPACINGS,
}
SOLVERS = ("sampler", "order", "evaluations a step", "stochastic", "from pure noise", "source")
NETWORKS = {"network": UNet, "dit": DiT, "autoencoder": KLAutoencoder}
GIVEN = {"in_channels", "out_channels", "vector", "context", "concat"}
"""The arguments of a network that follow from the data, and are never in a recipe."""


def write_all(folder: Path) -> None:
    """Write every table into `folder`, as NAME.md."""
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {key: value for task in TASKS.values() for key, value in task.recipe().dump().items()}
    defaults |= TASKS["denoise"].recipe().dump()
    defaults |= {"sounds": AudioData().model_dump(mode="json"), "layouts": LayoutData().model_dump(mode="json")}
    for table, network in NETWORKS.items():
        arguments = inspect.signature(network).parameters.values()
        defaults[table] = {one.name: one.default for one in arguments if one.name not in GIVEN}
    for table in (
        "data",
        "sounds",
        "layouts",
        "codec",
        "reconstruction",
        "condition",
        *NETWORKS,
        "optimizer",
        "train",
        "settings",
    ):
        rows = [(f"`{key}`", _code(value), MEANING[f"{table}.{key}"]) for key, value in defaults[table].items()]
        _write(folder / f"{table}.md", ("key", "default", "meaning"), rows)
    if unknown := [key for key in MEANING if key.partition(".")[2] not in defaults[key.partition(".")[0]]]:
        raise KeyError(f"docs/tables.py explains keys that a recipe no longer has: {', '.join(unknown)}")
    for part, kinds in KINDS.items():
        _write(
            folder / f"{part}.md", ("kind", "settings", "what it is"), [_kind(*item) for item in kinds.kinds.items()]
        )
    _write(folder / "solvers.md", SOLVERS, [_solver(*item) for item in (FACTS | TOKEN_FACTS).items()])
    count = f"Sfumato has {len(parts.SAMPLERS.kinds)} samplers; these are {len(FACTS | TOKEN_FACTS)} settings of them."
    (folder / "solvers.md").write_text(f"{count}\n\n{(folder / 'solvers.md').read_text(encoding='utf-8')}")
    recipes = [
        (f"`{name}`", tomllib.loads((files("sfumato.recipes") / f"{name}.toml").read_text())) for name in recipe_names()
    ]
    _write_foreign(folder)
    _write(folder / "tasks.md", ("task", "leaves", "reads, besides those of every task"), [*map(_task, TASKS)])
    _write(folder / "exit-codes.md", ("code", "meaning", "in Python"), _exit_codes())
    _write(folder / "recipes.md", ("recipe", "about"), [(name, data.get("about", "")) for name, data in recipes])


def _write_foreign(folder: Path) -> None:
    """What other tools call arguments, samplers and spacings."""
    accepted = [word for word in DRAWING_WORDS.values() if word.here]
    rows = [(f"`{word.name}`", word.tool, f"`{word.here}`".replace(" or ", "` or `")) for word in accepted]
    _write(folder / "foreign-arguments.md", ("there", "in", "here"), rows)
    refused = [word for word in DRAWING_WORDS.values() if not word.here]
    rows = [(f"`{word.name}`", word.tool, word.instead.format(value="…")) for word in refused]
    _write(folder / "foreign-refused.md", ("there", "in", "here"), rows)
    columns = ("here", "k-diffusion, ComfyUI", "A1111", "diffusers", "InvokeAI and others", "the same")
    for name, known in (("samplers", SAMPLER_NAMES), ("spacings", SPACING_NAMES)):
        _write(folder / f"foreign-{name}.md", columns, [_foreign_method(method) for method in known])
    nearest = [(f"`{name}`", f"`{here}`") for name, here in NOT_HERE.items()]
    _write(folder / "foreign-samplers-not-here.md", ("there", "the nearest here"), nearest)
    _write(
        folder / "foreign-spacings-not-here.md",
        ("there", "here"),
        [(f"`{n}`", h) for n, h in SPACINGS_NOT_HERE.items()],
    )


def _foreign_method(known: KnownMethod) -> tuple[str, ...]:
    """A sampler or spacing by its names; what of it is the same."""
    names = (known.k_diffusion, known.a1111, known.diffusers, known.others)
    same = "; ".join(part for part in ("to rounding" if known.same else "the method", known.note) if part)
    return f"`{known.here}`", *(", ".join(f"`{name}`" for name in one) for one in names), same


EXIT_CODES = {
    0: "done",
    1: "nobody foresaw it: the traceback says where; please report it",
    2: "it was asked for wrongly: an option, a recipe, a prompt, a run that cannot go on so",
    3: "data, or a file or folder, are damaged or foreign",
    4: "a file, a model or a data set is not there, or the network cannot be reached",
    5: "memory or the disk do not suffice",
    6: "a number was not finite; what was reached before it is kept",
}


def _exit_codes() -> list[tuple[str, str, str]]:
    """What the command line exits with, and the errors of each code."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SfumatoError)]
    names: dict[int, list[str]] = {code: [] for code in EXIT_CODES}
    for kind in kinds:
        if kind not in (SfumatoError, errors.Stopped):
            names[kind.code].append(f"`{kind.__name__}`")
    rows = [(str(code), meaning, ", ".join(names[code])) for code, meaning in EXIT_CODES.items()]
    return [*rows, ("128 + n", "a signal of number n: 130 by Ctrl-C, 143 by SIGTERM; all is saved", "`Stopped`")]


def _task(name: str) -> tuple[str, str, str]:
    """The folder that a task leaves behind, and the tables that not every task reads."""
    tables = [key for key in TASKS[name].recipe.model_fields if key == "network" or key not in Recipe.model_fields]
    return f"`{name}`", f"`{TASKS[name].leaves}/`", ", ".join(f"`{key}`" for key in tables)


def _kind(name: str, kind: type) -> tuple[str, str, str]:
    """One kind of a part: its settings with their defaults, and the first sentence of its docstring."""
    settings = [
        f"`{key}`" if parameter.default is parameter.empty else f"`{key} = {_spelled(parameter.default)}`"
        for key, parameter in inspect.signature(kind).parameters.items()
    ]
    first = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    return f"`{name}`", ", ".join(settings) or "none", first.replace("|", r"\|")


def _solver(spelled: str, facts: Facts) -> tuple[str, ...]:
    """What is known of one sampler."""
    parts.SAMPLERS.parse(spelled)
    order = "—" if facts.order is None else str(facts.order)
    order += f", from a cold start {facts.cold}" * (facts.cold is not None)
    evaluations = f"{facts.evaluations}" + {-1: ", once in the last", 0: "", 1: ", once more in all"}[facts.over]
    yes = {True: "yes", False: "no"}
    return f"`{spelled}`", order, evaluations, yes[facts.stochastic], yes[facts.from_noise], facts.source


def _code(value: Any) -> str:
    """A value as a recipe writes it."""
    return "left out" if value is None else f"`{_spelled(value)}`"


def _spelled(value: Any) -> str:
    """A value in TOML; a part as its kind and settings."""
    for kinds in parts.KINDS.values():
        if isinstance(value, tuple(kinds.kinds.values())):
            value = kinds.dump(value)
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_spelled(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


def _write(path: Path, heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    lines = [heading, ("---",) * len(heading), *rows]
    path.write_text("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", encoding="utf-8")
