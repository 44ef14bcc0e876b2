"""The folder of a run: the files that it may hold, and what each of them says of the run's state."""

import json
import re
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sfumato import disk, files
from sfumato.data.store import conditioning_cache
from sfumato.errors import FormatError, NotFoundError
from sfumato.media import Image
from sfumato.system import file as system_file
from sfumato.train import checkpoint, lock

RUN_FILE = "run.json"
_CACHE = "sfumato-pictures.npy"
"""A name that nobody else gives: what a start that was killed leaves under it does not make a folder one in use."""
_LATENTS = "latents-{}.npy"
_CODECS = ("codec", "given")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run at `path`, or of one of its stages, which is a run of its own in a folder within.

    | file                   | holds                                                                                 |
    |------------------------|---------------------------------------------------------------------------------------|
    | `run.json`             | the record: data, recipe, precision and all else that decides the weights              |
    | `tokenizer.json`       | the tokenizer that was fitted to the captions                                          |
    | `captions.safetensors` | what the text encoder makes of every caption                                           |
    | `autoencoder/`         | the stage in which a run fits its codec: a folder as this one                          |
    | `codec/`               | the codec that the run works in; or, of the task autoencode, the one it trains         |
    | `given/`               | a copy of the codec whose decoder alone is trained on                                  |
    | `latents-KEY.npy`      | the latents of the data                                                                |
    | `checkpoints/`         | the newest states to resume from                                                       |
    | `log.jsonl`, `samples/`| the losses, and previews, the newest as `latest.png` too                               |
    | `index.html`           | the page to watch the run by                                                           |
    | `history.json`         | its sittings: when each began, how it ended                                            |
    | `system/`, …           | the artefact: what the run leaves behind, written anew at every save                   |

    Each appears whole or not at all, so a run that ended at any moment, however that was, is in one of these states:

    - *new*: there is no folder, or nothing in it but hidden files and the cache of a start that was killed;
    - *begun* (`begun`): it has its record. Nothing else is written before, and what is there of the files that are made
      before training is not made again;
    - *in a stage*: the folder within has begun, and what the stage makes for this run is not there yet;
    - *training* (`last_step` ≥ 0): there is a checkpoint;
    - *finished* (`finished`): its artefact, and its last preview if the task has previews, are of the last checkpoint.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def within(self, stage: str) -> "RunFolder":
        """The folder of a stage."""
        return RunFolder(self.path / stage)

    # The record -------------------------------------------------------------------------------------------------------

    @property
    def record_file(self) -> Path:
        return self.path / RUN_FILE

    @property
    def begun(self) -> bool:
        return self.record_file.exists()

    @property
    def is_new(self) -> bool:
        """Whether a run may begin here: nothing of anybody's is in the folder."""
        return not disk.in_use(self.path) or (
            self.path.is_dir() and all(path in self.caches or disk.hidden(path.name) for path in self.path.iterdir())
        )

    def read_record(self) -> dict[str, Any] | None:
        """What is on record of the run; None of one that has not begun."""
        return files.read_json(self.record_file) if self.begun else None

    def begin(self, about: dict[str, Any]) -> None:
        """Put a new run on record, before the first of its files; one that has begun keeps its record."""
        if not self.begun:
            self.record(about)

    def record(self, about: dict[str, Any]) -> None:
        """Put the run on record, in the place of what was."""
        files.write_json(self.record_file, about)

    # What is made before training -------------------------------------------------------------------------------------

    @property
    def cache(self) -> Path:
        """The file of data that does not fit the memory."""
        return self.path / _CACHE

    @property
    def caches(self) -> tuple[Path, Path]:
        """That, and the one of the pictures that they are conditioned on."""
        return self.cache, conditioning_cache(self.cache)

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def captions(self) -> Path:
        return self.path / "captions.safetensors"

    @property
    def codec(self) -> Path:
        return self.path / "codec"

    @property
    def given(self) -> Path:
        return self.path / "given"

    @property
    def has_codec(self) -> bool:
        return (self.codec / system_file.CODEC_FILE).exists()

    @property
    def has_given(self) -> bool:
        return (self.given / system_file.CODEC_FILE).exists()

    def latents(self, key: str) -> Path:
        """The file of the latents that `key`, a hash of all that decides them, stands for."""
        return self.path / _LATENTS.format(key[:12])

    def read_tokenizer(self) -> str | None:
        """The tokenizer that was fitted to the run's captions; None if there is none yet."""
        if not self.tokenizer.exists():
            return None
        files.read_json(self.tokenizer)  # an error that names the file
        return self.tokenizer.read_text(encoding="utf-8")

    def prepared_size(self) -> int:
        """The bytes of captions and latents."""
        return sum(path.stat().st_size for path in (self.captions, *self._all_latents()) if path.exists())

    def digests(self, known: dict[str, str] | None = None) -> dict[str, str]:
        """Hashes of what was made before training, by the names of the files, as far as it is there; those that are
        `known` are not computed again."""
        known = known or {}
        codecs = [self.path / name for name in _CODECS if (self.path / name / system_file.CODEC_FILE).exists()]
        others = [path for path in (self.tokenizer, *self._all_latents()) if path.is_file()]
        return {path.name: _codec_digest(path) for path in codecs} | {
            path.name: known.get(path.name) or files.sha256(path) for path in others
        }

    def _all_latents(self) -> list[Path]:
        return sorted(self.path.glob(_LATENTS.format("*")))

    # Training ---------------------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path | None:
        return next(reversed(checkpoint.find_checkpoints(self.checkpoints)), None)

    @property
    def last_step(self) -> int:
        """The step of the last checkpoint; −1 without any."""
        return checkpoint.last_step(self.checkpoints)

    @property
    def trained(self) -> bool:
        """Whether training has got as far as a checkpoint, which then holds what the network began with."""
        return self.last_step >= 0

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    def preview(self, step: int) -> Path:
        return self.samples / f"step-{step:09d}.png"

    def preview_steps(self) -> list[int]:
        """The steps that there is a preview of."""
        found = (re.fullmatch(r"step-(\d{9,18})\.png", path.name, re.ASCII) for path in self.samples.glob("step-*.png"))
        return sorted(int(match[1]) for match in found if match)

    @property
    def latest_preview(self) -> Path:
        """A copy of the newest preview, under a name that stays."""
        return self.samples / "latest.png"

    def keep_latest(self, preview: bytes) -> None:
        """Make a preview the latest one; a file of that name which is somebody else's stays."""
        if self.latest_preview.exists():
            try:
                Image.read_record(self.latest_preview)
            except FormatError:
                return
        files.write_bytes(self.latest_preview, preview)

    @property
    def page(self) -> Path:
        return self.path / "index.html"

    @property
    def history(self) -> Path:
        return self.path / "history.json"

    def stage_pages(self) -> list[str]:
        """The folders of the stages that have a page."""
        inner = (RunFolder(path) for path in sorted(self.path.iterdir()) if path.is_dir())
        return [one.path.name for one in inner if one.begun and one.page.exists()]

    def artefact(self, name: str) -> Path:
        return self.path / name

    def finished(self, artefact: str, previews: bool) -> bool:
        """Whether the run has left behind all that it was to, at its last step."""
        step = self.last_step
        try:
            steps = system_file.read_spec(self.artefact(artefact), f"{artefact}.json")["about"]["steps"]
        except (FormatError, NotFoundError, KeyError, TypeError):
            return False
        return steps == step and (not previews or self.preview(step).exists())

    # One training at a time -------------------------------------------------------------------------------------------

    def held(self) -> AbstractContextManager[None]:
        """The folder for this process alone, as `lock.held` has it."""
        return lock.held(self.path)

    def clear(self) -> None:
        """Remove what killed writers left; of a stage, which has a lock of its own, that is for its own run to do."""
        with suppress(OSError):
            for inner in (self.path, *self.path.iterdir()):
                if inner.is_dir() and (inner == self.path or not _is_run(inner)):
                    disk.clear_parts(inner, alone=True)


def _is_run(folder: Path) -> bool:
    return RunFolder(folder).begun or (folder / lock.LOCK_FILE).exists()


def _codec_digest(folder: Path) -> str:
    """A hash of a codec: of its weights and of what they stand in."""
    spec = system_file.read_spec(folder, system_file.CODEC_FILE)
    return sha256(json.dumps([spec.get("codec"), spec.get("digest")], sort_keys=True).encode()).hexdigest()
