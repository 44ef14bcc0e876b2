"""What a benchmark writes: on which machine, and a page whose end it keeps up to date as figures come."""

import os
from pathlib import Path

import torch

from sfumato import machine


def place(device: torch.device) -> str:
    """The machine in words: its name, threads and cores, and what it computes bfloat16 by."""
    if device.type != "cpu":
        return machine.name(device)
    known = torch.cpu.get_capabilities()
    by = {"AMX": "amx_bf16", "AVX-512": "avx512_bf16", "NEON": "bf16"}
    found = [name for name, key in by.items() if known.get(key)]
    fast = f"bfloat16 by {' and '.join(found)}" if found else "no bfloat16 arithmetic (neither AMX nor AVX-512 BF16)"
    return f"{machine.name(device)} of {os.cpu_count()} cores, {fast}"


def put(page: Path | None, mark: str, report: str) -> None:
    """Write the report after the line `mark` of the page, if one is asked for; what stands before it stays."""
    if page is not None:
        prose = page.read_text("utf-8").partition(mark)[0] if page.exists() else ""
        page.write_text(f"{prose}{mark}\n\n{report}\n", "utf-8")
