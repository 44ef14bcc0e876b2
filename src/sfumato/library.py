"""Finding a system by what people call it."""

from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from sfumato import files, machine
from sfumato.codec import Latent
from sfumato.condition.clip.single_file import is_single
from sfumato.core.defaults import torch_defaults
from sfumato.errors import FormatError, InputError, NotFoundError, nearest
from sfumato.interop.diffusers.folder import is_checkpoint, is_hub_name
from sfumato.parts import AUTOENCODERS, CODECS
from sfumato.store import PICKLED, pickle_refusal
from sfumato.system import Cascade, System
from sfumato.system import file as system_file
from sfumato.system.cascade import CASCADE_FILE, last_stage


@torch_defaults()
def load(
    where: str | Path,
    device: str | None = None,
    precision: str | None = None,
    config: str | Path | None = None,
    prediction: str | None = None,
) -> System | Cascade:
    """The system of that name that ships, or in the folder `where`: one of ours, that of a training run, or one of
    diffusers, which may also be the name of a repository on the Hub; or in a single file of Stable Diffusion, whose
    `config` and `prediction` may be given: see `interop/single_file/open.py`.

    Device and precision are the best that the machine has, unless given: see `System.to`.
    """
    with machine.memory_errors(f"{where} does not fit the memory: give precision='bfloat16', or close other programs"):
        system = _opened(where, device, precision, config, prediction)
    given = {"model": str(where), "config": config and str(config), "prediction": prediction}
    system.opened = {name: value for name, value in given.items() if value is not None}
    return system


@files.readable("what is opened")  # a closed folder is an error wherever it is first looked into
def _opened(
    where: str | Path, device: str | None, precision: str | None, config: str | Path | None, prediction: str | None
) -> System | Cascade:
    refuse_pickle(Path(where))
    if is_single(where):
        from sfumato.interop.diffusers.open import open_checkpoint
        from sfumato.interop.single_file.open import read_single_file

        return open_checkpoint(read_single_file(where, config, prediction), device, precision)
    if config is not None or prediction is not None:
        raise InputError(f"config and prediction are for a single .safetensors file, and {where} is none")
    if is_checkpoint(Path(where)) or (where not in shipped() and is_hub_name(where)):
        from sfumato.interop.diffusers.open import open_folder  # much to import, for those alone who need it

        return open_folder(where, device, precision)
    found = find_system(where)
    kind = Cascade if (found / CASCADE_FILE).is_file() else System
    return kind.load(found, device, precision)


def load_codec(where: str | Path) -> Latent:
    """The codec in a folder, or in that of a run or of a system, or of the system of that name that ships; it must be
    one of latents. Of a cascade it is that of its last stage."""
    return open_codec(where)[0]


def open_codec(where: str | Path) -> tuple[Latent, dict[str, Any]]:
    """The codec of `load_codec`, and its `about`."""
    folder = last_stage(find_system(where) if where in shipped() else codec_folder(Path(where)))
    if (folder / system_file.SYSTEM_FILE).is_file():
        _, found, _ = system_file.read_system(folder)
        about: dict[str, Any] = {"from": str(where)}
    else:
        found, about = system_file.read_codec(folder)
    if not isinstance(found, Latent):
        raise FormatError(f"the codec in {where} is {CODECS.dump(found)['kind']}, not latent")
    return found, about


def codec_folder(where: Path) -> Path:
    """The folder of a codec: `where`, or the one in a run's folder."""
    return where / "codec" if (where / "codec").is_dir() else where


def with_codec(system: System, where: str | Path) -> System:
    """The system, with a codec that was trained on from its own, by a recipe that fits an autoencoder with
    `codec.path`: that which `load_codec` finds at `where`."""
    codec, about = open_codec(where)
    if not isinstance(system.codec, Latent):
        own = system.codec.medium.plural
        raise InputError(f"the system draws {own} as they are: no codec of latents can take over")
    own, theirs = AUTOENCODERS.dump(system.codec.network), AUTOENCODERS.dump(codec.network)
    if own != theirs:
        raise InputError(f"the codec in {where} is of another shape than the system's own")
    system.codec.check_like(codec)
    weight = next(system.codec.parameters())
    codec.to(weight.device, weight.dtype)
    return System(codec, system.conditioner, system.denoiser, system.settings, {**system.about, "codec": about})


def refuse_pickle(path: Path) -> None:
    """Raise a `FormatError` for the name of a pickle, whether or not there is one: nothing is read."""
    if path.suffix.lower() in PICKLED and not path.is_dir():
        raise FormatError(pickle_refusal(path, "StableDiffusionPipeline.from_single_file(FILE)"))


def load_system(where: str | Path, device: str | None = None, precision: str | None = None) -> System:
    """The system that `load` finds; an `InputError` for a cascade of several."""
    system = load(where, device, precision)
    if not isinstance(system, System):
        raise InputError(
            f"{where} is a cascade of {len(system.stages)}, where one system is wanted: give a stage of it"
        )
    return system


def find_system(where: str | Path) -> Path:
    """The folder of a system or a cascade: one that ships, `where` itself, or the `system` inside a run."""
    if where in shipped():  # a Path is a folder's
        return Path(str(resources("sfumato.models"))) / str(where)
    folder = Path(where)
    for place in (folder, folder / "system"):
        if any((place / name).is_file() for name in (system_file.SYSTEM_FILE, CASCADE_FILE)):
            return place
    if not folder.exists():
        hint = f", or the name of a system that ships: {nearest(str(where), names)}" if (names := shipped()) else ""
        raise NotFoundError(f"there is no folder {folder}; give one that `sfumato train` made, such as runs/NAME{hint}")
    if (folder / "classifier").is_dir() or (folder / "classifier.json").is_file():
        raise InputError(f"{folder} holds a classifier, which guides and does not draw: give it as --classifier")
    raise InputError(f"{folder} holds no system.json; give the folder of a system, or of a run that has saved one")


def shipped() -> list[str]:
    """The names of the systems that ship."""
    folder = resources("sfumato.models")
    marks = (system_file.SYSTEM_FILE, CASCADE_FILE)
    return sorted(item.name for item in folder.iterdir() if any((item / mark).is_file() for mark in marks))
