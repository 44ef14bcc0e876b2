"""One measurement of `benchmarks/peers.py` on one side, in a process of its own: a task as JSON in, figures as JSON
out.

A task says the `side`, the `part` that is measured, the `folder` of the checkpoint, the `size` of pictures and that of
`small` ones, how many `steps`, a `precision` or null, and when, in seconds since 1970, the process was `started`.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

PROMPT = "a photograph of an astronaut riding a horse"
SEED = 7
GUIDANCE = 7.5


class Side(Protocol):
    """A tool with its libraries imported; the checkpoint comes with `open`."""

    def open(self, folder: str, precision: str | None) -> None: ...
    def weights(self) -> int:
        """Bytes of weights in use."""
        ...

    def numbers(self) -> int:
        """How many numbers they are."""
        ...

    def picture(self, side: int, steps: int | None) -> Any:
        """One picture [3, side, side] in [0, 1], as NumPy: in so many steps of DDIM, or, at None, by the defaults."""
        ...

    def step_seconds(self, side: int, steps: int) -> list[float]:
        """Seconds of each guided step but the first."""
        ...

    def defaults(self) -> str:
        """How it draws by default."""
        ...


class Sfumato:
    def __init__(self) -> None:
        import tokenizers  # noqa: F401

        from sfumato.interop.diffusers import open as checkpoint  # noqa: F401
        from sfumato.library import load_system

        self._load = load_system

    def open(self, folder: str, precision: Any) -> None:
        self.system = self._load(folder, precision=precision)

    def weights(self) -> int:
        return sum(weight.nbytes for weight in self._all())

    def numbers(self) -> int:
        return sum(weight.numel() for weight in self._all())

    def _all(self) -> Iterator[Any]:
        for part in (*self.system._parts().values(), *self.system.conditioner.towers):  # pyright: ignore
            yield from part.state_dict().values()

    def picture(self, side: int, steps: int | None) -> Any:
        asked: dict[str, Any] = {} if steps is None else {"sampler": "ddim", "steps": steps, "guidance": GUIDANCE}
        return self.system.generate(PROMPT, seeds=[SEED], size=(side, side), **asked).data[0].numpy() / 2 + 0.5

    def step_seconds(self, side: int, steps: int) -> list[float]:
        stamps = Stamps()
        for _ in self.system.stream(PROMPT, size=(side, side), sampler="ddim", steps=steps + 2, guidance=GUIDANCE):
            stamps.stamp()
        return stamps.between()[:-1]  # the last decodes as well

    def defaults(self) -> str:
        settings = self.system.settings.dump()
        where = f" between sigma/alpha {settings['interval']}" if settings["interval"] else ""
        kinds = f"{settings['sampler']['kind']} along {settings['spacing']['kind']}"
        return f"{settings['steps']} steps of {kinds}, guidance {settings['guidance']:g}{where}"


class Diffusers:
    def __init__(self) -> None:
        import torch
        from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        from sfumato import machine

        self._kind, self._ddim, self._torch = StableDiffusionPipeline, DDIMScheduler, torch
        self._device = machine.pick_device()

    def open(self, folder: str, precision: str | None) -> None:
        more = {} if precision is None else {"torch_dtype": getattr(self._torch, precision)}
        self.pipe: Any = self._kind.from_pretrained(folder, **more).to(self._device)
        self.pipe.set_progress_bar_config(disable=True)

    def weights(self) -> int:
        return sum(weight.nbytes for weight in self._all())

    def numbers(self) -> int:
        return sum(weight.numel() for weight in self._all())

    def _all(self) -> Iterator[Any]:
        for part in self.pipe.components.values():
            if isinstance(part, self._torch.nn.Module):
                yield from part.parameters()

    def picture(self, side: int, steps: int | None) -> Any:
        asked: dict[str, Any] = {}
        if steps is not None:
            self._by_ddim()
            asked = {"num_inference_steps": steps, "guidance_scale": GUIDANCE}
        dice = self._torch.Generator("cpu").manual_seed(SEED)
        images = self.pipe(PROMPT, height=side, width=side, generator=dice, output_type="np", **asked).images
        return images[0].transpose(2, 0, 1)

    def step_seconds(self, side: int, steps: int) -> list[float]:
        stamps = Stamps()

        def stamp(pipe: object, step: int, time: object, kwargs: dict[str, Any]) -> dict[str, Any]:
            stamps.stamp()
            return kwargs

        self._by_ddim()
        asked: dict[str, Any] = {"num_inference_steps": steps + 1, "guidance_scale": GUIDANCE}
        self.pipe(PROMPT, height=side, width=side, output_type="latent", callback_on_step_end=stamp, **asked)
        return stamps.between()

    def _by_ddim(self) -> None:
        """DDIM without a bound on x_0, as their pipeline has it when it is made with that scheduler."""
        self.pipe.scheduler = self._ddim.from_config(self.pipe.scheduler.config, clip_sample=False)

    def defaults(self) -> str:
        return f"50 steps of {type(self.pipe.scheduler).__name__}, guidance 7.5"


SIDES: dict[str, Callable[[], Side]] = {"Sfumato": Sfumato, "diffusers": Diffusers}


class Stamps:
    """Moments, once the device is done with what was asked of it."""

    def __init__(self) -> None:
        self._at: list[float] = []

    def stamp(self) -> None:
        import torch

        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self._at.append(time.perf_counter())

    def between(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self._at, self._at[1:], strict=False)]


# Parts ----------------------------------------------------------------------------------------------------------------


def load(tool: Side, task: dict[str, Any]) -> dict[str, Any]:
    """Seconds until the checkpoint is open, and until a small picture is drawn: weights that were only mapped into
    memory have then been read."""
    began = time.perf_counter()
    tool.open(task["folder"], task["precision"])
    opened, started = time.perf_counter() - began, time.time() - task["started"]
    tool.picture(task["small"], 1)
    return {"open": opened, "process": started, "first": time.perf_counter() - began}


def memory(tool: Side, task: dict[str, Any]) -> dict[str, Any]:
    """Bytes: the most that the process held after opening, and after a picture, beside the weights in use."""
    import psutil

    from sfumato import machine

    device = machine.pick_device()
    before = psutil.Process().memory_info().rss if device.type == "cpu" else 0
    tool.open(task["folder"], task["precision"])
    opened = machine.used(device)
    tool.picture(task["size"], task["steps"])
    drawn = machine.used(device)
    return {"before": before, "opened": opened, "drawn": drawn, "weights": tool.weights(), "numbers": tool.numbers()}


def step(tool: Side, task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a guided step, both halves of it."""
    tool.open(task["folder"], task["precision"])
    seconds = sorted(tool.step_seconds(task["size"], task["steps"]))
    return {"step": seconds[len(seconds) // 2]}


def picture(tool: Side, task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a picture at the tool's defaults, from the prompt to the pixels."""
    tool.open(task["folder"], task["precision"])
    defaults = tool.defaults()
    began = time.perf_counter()
    tool.picture(task["size"], None)
    return {"picture": time.perf_counter() - began, "defaults": defaults}


def exact(tool: Side, task: dict[str, Any]) -> dict[str, Any]:
    """All values of the picture of a seed."""
    tool.open(task["folder"], task["precision"])
    return {"values": tool.picture(task["small"], task["steps"]).flatten().tolist()}


def about(tool: Side, task: dict[str, Any]) -> dict[str, Any]:
    """The machine and the versions."""
    from importlib.metadata import version

    from report import place

    from sfumato import machine

    device = machine.pick_device()
    names = ("torch", "diffusers", "transformers")
    found = f"{place(device)}; {', '.join(f'{name} {version(name)}' for name in names)}"
    return {"machine": found, "bfloat16": machine.fast_bfloat16(device.type)}


PARTS = {part.__name__: part for part in (load, memory, step, picture, exact, about)}


def main() -> None:
    task = json.loads(sys.argv[1])
    tool = SIDES[task["side"]]()
    print(json.dumps(PARTS[task["part"]](tool, {**task, "folder": str(Path(task["folder"]))})))


if __name__ == "__main__":
    main()
