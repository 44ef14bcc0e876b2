"""What this machine has, and what follows from it: the device, the precision, the memory."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from statistics import median
from typing import Any, Literal

import torch
from torch.nn.functional import conv2d

from sfumato.errors import InputError, OutOfMemoryError, is_short, quoted
from sfumato.wording import brief

Precision = Literal["float32", "bfloat16"]


def pick_device(name: str | None = None) -> torch.device:
    """The device asked for, else the best there is: CUDA, then Apple's MPS, then the CPU."""
    if name is None:
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = brief(str(error).splitlines()[0])
        raise InputError(
            f"device {quoted(name)} is not to be had here ({reason}); leave it out to take the best"
        ) from error
    return device


@cache
def fast_bfloat16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda", …) multiplies in bfloat16 faster than in float32."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        capable = torch.cpu.get_capabilities()
        return bool(capable.get("avx512_bf16") or capable.get("amx_bf16") or capable.get("bf16"))
    return False


def pick_precision(device: torch.device, name: str | None = None) -> Precision:
    """The precision asked for, else bfloat16 where it is fast."""
    if name is None:
        return "bfloat16" if fast_bfloat16(device.type) else "float32"
    if name not in ("float32", "bfloat16"):
        raise InputError(f"precision must be float32 or bfloat16, not {quoted(name)}")
    return name


def dtype(precision: Precision) -> torch.dtype:
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


MOST_THREADS = 1024


def check_threads(count: int | None) -> None:
    """Raise an `InputError` for what is no number of threads; None leaves it to torch."""
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_THREADS):
        raise InputError(f"threads must be from 1 to {MOST_THREADS:,}, not {quoted(count)}")


def use_threads(count: int | None) -> None:
    """Have torch compute on the CPU with so many threads from now on; None changes nothing."""
    check_threads(count)
    if count is not None:
        torch.set_num_threads(count)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Within the block, have torch compute on the CPU with so many threads, or with as many as it does; what is set
    within ends with the block."""
    before = torch.get_num_threads()
    use_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rounding(device: torch.device) -> dict[str, Any]:
    """What sums of float32 and bfloat16 on a device are rounded by, beside the device itself: what a record has to say,
    since pictures differ. On the CPU that is the number of threads, over which sums are cut up."""
    return ({"threads": torch.get_num_threads()} if device.type == "cpu" else {}) | float32_math(device)


def float32_math(device: torch.device) -> dict[str, str]:
    """How float32 is multiplied on a device, where a caller has set that otherwise than it is when torch starts."""
    backends = torch.backends
    cuda = device.type == "cuda"
    places = {"matmul": backends.cuda if cuda else backends.mkldnn, "conv": backends.cudnn if cuda else backends.mkldnn}
    found = {op: getattr(getattr(place, op, None), "fp32_precision", "none") for op, place in places.items()}
    usual = {"matmul": ("none", "ieee"), "conv": ("none", "tf32" if cuda else "ieee")}
    return {f"float32_{op}": kind for op, kind in found.items() if kind not in usual[op]}


@cache
def peak(device: torch.device, precision: Precision) -> float:
    """FLOP/s of the fastest of two 3×3 convolutions: what a network of such convolutions could at best come near."""
    return _peak(device, precision)


def speeds(device: torch.device, seconds: float = 2.0) -> dict[str, float]:
    """The peak FLOP/s by precision, each the median of what is measured in turn as long as there are `seconds`; a
    precision that the device does not compute in is left out."""
    found: dict[Precision, list[float]] = {"float32": [], "bfloat16": []}
    began = time.perf_counter()
    while found and (not all(found.values()) or time.perf_counter() - began < seconds):
        for precision in list(found):
            try:
                found[precision].append(_peak(device, precision))
            except (RuntimeError, TypeError):
                del found[precision]
    return {precision: median(own) for precision, own in found.items()}


def _peak(device: torch.device, precision: Precision) -> float:
    stream, found = torch.Generator().manual_seed(0), 0.0
    for channels, side in ((256, 16), (128, 32)):
        batch, times = (8, 1) if device.type == "cpu" else (256, 10)
        x, weight = (
            torch.rand(shape, generator=stream).to(device, dtype(precision)).to(memory_format=torch.channels_last)
            for shape in ((batch, channels, side, side), (channels, channels, 3, 3))
        )
        for _ in range(4):  # the first sets kernels up
            began = time.perf_counter()
            with torch.inference_mode():
                answers = [conv2d(x, weight, padding=1)[0, 0, 0, 0] for _ in range(times)]
                float(answers[-1])  # waits for a GPU
            flop = times * 2 * 9 * channels**2 * side**2 * batch
            found = max(found, flop / (time.perf_counter() - began))
    return found


def memory(device: torch.device) -> tuple[int, int]:
    """Bytes of memory on a device: (free, total)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)
    import psutil

    ram = psutil.virtual_memory()
    return ram.available, ram.total


def used(device: torch.device) -> int:
    """The most bytes of a device's memory that this process has held at once."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def memory_errors(message: str) -> Iterator[None]:
    """Where memory is short within the block, raise an `OutOfMemoryError` with this message: what needed it, and what
    to do. One that says so already is left as it is."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not is_short(error):
            raise
        raise OutOfMemoryError(message) from error


def name(device: torch.device) -> str:
    """The device in words: what a figure measured on it should quote."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{torch.cpu.get_capabilities().get('cpu_name', 'CPU')}, {threads} thread{'s' if threads > 1 else ''}"
