"""Where `sfumato generate` writes: a folder, or a file by its ending."""

from dataclasses import dataclass
from pathlib import Path

from sfumato.errors import InputError, quoted
from sfumato.media import Medium
from sfumato.media.metadata import check_keep
from sfumato.media.protocol import Keep
from sfumato.media.record import pick_format
from sfumato.parts import MEDIA


@dataclass(frozen=True)
class Output:
    """What `--out`, `--format`, `--name` and `--metadata` ask for, checked as far as it can be before a system is
    opened. `stem` is the name of the one file that `--out` is; None for a folder."""

    folder: Path
    stem: str | None
    ending: str | None
    name: str | None
    metadata: Keep

    @staticmethod
    def read(out: Path, format: str | None, name: str | None, metadata: str, skip_existing: bool) -> "Output":
        """An `InputError` for what contradicts itself."""
        keep = check_keep(metadata)
        if skip_existing and keep != "full":
            raise InputError("--skip-existing knows samples by their record: leave --metadata at full")
        ending = out.suffix.lower()
        known = any(ending in one.endings or ending[1:] in one.formats for one in MEDIA.kinds.values())
        if not ending or not known or out.is_dir():
            return Output(out, None, format, name, keep)
        if out.suffix != ending:
            raise InputError(f"--out {quoted(str(out))}: write the ending in small letters, as in {out.stem}{ending}")
        if name is not None:
            raise InputError(f"--out {quoted(str(out))} names the file, and so does --name: give one of them")
        if format is not None and f".{format}" != ending:
            raise InputError(f"--out {quoted(str(out))} says the format, and --format another: give one of them")
        return Output(out.parent, out.stem, ending[1:], None, keep)

    def format(self, medium: Medium) -> str:
        """The format of the files; an `InputError` for one that the medium does not have."""
        return pick_format(medium, self.ending)

    def template(self, count: int) -> str | None:
        """The template of the names of so many samples: several have their number in the one name that was given."""
        if self.stem is None:
            return self.name
        stem = self.stem.replace("{", "{{").replace("}", "}}")
        return stem if count == 1 else f"{stem}-{{index}}"
