"""Rows R15, R28 and R29: a journal on a disk that is full, with bytes that were flipped, or of another release.

The writes that fail are those of SQLite itself, in its own process; the damage is done to real files, with what a
killed driver leaves in the write-ahead log. Driven by fixed seeds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hpo.errors import InputError, JournalError
from hpo.journal import PARENT, Journal
from hpo.trial import Failure, Report, Trial
from tests.chaos.disk import small_disk
from tests.chaos.figures import figure, form
from tests.chaos.harness import ROOT, Driver, finished, the_journal, trials
from tests.chaos.test_kills import SLOW, sweep

GOLDEN = Path(__file__).parent / "golden"
FACTS = {"name": "s", "metrics": [["loss", "minimize"]], "nested": {"a": [1, 2.5, None]}}


def trial(number: int) -> Trial:
    done = Trial(
        number, {"x": number / 7, "kind": "abc"[number % 3]}, started=10.0 + number, finished=11.0 + number,
        reports=tuple(Report(step, step / 3, 0) for step in range(8)), scores={"loss": (0.1, 0.25)}, values=(0.175,),
    )  # fmt: skip
    return done.failed(Failure("exception", "ValueError: no", "Traceback"), 12.0 + number) if number % 5 == 4 else done


def fill(journal: Journal, numbers: Sequence[int]) -> None:
    """As a driver and a publisher do it: results and starts share a commit."""
    for number in numbers:
        journal.record(trial(number), Trial(number + 1, {"x": 0.5}, started=99.0), seconds=float(number))
        journal.published((number, f"run-{number}", 1))


# R15. Writes fail by SQLite's own switch for its system calls.

WRITER = """
import ctypes, errno, json, os, sys
from pathlib import Path
import _sqlite3
from hpo.errors import JournalError
from hpo.journal import Journal
from tests.chaos.test_journal_faults import fill

class VFS(ctypes.Structure):
    _fields_ = [("iVersion", ctypes.c_int), ("szOsFile", ctypes.c_int), ("mxPathname", ctypes.c_int)]
    names = "next name data open delete access full dlopen dlerror dlsym dlclose random sleep time error time64 set get"
    _fields_ += [(name, ctypes.c_void_p) for name in names.split()]

path = Path(sys.argv[1])
for library in (getattr(_sqlite3, "__file__", None), None):
    sqlite = ctypes.CDLL(library)
    if hasattr(sqlite, "sqlite3_vfs_find"):
        break
else:
    sys.exit(9)  # this Python hides its SQLite
sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(VFS)
vfs = sqlite.sqlite3_vfs_find(None)
arguments = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_longlong)
kind = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *arguments, use_errno=True)
set_call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(VFS), ctypes.c_char_p, ctypes.c_void_p)(vfs.contents.set)
get_call = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(VFS), ctypes.c_char_p)(vfs.contents.get)
names = [name for name in (b"pwrite64", b"pwrite") if get_call(vfs, name)]
if not names:
    sys.exit(9)
real = {name: kind(get_call(vfs, name)) for name in names}
writes, broken = 0, int(sys.argv[2])

def make(name):
    def write(fd, data, size, offset):
        global writes
        writes += 1
        if writes >= broken:
            ctypes.set_errno(errno.ENOSPC if broken % 2 else errno.EIO)
            return -1
        return real[name](fd, data, size, offset)
    return kind(write)

calls = {name: make(name) for name in names}
for name, call in calls.items():
    set_call(vfs, name, ctypes.cast(call, ctypes.c_void_p).value)
acknowledged = []
code = 0
try:
    journal = Journal(path)
    for number in range(1000):
        fill(journal, [number])
        acknowledged.append(number)
except JournalError as error:
    code = error.exit_code if str(path) in str(error) else 1
print(json.dumps([code, acknowledged]), flush=True)
os._exit(0)
"""


def test_r15_any_write_may_fail(tmp_path: Path) -> None:
    """Row R15, with tests/test_journal.py: it stops at once and names the file, and goes on when there is space."""
    points, wrong = 50, []
    for n in range(1, points + 1):
        path = tmp_path / f"{n}.journal"
        Journal.create(path, FACTS).close()
    for first in range(1, points + 1, 10):  # ten at a time
        running = {
            n: subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path / f"{n}.journal"), str(n)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(first, first + 10)
        }
        for n, process in running.items():
            with process:
                said = process.communicate(timeout=120)[0]
            if process.returncode == 9:
                pytest.skip("this Python's SQLite cannot be reached")
            code, acknowledged = json.loads(said)
            with closing(Journal(tmp_path / f"{n}.journal")) as journal:
                journal.check()
                kept = [t.number for t in journal.trials() if t.state != "running"]
                fill(journal, [len(kept)])  # space is back
                journal.check()
            if code != 74 or kept[: len(acknowledged)] != acknowledged:
                wrong.append(n)
    figure(
        "R15",
        "a journal that cannot be written stops the sweep with exit 74 and its path; nothing acknowledged is lost",
        f"{points - len(wrong)}/{points} failing writes recovered from",
        len(wrong),
    )


def test_r15_a_sweep_on_a_full_disk(tmp_path: Path) -> None:
    """Row R15, whole: the driver stops, and the same command goes on after space is freed."""
    with small_disk(tmp_path / "disk", 4096) as disk:
        folder = sweep(disk.path / "s", "random", trials=12, workers=1)
        (folder / "objective.py").write_text(SLOW)
        driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none")
        while finished(folder) < 3:
            assert driver.process.poll() is None, driver.reap()
        disk.fill()
        said = driver.finish(74)
        disk.free()
        before = {t.number: t for t in trials(folder) if t.state != "running"}
        Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none").finish(0)
        after = {t.number: t for t in trials(folder)}
        lost = sum(after[n] != t for n, t in before.items())
        path = str(the_journal(folder))
        figure(
            "R15 sweep",
            "a sweep on a full disk stops with exit 74 and goes on when there is space",
            f"{len(before)} trials before, {lost} lost, {len(after)} of 12 in the end",
            lost + (len(before) < 3) + (len(after) != 12) + (path not in said) + ("Traceback" in said),
        )


# R28.


def killed(folder: Path) -> list[Path]:
    """The files of a journal whose driver was killed: most of it in the log, the rest moved to the file before."""
    path = folder / "s.journal"
    journal = Journal.create(path, FACTS)
    fill(journal, range(20))
    journal.close()
    journal = Journal(path)
    fill(journal, range(20, 45))
    target = folder / "killed"
    target.mkdir()
    files = [Path(shutil.copy(file, target)) for file in sorted(folder.glob("s.*")) if "shm" not in file.name]
    journal.close()
    assert [file.name for file in files] == ["s.journal", "s.journal-wal", "s.mark"]
    return files


def test_r28_damage_is_never_silent(tmp_path: Path) -> None:
    """Row R28."""
    dice = random.Random(28)
    files = killed(tmp_path)
    journal = Journal(files[0], writable=False)
    journal.check()
    truth, facts, runs = journal.trials(), journal.facts(), journal.runs()
    journal.close()
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    rounds = form(200, 2000)
    for n in range(rounds):
        folder = tmp_path / f"{n}"
        folder.mkdir()
        copies = [Path(shutil.copy(file, folder)) for file in files]
        victim = copies[dice.choice([0, 1, 1, 1, 2])]
        content = bytearray(victim.read_bytes())
        at = dice.randrange(len(content))
        if dice.random() < 0.2:
            del content[at:]
        else:
            for place in [at, *(dice.randrange(len(content)) for _ in range(dice.choice([0, 0, 3])))]:
                content[place] ^= dice.randrange(1, 256)
        victim.write_bytes(content)
        was = [copy.read_bytes() for copy in copies]
        what = f"{n}: {victim.name} at {at}"
        kept: list[Trial] = []
        try:
            with closing(Journal(copies[0], writable=False)) as journal:
                try:
                    journal.check()
                    same = (journal.trials(), journal.facts()) == (truth, facts)
                    same = same and journal.runs().items() <= runs.items()  # a run that is not noted is looked up
                    outcomes["harmless" if same else "silent"] += 1
                    wrong += [] if same else [what]
                except JournalError:
                    outcomes["detected"] += 1
                    kept, _ = journal.salvage()
                    outcomes["salvaged"] += len(kept)
                    if not all(t in truth or t.state == "running" for t in kept):
                        wrong.append(f"{what}: salvaged something else")
        except (JournalError, InputError):
            outcomes["cannot be opened"] += kept == []
        if [copy.read_bytes() for copy in copies] != was:
            wrong.append(f"{what}: it was changed")
        shutil.rmtree(folder)
    figure(
        "R28",
        "a damaged journal is noticed, left as it is, and what is intact can be had",
        f"{rounds} damaged: {dict(outcomes)}; wrong: {wrong[:5]}",
        len(wrong),
    )


def test_r28_a_resume_refuses_and_status_salvages(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", "random", trials=12, workers=1)
    (folder / "objective.py").write_text(SLOW)
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none")
    assert driver.kill_at(4)
    driver.reap()
    path = the_journal(folder)
    assert path is not None
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(log.read_bytes()[:-4100])  # the last commit, which was acknowledged
    said = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none").finish(74)
    assert "is damaged" in said
    assert "Traceback" not in said
    salvage = [sys.executable, "-m", "hpo.status", "last", "--salvage"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(salvage, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert [json.loads(line)["number"] for line in done.stdout.splitlines()][:3] == [0, 1, 2], done.stderr
    Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none", "--fresh").finish(0)


# R29.


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.journal")), ids=lambda path: path.stem)
def test_r29_journals_of_all_releases(tmp_path: Path, golden: Path) -> None:
    """Row R29. A release that changes the format adds its file here; this one makes them: `fill` of ten trials."""
    path = Path(shutil.copy(golden, tmp_path))
    try:
        with closing(Journal(path)) as journal:
            journal.check()
            opened = [t for t in journal.trials() if t.state != "running"] == [trial(n) for n in range(10)]
            opened = opened and {"name": "s", "nested": FACTS["nested"]}.items() <= journal.facts().items()
            said = "opened"
    except InputError as error:
        opened, said = "--fresh" in str(error), "refused, with what to do"
    figure(
        "R29",
        "a journal of an older release is opened, or refused with what to do",
        f"{golden.stem}: {said}",
        int(not opened),
    )


@pytest.mark.parametrize("version", [0, 2, 99])
def test_r29_another_version_is_refused_with_what_to_do(tmp_path: Path, version: int) -> None:
    import sqlite3

    path = tmp_path / "s.journal"
    Journal.create(path, FACTS).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={version}")
    with pytest.raises(InputError, match=rf"version {version}, from an? (older|newer) hpo(.|\n)*--fresh"):
        Journal(path)
    assert PARENT == -1
