"""What a trial prints: a file that the worker's output goes to as it comes, and from there into the trial's folder,
redacted.

Used by the worker when a trial ends, and by `hpo.executors.local` when a worker or a whole driver was killed. A plain
file, so that nothing is lost with the process that wrote it; bounded, so that a trial that prints for ever fills no
disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hpo.redact import redact

HEAD, TAIL = 64 * 2**10, 448 * 2**10  # bytes of one attempt that are kept: how it began, and how it ended
LARGEST = 64 * 2**20  # bytes that a running trial may leave on disk


def begin_log(log: Path, number: int) -> None:
    """Whose output follows, for who finds it after a crash."""
    with suppress(OSError):
        log.with_suffix(".trial").write_text(str(number), encoding="ascii")


def keep_log(log: Path, target: Path) -> None:
    """Move what a trial printed into its folder, after what an earlier attempt did; a silent trial leaves nothing
    behind.

    A disk that is full costs the log and not the trial.
    """
    with suppress(OSError):
        size = log.stat().st_size
        if not size:
            return
        with log.open("rb") as file:
            text = file.read(HEAD + TAIL).decode(errors="replace")
            if size > HEAD + TAIL:
                file.seek(0)
                text = file.read(HEAD).decode(errors="replace")
                file.seek(-TAIL, os.SEEK_END)
                text += f"\n… {size - HEAD - TAIL} bytes left out …\n" + file.read(TAIL).decode(errors="replace")
        os.truncate(log, 0)
        target.mkdir(parents=True, exist_ok=True)
        earlier = (target / "log.txt").exists()
        with (target / "log.txt").open("a", encoding="utf-8") as kept:
            kept.write(("\n--- the next attempt\n" if earlier else "") + redact(text))


def recover_logs(logs: Path, folder: Callable[[int], Path]) -> None:
    """Keep what was running when the driver before us was killed."""
    for log in sorted(logs.glob("*.log")):
        with suppress(OSError, ValueError):
            keep_log(log, folder(int(log.with_suffix(".trial").read_text(encoding="ascii"))))


def trim_log(log: Path) -> None:
    """Keep the beginning of a log that has grown too large; its writer appends, so what comes next follows."""
    with suppress(OSError):
        if log.stat().st_size > LARGEST:
            os.truncate(log, HEAD)
