"""`sfumato export`"""

from pathlib import Path
from typing import Annotated

import typer

from sfumato import logs
from sfumato.cli import complete

_log = logs.EventLogger(__name__)
_LAYOUTS = ("sfumato", "diffusers")


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="The folder of a system, a cascade, a run or a checkpoint of diffusers.",
            autocompletion=complete.model_names,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder for the copy.", metavar="DIR")],
    to: Annotated[str, typer.Option(help="Whose layout: sfumato or diffusers.")] = "sfumato",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16, which takes half the space.")] = "float32",
    codec: Annotated[
        str | None,
        typer.Option(help="A codec that was trained on from the system's own.", metavar="DIR"),
    ] = None,
    megabytes: Annotated[int, typer.Option(help="The most that a shard (one file of weights) may hold, in MB.")] = 4096,
) -> None:
    """Write a system to a folder of its own. It can be shared, shipped, or opened by diffusers."""
    from sfumato import library
    from sfumato.disk import check_writable, in_use, replacing_folder
    from sfumato.errors import InputError, nearest, quoted
    from sfumato.system import System
    from sfumato.system.file import SYSTEM_FORMAT
    from sfumato.system.format2 import convert, find_format2
    from sfumato.wording import one_line

    if to not in _LAYOUTS:
        raise InputError(f"--to cannot be {quoted(to)}; {nearest(to, _LAYOUTS)}")
    if megabytes < 1:
        raise InputError(f"--megabytes must be at least 1, not {megabytes}")
    if in_use(out):
        raise InputError(f"{out} is not empty: choose a new folder with --out")
    check_writable(out)
    if (old := find_format2(model)) is not None:
        if to != "sfumato" or codec is not None:
            raise InputError(f"{old.parent} is in format 2: write it in today's first, with --out alone")
        convert(old, out)
        print(one_line(f"{out}: {old.stem} of format 2 in format {SYSTEM_FORMAT}, its weights as they were"))
        return
    if codec is not None:
        system = library.with_codec(library.load_system(model, "cpu", "float32"), codec).to("cpu", precision)
    else:
        system = library.load(model, "cpu", precision)
    notes: tuple[str, ...] = ()
    if to == "diffusers":
        from sfumato.interop.diffusers.write import write_checkpoint  # much to import, for those alone who need it

        if not isinstance(system, System):
            raise InputError(f"{model} is a cascade, of which diffusers knows no folder: export a stage of it")
        notes = write_checkpoint(system, out, megabytes * 10**6)
    else:
        with replacing_folder(out) as folder:
            system.save(folder, shard=megabytes * 10**6)
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    print(one_line(f"{out}: {size / 1e6:.1f} MB in {precision}"))
    for note in notes:
        _log.warning(note)
