"""`sfumato generate`"""

from pathlib import Path
from typing import Annotated

import typer

from sfumato import logs

_log = logs.EventLogger(__name__)


def generate(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A system that ships; the folder of a system, a run or a checkpoint of diffusers; a name on the"
            " Hub; or a single file.",
            metavar="DIR",
        ),
    ] = "emoji",
    prompt: Annotated[
        str | None, typer.Argument(help="What to draw: a caption or a class; nothing for anything.")
    ] = None,
    number: Annotated[int, typer.Option("-n", help="How many samples.")] = 1,
    seed: Annotated[int, typer.Option(help="The first sample's seed; the others count on from it.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Sampling steps, from noise to sample.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="ddim, ddpm, dpm++, unipc, heun …; settings follow: ddim,eta=0.5")
    ] = None,
    spacing: Annotated[str | None, typer.Option(help="uniform, trailing, karras, logsnr …")] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of classifier-free guidance; 1 is off.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="Guide only between two sigma/alpha, as 0.2,3.", metavar="LOW,HIGH")
    ] = None,
    rescale: Annotated[
        float | None, typer.Option(help="Guidance rescale, against contrast that guidance adds: 0 (off) to 1.")
    ] = None,
    negative: Annotated[str | None, typer.Option(help="A negative prompt, which guidance leads away from.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="A picture to inpaint, with --mask; laid over white.", metavar="FILE")
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
        typer.Option("--set", help="An option of one stage of a cascade, as 0.steps=10.", metavar="STAGE.OPTION=VALUE"),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for the samples.", metavar="DIR")] = Path("out"),
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; the best there is if left out.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16; by the machine if left out.")] = None,
) -> None:
    """Draw pictures, sounds or texts. Each file carries what repeats it: see `sfumato inspect`."""
    from sfumato import load
    from sfumato.cli.report import save
    from sfumato.disk import check_writable, clear_parts
    from sfumato.errors import InputError
    from sfumato.system.classifier import NoisyClassifier
    from sfumato.system.drawing import Drawing
    from sfumato.system.masked import MaskedImage
    from sfumato.system.stages import stage_drawings
    from sfumato.wording import shortened

    if not 1 <= number <= 100_000:
        raise InputError(f"-n must be from 1 to 100,000, not {number}")
    check_writable(out)
    clear_parts(out)
    for one, other, names in ((classifier, label, "--classifier and --class"), (image, mask, "--image and --mask")):
        if (one is None) != (other is None):
            raise InputError(f"{names} go together: give both, or neither")
    system = load(model, device, precision, config, prediction)
    drawing: Drawing = {
        "seeds": range(seed, seed + number),
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
    if image is not None and mask is not None:
        drawing["condition"] = MaskedImage(image, mask)
    if settings:
        drawing["stages"] = stage_drawings(settings, system)
    frames = system.stream(prompt, **drawing)
    for name, text in (("prompt", prompt), ("negative prompt", negative)):
        if lost := system.truncated(text):
            _log.warning(f"the {name} is too long; of it, this is not read: {shortened(lost)}")
    _log.info(f"{model}: {system.fingerprint()} on {system.device.type} in {system.precision}")
    save(frames, out)


def _interval(text: str | None) -> tuple[float, float] | None:
    from sfumato.errors import InputError, quoted

    if text is None:
        return None
    try:
        low, high = (float(end) for end in text.split(","))
    except ValueError:
        raise InputError(f"--interval wants LOW,HIGH, as in 0.2,3, not {quoted(text)}") from None
    return low, high
