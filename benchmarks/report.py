"""What a benchmark writes: on which machine, of which systems, and the part of a page that it keeps up to date."""

import os
import re
from pathlib import Path

import torch

from sfumato import machine
from sfumato.files import write_bytes
from sfumato.system import Cascade, System

HEADING = re.compile(r"\n#+ ")


def place(device: torch.device) -> str:
    """The machine in words: its name, threads and cores, and what it computes bfloat16 by."""
    if device.type != "cpu":
        return machine.name(device)
    known = torch.cpu.get_capabilities()
    by = {"AMX": "amx_bf16", "AVX-512": "avx512_bf16", "NEON": "bf16"}
    found = [name for name, key in by.items() if known.get(key)]
    fast = f"bfloat16 by {' and '.join(found)}" if found else "no bfloat16 arithmetic (neither AMX nor AVX-512 BF16)"
    return f"{machine.name(device)} of {os.cpu_count()} cores, {fast}"


def stages(system: System | Cascade) -> tuple[System, ...]:
    """The systems of a cascade in their order, or the one."""
    return system.stages if isinstance(system, Cascade) else (system,)


def put(page: Path | None, mark: str, report: str) -> None:
    """Write the report after the line `mark` of the page, if one is asked for; what stands before it stays, and so does
    what comes from the next heading on."""
    if page is not None:
        prose, _, rest = page.read_text("utf-8").partition(mark) if page.exists() else ("", "", "")
        write_bytes(page, f"{prose}{mark}\n\n{report}\n{rest[len(section(rest)) :]}".encode())


def section(text: str) -> str:
    """A text up to its next heading."""
    heading = HEADING.search(text)
    return text[: heading.start()] if heading else text
