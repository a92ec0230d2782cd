"""What this machine has for us: cores and memory, as its container, affinity and quotas leave them.

Asked by `hpo.executors.slots`, which shares them out, and by objectives that keep data in memory. Known to all, so that
nobody counts a machine's cores where a container has two.
"""

from __future__ import annotations

import os
from pathlib import Path


def memory() -> int:
    """The bytes that this process may use: the machine's, or its container's."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:  # not Linux, or cgroup v1
        return found
    return found if limit == "max" else min(found, int(limit))


def cores() -> int:
    """The cores this process may use: its affinity, and the CPU quota of its container."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):  # not Linux, or cgroup v1: the affinity is all we know
        return n
    return n if quota == "max" else max(1, min(n, int(quota) // int(period)))
