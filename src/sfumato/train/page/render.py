"""What a run's page says, as HTML: `page.html` filled with it, in which nothing is markup of the data's."""

import re
import shlex
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from sfumato.data.dataset import Dataset
from sfumato.errors import SfumatoError
from sfumato.media import Image
from sfumato.train.base_recipe import Recipe
from sfumato.train.page.chart import Chart, chart, short
from sfumato.train.page.curve import Point, read_curve
from sfumato.train.page.history import Sitting
from sfumato.train.page.toml import toml
from sfumato.train.plan import TrainingPlan, duration
from sfumato.train.run_folder import RunFolder
from sfumato.wording import brief, shortened

MARK = '<meta name="generator" content="Sfumato">'
"""What says that a page is ours, and may be written anew."""
_MOST_LEFT_OUT = 200
"""Of what was left out, so many are named; all of them are in `run.json`."""
ENDED = "ended"
_STRIP, _MOST_CAPTIONS = 12, 64


@dataclass(frozen=True)
class RunFacts:
    """What a run knows of itself: its data and where they were found, what it is `doing` before it trains and the
    `detail` of that, where it is while it trains, and its `end` in words."""

    where: str
    recipe: Recipe
    dataset: Dataset
    notes: tuple[str, ...] = ()
    plan: TrainingPlan | None = None
    doing: str = "getting ready"
    detail: str = ""
    step: int = 0
    left: float = 0.0
    share: float = 0.0
    end: str = ""


def render(folder: RunFolder, facts: RunFacts, sittings: list[Sitting]) -> str:
    """The page of a run as it is now."""
    points = read_curve(folder.log)
    steps = folder.preview_steps()
    captions = _captions(folder, steps)
    written = datetime.now().astimezone()
    return _template().render(
        mark=MARK,
        name=folder.path.absolute().name,
        parent=_has_page(RunFolder(folder.path.absolute().parent)),
        stages=folder.stage_pages(),
        facts=facts,
        state=_state(facts),
        tiles=_tiles(facts, points, sittings),
        steps=steps,
        strip=_strip(steps),
        preview=lambda step: folder.preview(step).relative_to(folder.path).as_posix(),
        captions=captions,
        charts=_charts(facts, points),
        plan=facts.plan.lines() if facts.plan else [],
        data=_data(facts),
        skipped=[(brief(one.name, 200), shortened(one.reason, 300)) for one in facts.dataset.skipped[:_MOST_LEFT_OUT]],
        more=max(len(facts.dataset.skipped) - _MOST_LEFT_OUT, 0),
        recipe=toml(facts.recipe.dump()),
        commands=_commands(folder, captions, facts.recipe.conditioning),
        sittings=[_sitting(one, live=one is sittings[-1] and not facts.end) for one in reversed(sittings)],
        written=f"{written:%Y-%m-%d %H:%M:%S}",
        seconds=int(written.timestamp()),
        version=version("sfumato"),
    )


def _has_page(folder: RunFolder) -> bool:
    return folder.begun and folder.page.exists()


@cache
def _template() -> Template:
    text = (resources("sfumato.train.page") / "page.html").read_text(encoding="utf-8")
    own = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return own.from_string(text)


def _state(facts: RunFacts) -> tuple[str, str]:
    """A word for what the run is at, and what there is to say of it."""
    if facts.end:
        word, _, more = facts.end.partition(" ")
        return word, f"{more} at step {facts.step:,}".strip() if word != ENDED else more
    if facts.plan is None:
        return "getting ready", ", ".join(filter(None, [facts.doing, facts.detail]))
    return "training", f"step {facts.step:,}, about {duration(facts.left)} left"


def _tiles(facts: RunFacts, points: list[Point], sittings: list[Sitting]) -> list[tuple[str, str]]:
    """The numbers that people ask for first."""
    if not points:
        return []
    recent = points[-max(len(points) // 30, 1) :]
    loss, rate = (sum(values) / len(recent) for values in zip(*((p.loss, p.rate) for p in recent), strict=True))
    tiles = [("step", f"{max(facts.step, points[-1].step):,}"), ("loss", f"{loss:.4g}")]
    tiles.append((f"{facts.dataset.medium.plural} a second", short(rate)))
    if not facts.end and facts.share:
        tiles += [("done", f"{facts.share:.0%}"), ("left", duration(facts.left))]
    return tiles


def _charts(facts: RunFacts, points: list[Point]) -> list[Chart]:
    """Loss, speed and learning rate over the steps."""
    if not points:
        return []
    steps = [point.step for point in points]
    rates = [facts.recipe.optimizer.rate(step) for step in steps]
    return [
        chart("loss", steps, [point.loss for point in points], smooth=True, log=True),
        chart(f"{facts.dataset.medium.plural} a second", steps, [point.rate for point in points], smooth=True),
        chart("learning rate", steps, rates),
    ]


def _data(facts: RunFacts) -> list[tuple[str, str]]:
    """What the run learns from."""
    dataset, medium = facts.dataset, facts.dataset.medium
    rows = [("data", brief(facts.where, 200))]
    rows.append((medium.plural, f"{len(dataset):,} of {medium.size_text(dataset.size)}"))
    if dataset.classes:
        names = ", ".join(brief(name, 60) for name in dataset.classes[:_MOST_CAPTIONS])
        more = f", … {len(dataset.classes) - _MOST_CAPTIONS:,} more" if len(dataset.classes) > _MOST_CAPTIONS else ""
        rows.append(("classes", f"{len(dataset.classes):,}: {names}{more}"))
    if captioned := sum(map(bool, dataset.captions)):
        rows.append(("captions", f"{captioned:,} {medium.plural} have them"))
    if dataset.skipped:
        rows.append(("left out", f"{len(dataset.skipped):,}"))
    return rows


def _strip(steps: list[int]) -> list[int]:
    """Some of the sheets, from the first to the last."""
    if len(steps) <= _STRIP:
        return steps
    return [steps[round(i * (len(steps) - 1) / (_STRIP - 1))] for i in range(_STRIP)]


def _captions(folder: RunFolder, steps: list[int]) -> list[str]:
    """What the newest sheet shows, by what stands in it."""
    if not steps:
        return []
    try:
        found = Image.read_record(folder.preview(steps[-1])).get("captions")
    except (SfumatoError, OSError):
        return []
    return [shortened(str(one), 300) for one in found[:_MOST_CAPTIONS]] if isinstance(found, list) else []


def _commands(folder: RunFolder, captions: list[str], conditioned: bool) -> list[tuple[str, str]]:
    """What to type to go on with the run, and to draw with what it left behind, `conditioned` on an image or not."""
    where = _shell(folder.path)
    commands = [("go on for an hour", f"sfumato train --resume --out {where} --minutes 60")]
    if folder.artefact("system").is_dir():
        prompts = (one for one in captions if len(one) < 80 and one.isprintable() and not one.startswith("-"))
        prompt = next((f"{shlex.quote(one)} " for one in prompts), "")
        image = "--image FILE " if conditioned else ""
        commands.append(("draw", f"sfumato generate {prompt}--model {where} {image}-n 8 --out drawn"))
    return commands


def _shell(path: Path) -> str:
    return shlex.quote(brief(str(path), 300))


def _sitting(sitting: Sitting, live: bool) -> dict[str, str]:
    """A row of the history."""
    end = sitting.get("end") or ("under way" if live else "no end on record, as when it is killed")
    steps = [f"{one:,}" if isinstance(one, int) else "?" for one in (sitting.get("from"), sitting.get("to"))]
    began = re.sub(r"T(\d\d:\d\d):.*", r" \1", str(sitting.get("began", "?")))
    return {
        "began": shortened(began, 40),
        "steps": f"from {steps[0]}" if steps[1] == "?" else f"{steps[0]} to {steps[1]}",
        "machine": shortened(str(sitting.get("machine", "")), 120),
        "end": shortened(str(end), 300),
    }
