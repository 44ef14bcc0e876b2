"""The cores that this process may use, which are often fewer than the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def allowed_cores(root: Path = Path("/")) -> tuple[int, float | None]:
    """The cores that the scheduler may put this process on, and the quota of cores' time that its container has, None
    for no bound."""
    bound = getattr(os, "sched_getaffinity", None)  # of Linux alone
    return (len(bound(0)) if bound is not None else os.cpu_count() or 1), quota(root)


def quota(root: Path = Path("/")) -> float | None:
    """How many cores' time the control groups of this process give it, as `docker --cpus` sets: the least of its own
    group and those around it.

    Version 2 says it in cpu.max, "200000 100000" microseconds in a period or "max"; version 1 in cpu.cfs_quota_us, −1
    for no bound, and cpu.cfs_period_us (docs.kernel.org, admin-guide/cgroup-v2 and scheduler/sched-bwc).
    """
    found = [share for group in _groups(root) if (share := _share(group)) is not None]
    return min(found, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the control groups of this process, each with those around it. Within a container the path may be
    the one outside: what is not there says nothing, and the outermost is the container's own."""
    mounted = root / "sys/fs/cgroup"
    for line in words(root / "proc/self/cgroup", "\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for top in dict.fromkeys([controllers, "cpu", "cpu,cpuacct"]) if controllers else [""]:
            yield from (mounted / top / place for place in (inner, *inner.parents) if ".." not in place.parts)


def _share(group: Path) -> float | None:
    """The quota of one control group."""
    found = words(group / "cpu.max") or [*words(group / "cpu.cfs_quota_us"), *words(group / "cpu.cfs_period_us")]
    try:
        amount, period = map(float, found)
    except ValueError:  # "max", or no such group
        return None
    return amount / period if amount > 0 and period > 0 else None


def words(path: Path, sep: str | None = None) -> list[str]:
    """What a file of the kernel's says; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8").split(sep)
    except (OSError, UnicodeDecodeError):
        return []
