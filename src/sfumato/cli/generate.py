"""`sfumato generate`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import System


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
    prompt: Annotated[str | None, typer.Argument(help="What to draw; nothing for anything.")] = None,
    number: Annotated[int, typer.Option("-n", help="How many pictures.")] = 1,
    seed: Annotated[int, typer.Option(help="The first picture's seed; the others count on from it.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Moves from noise to picture.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="ddim, ddpm, dpm++, unipc, heun …; settings follow: ddim,eta=0.5")
    ] = None,
    spacing: Annotated[str | None, typer.Option(help="uniform, trailing, karras, logsnr …")] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of classifier-free guidance; 1 is off.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="Guide only between two sigma/alpha, as 0.2,3.", metavar="LOW,HIGH")
    ] = None,
    rescale: Annotated[float | None, typer.Option(help="Take back contrast that guidance adds: 0 to 1.")] = None,
    negative: Annotated[str | None, typer.Option(help="A prompt to lead away from, by guidance.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture to paint within, with --mask.", metavar="FILE")] = None,
    mask: Annotated[Path | None, typer.Option(help="White where there is to be something new.", metavar="FILE")] = None,
    classifier: Annotated[
        Path | None, typer.Option(help="A trained classifier to guide with, towards --toward.", metavar="DIR")
    ] = None,
    toward: Annotated[
        str | None, typer.Option(help="The class that the classifier guides to.", metavar="CLASS")
    ] = None,
    push: Annotated[float, typer.Option(help="Scale of the classifier's guidance; 0 is off.")] = 1.0,
    prediction: Annotated[
        str | None, typer.Option(help="What the network of a single file gives, where it does not say: eps or v.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Width and height, as 64x64.", metavar="WxH")] = None,
    out: Annotated[Path, typer.Option(help="The folder for the pictures.", metavar="DIR")] = Path("out"),
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; the best there is if left out.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16; by the machine if left out.")] = None,
) -> None:
    """Draw pictures. Each file carries what repeats it: see `sfumato inspect`."""
    from rich.console import Console
    from rich.progress import Progress

    from sfumato import load
    from sfumato.disk import check_writable, clear_parts
    from sfumato.errors import InputError
    from sfumato.wording import is_live, shortened

    if not 1 <= number <= 100_000:
        raise InputError(f"-n must be from 1 to 100,000, not {number}")
    check_writable(out)
    clear_parts(out)
    if (classifier is None) != (toward is None):
        raise InputError("--classifier and --toward go together: the classifier's folder, and the class to draw")
    system = load(model, device, precision, prediction=prediction)
    guide = None
    if classifier is not None and toward is not None:
        from sfumato.classifier import NoisyClassifier

        guide = NoisyClassifier.load(classifier, device, precision).toward(toward, push)
    if (image is None) != (mask is None):
        raise InputError("--image and --mask go together: the picture, and white where there is to be something new")
    beside = None
    if image is not None and mask is not None:
        beside = _within(system, image, mask, _size(size) or system.settings.size)
    frames = system.stream(
        prompt,
        seeds=range(seed, seed + number),
        steps=steps,
        sampler=sampler,
        spacing=spacing,
        guidance=guidance,
        interval=_interval(interval),
        rescale=rescale,
        negative=negative,
        beside=beside,
        guide=guide,
        size=_size(size),
    )
    console = Console(stderr=True)
    kind = str(next(system.denoiser.parameters()).dtype).removeprefix("torch.")
    for name, text in (("prompt", prompt), ("negative prompt", negative)):
        if lost := system.unread(text):
            console.print(f"note: the {name} is too long; of it, this is not read: {shortened(lost)}", highlight=False)
    console.print(f"{model}: {system.fingerprint()} on {system.device.type} in {kind}", highlight=False)
    with Progress(console=console, transient=True, disable=not is_live(console)) as bar:
        task = bar.add_task("drawing")
        for frame in frames:
            bar.update(task, total=frame.total, completed=frame.done)
            if frame.samples is not None:
                for path in frame.samples.save(out):
                    print(path)


def _within(system: "System", image: Path, mask: Path, size: tuple[int, int]) -> "Tensor":
    """What a network that paints within a picture sees of it; a network that does not is a `ShapeError` later on."""
    import torch

    from sfumato.codec import Latent
    from sfumato.data.decode import decode
    from sfumato.data.transform import to_array
    from sfumato.errors import DataError, InputError

    def read(path: Path, channels: int) -> "Tensor":
        if not path.is_file():
            raise DataError(f"there is no picture {path}")
        array = to_array(decode(path.read_bytes(), str(path)), size=size, channels=channels)
        return torch.from_numpy(array).float() / 255

    if not isinstance(system.codec, Latent):
        raise InputError("this system does not paint within pictures: leave --image and --mask out")
    return system.codec.within(read(image, system.codec.colours) * 2 - 1, read(mask, 1)[0])


def _size(text: str | None) -> tuple[int, int] | None:
    from sfumato.errors import InputError

    if text is None:
        return None
    width, cross, height = text.lower().replace("×", "x").partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size wants WIDTHxHEIGHT, as in 64x64, not '{text}'")
    return int(width), int(height)


def _interval(text: str | None) -> tuple[float, float] | None:
    from sfumato.errors import InputError

    if text is None:
        return None
    try:
        low, high = (float(end) for end in text.split(","))
    except ValueError:
        raise InputError(f"--interval wants LOW,HIGH, as in 0.2,3, not '{text}'") from None
    return low, high
