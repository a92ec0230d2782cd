"""What a trial took from the machine: processor time, the peak of its memory, and of its GPUs memory and energy.

Used by an executor's worker around each trial. Read from the kernel's own counters once before and once after, so
that it costs microseconds and needs no thread; whatever a machine does not tell is left out. NVIDIA's library is
asked directly, as its Python package is one that few have.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_MB = 2**20


class Usage:
    """Counts from its making on. In a process that runs one trial at a time, that is the trial's."""

    def __init__(self) -> None:
        with suppress(OSError):  # not allowed, or not Linux: then the peak is the process's own so far
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._seconds = _processor_seconds()
        self._joules = _joules(_gpus())

    def read(self) -> dict[str, float]:
        """`system/cpu_seconds` (ended children included), `system/peak_memory_mb`; where there are GPUs of NVIDIA
        `system/gpu_memory_mb`, in use on them now, and `system/gpu_joules`, both with all who share them."""
        found = {"system/cpu_seconds": round(_processor_seconds() - self._seconds, 6)}
        found["system/peak_memory_mb"] = round(_peak_bytes() / _MB, 3)
        if gpus := _gpus():
            found["system/gpu_memory_mb"] = round(_gpu_bytes(gpus) / _MB, 3)
            found["system/gpu_joules"] = round(_joules(gpus) - self._joules, 3)
        return found


def _processor_seconds() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, whose))


def _peak_bytes() -> float:
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii") as file:
        return next(float(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


# NVIDIA's management library, by its documented C interface.


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@cache
def _library() -> ctypes.CDLL | None:
    with suppress(OSError):
        library = ctypes.CDLL("libnvidia-ml.so.1")
        return library if library.nvmlInit_v2() == 0 else None
    return None


@cache
def _gpus() -> Sequence[ctypes.c_void_p]:
    """The handles of those that this process may use."""
    library = _library()
    count = ctypes.c_uint()
    if library is None or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return ()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    numbers = [int(c) for c in chosen if c.strip().isdecimal()] if chosen != [""] else range(count.value)
    handles = []
    for number in numbers:
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(handle)) == 0:
            handles.append(handle)
    return handles


def _gpu_bytes(gpus: Sequence[ctypes.c_void_p]) -> int:
    library, used, memory = _library(), 0, _Memory()
    for gpu in gpus:
        if library is not None and library.nvmlDeviceGetMemoryInfo(gpu, ctypes.byref(memory)) == 0:
            used += int(memory.used)
    return used


def _joules(gpus: Sequence[ctypes.c_void_p]) -> float:
    library, total, one = _library(), 0, ctypes.c_ulonglong()
    for gpu in gpus:
        if library is not None and library.nvmlDeviceGetTotalEnergyConsumption(gpu, ctypes.byref(one)) == 0:
            total += one.value  # millijoules since the driver was loaded
    return total / 1000
