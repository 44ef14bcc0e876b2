"""`sfumato generate`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from sfumato import logs
from sfumato.cli import complete

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sfumato.condition import Prompt
    from sfumato.system import Cascade, System

_log = logs.EventLogger(__name__)


class GenerateCommand(TyperCommand):
    """Drawing as a command, which knows what other tools call its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*ctx.help_option_names, *(name for parameter in self.params for name in parameter.opts)}
        if any(arg.startswith("--") and arg.partition("=")[0] not in known for arg in args):
            from sfumato.cli.foreign import own_options

            args = own_options(args, known)
        return super().parse_args(ctx, args)


def generate(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A system that ships; the folder of a system, a run or a checkpoint of diffusers; a name on the"
            " Hub; or a single file.",
            metavar="DIR",
            autocompletion=complete.model_names,
        ),
    ] = "emoji",
    prompt: Annotated[
        str | None, typer.Argument(help="What to draw: a caption or a class; nothing for anything.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="A file with a prompt a line, or with JSON lines of prompt, seed or seeds, negative, size, name …;"
            " - reads standard input.",
            metavar="FILE",
        ),
    ] = None,
    number: Annotated[int, typer.Option("-n", help="How many samples of a prompt.")] = 1,
    seed: Annotated[int, typer.Option(help="The first sample's seed; the others count on from it.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="The seeds, a sample each: 0,1,2 or 0-9.", metavar="SEEDS")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps, from noise to sample.")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="ddim, ddpm, dpm++, unipc, heun …; settings follow: ddim,eta=0.5",
            autocompletion=complete.sampler_names,
        ),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(help="uniform, trailing, karras, logsnr …", autocompletion=complete.spacing_names),
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of classifier-free guidance; 1 is off.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="Guide only between two sigma/alpha, as 0.2,3.", metavar="LOW,HIGH")
    ] = None,
    rescale: Annotated[
        float | None, typer.Option(help="Guidance rescale, against contrast that guidance adds: 0 (off) to 1.")
    ] = None,
    negative: Annotated[str | None, typer.Option(help="A negative prompt, which guidance leads away from.")] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="A picture to inpaint, with --mask, or that conditions what is drawn.", metavar="FILE"),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="White where it is inpainted; transparent is black.", metavar="FILE"),
    ] = None,
    classifier: Annotated[
        Path | None, typer.Option(help="A trained classifier to guide with, towards --class.", metavar="DIR")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="The class that the classifier guides to.", metavar="CLASS")
    ] = None,
    classifier_scale: Annotated[float, typer.Option(help="Scale of the classifier's guidance; 0 is off.")] = 1.0,
    config: Annotated[
        str | None,
        typer.Option(help="Configurations and tokenizers of a single file, where not published.", metavar="DIR"),
    ] = None,
    prediction: Annotated[
        str | None, typer.Option(help="What the network of a single file predicts, where it does not say: eps or v.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Width and height, as 64x64; of a sound, 4.5s.", metavar="WxH")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="An option of one stage of a cascade, as 0.steps=10; the others are of its last.",
            metavar="STAGE.OPTION=VALUE",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The folder for the samples; or a file, as cat.webp.", metavar="DIR|FILE")
    ] = Path("out"),
    format: Annotated[str | None, typer.Option(help="png, jpg or webp; of a sound, wav or flac.")] = None,
    metadata: Annotated[
        str,
        typer.Option(help="What files hold beside: full, source (the mark that a model made them) or none."),
    ] = "full",
    name: Annotated[
        str | None,
        typer.Option(help="Names of the files, by index, seed and prompt: '{index:05}-{seed}'.", metavar="TEMPLATE"),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Go on: leave out what is there with the record it would have.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a sample on standard output.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what is drawn so far: in the terminal if it can, else in a file.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; the best there is if left out.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16; by the machine if left out.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU; torch's own number if left out.")] = None,
) -> None:
    """Draw pictures, sounds or texts. Each file carries what repeats it: see `sfumato inspect`."""
    from contextlib import nullcontext

    from sfumato import launcher, load, machine
    from sfumato.cli.output import Output
    from sfumato.cli.preview import LivePreview
    from sfumato.cli.prompts import Line, read_prompts, read_seeds, seeds_of
    from sfumato.cli.report import Report
    from sfumato.cli.work import Target, draw, own_device, work_of
    from sfumato.disk import check_writable, clear_parts
    from sfumato.errors import InputError
    from sfumato.system.classifier import NoisyClassifier
    from sfumato.system.drawing import Drawing
    from sfumato.system.masked import ConditioningImage, MaskedImage
    from sfumato.system.stages import stage_drawings
    from sfumato.wording import few

    if not 1 <= number <= 100_000:
        raise InputError(f"-n must be from 1 to 100,000, not {number}")
    if prompts is not None and prompt is not None:
        raise InputError("--prompts takes the place of a prompt: give one of them")
    if seeds is not None and (number, seed) != (1, 0):
        raise InputError("--seeds says all seeds: leave -n and --seed out")
    if (classifier is None) != (label is None):
        raise InputError("--classifier and --class go together: give both, or neither")
    if image is None and mask is not None:
        raise InputError("--mask is of an --image: give both, or neither")
    output = Output.read(out, format, name, metadata, skip_existing)
    check_writable(output.folder)
    lines = [Line(prompt)] if prompts is None else read_prompts(prompts)
    listed = None if seeds is None else read_seeds(seeds)
    share = launcher.share()
    machine.use_threads(threads)
    system = load(model, own_device(device, share), precision, config, prediction)
    drawing: Drawing = {
        "size": system.medium.parse_size(size) if size is not None else None,
        "sampler": sampler,
        "spacing": spacing,
        "steps": steps,
        "guidance": guidance,
        "interval": _interval(interval),
        "rescale": rescale,
        "negative": negative,
    }
    if classifier is not None and label is not None:
        drawing["guide"] = NoisyClassifier.load(classifier, device, precision).guide(label, classifier_scale)
    if image is not None:
        drawing["condition"] = ConditioningImage(image) if mask is None else MaskedImage(image, mask)
    if settings:
        drawing["stages"] = stage_drawings(settings, system)
    target = Target(output.folder, system.medium, output.format(system.medium), output.metadata)
    work = work_of(system, lines, lambda line: seeds_of(line, listed, seed, number), drawing, output.template)
    for folder in {(target.folder / one).parent for batch in work for one in batch.names}:
        check_writable(folder)
        clear_parts(folder)
    if share.rank == 0:
        _say_what_is_lost(system, [line.prompt for line in lines], "prompt")
        for text in system.warnings([line.prompt for line in lines]):
            _log.warning(text)
        _say_what_is_lost(system, [negative, *(line.options.get("negative") for line in lines)], "negative prompt")
        _log.info(f"{model}: {system.fingerprint()} on {system.device.type} in {system.precision}")
    own = share.of(work)
    total = sum(len(batch.names) for batch in own)
    with (
        LivePreview(system, output.folder) if preview else nullcontext() as shown,
        Report(total, system.medium.plural, as_json, shown) as report,
    ):
        numbered = draw(own, target, report, skip_existing)
    if report.skipped:
        _log.info(f"{report.skipped:,} of {report.total:,} were there")
    if skip_existing and numbered:
        _log.warning(f"files of other records were there and stay; written beside them: {few([*map(str, numbered)])}")


def _say_what_is_lost(system: "System | Cascade", prompts: "Iterable[Prompt]", name: str) -> None:
    """A note of what is not read of prompts that are too long."""
    from sfumato.wording import shortened

    if lost := [end for prompt in dict.fromkeys(prompts) if (end := system.truncated(prompt))]:
        which, of = (f"the {name} is", "it") if len(lost) == 1 else (f"{len(lost):,} {name}s are", "the first")
        _log.warning(f"{which} too long; of {of}, this is not read: {shortened(lost[0])}")


def _interval(text: str | None) -> tuple[float, float] | None:
    from sfumato.errors import InputError, quoted

    if text is None:
        return None
    try:
        low, high = (float(end) for end in text.split(","))
    except ValueError:
        raise InputError(f"--interval wants LOW,HIGH, as in 0.2,3, not {quoted(text)}") from None
    return low, high
