"""How many trials fit on a machine, and what each slot gets of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import executors
from hpo.attempt import Attempt, Evaluate, Outcome
from hpo.errors import InputError
from hpo.executors import slots
from hpo.executors.cluster import Capacity, Need
from hpo.sweep import Sweep
from hpo.trial import Trial
from tests.sweeps import function_sweep


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As CUDA is told of them; nothing here touches one."""
    monkeypatch.setenv(slots.VISIBLE, "4,5,6,7")
    slots.gpus.cache_clear()
    yield
    slots.gpus.cache_clear()


def sweep_with(resources: dict[str, Any], **search: Any) -> Sweep:
    return function_sweep(resources=resources, search={"workers": "auto", **search})


@pytest.mark.parametrize(
    ("resources", "search", "expected"),
    [
        ({}, {}, (8, 1)),
        ({"cpus": 2}, {}, (4, 2)),
        ({"cpus": 3}, {"workers": 2}, (2, 3)),
        ({"cpus": 16}, {}, (1, 8)),
        ({"cpus": 4}, {"threads": 1}, (8, 1)),
    ],
)
def test_trials_get_the_cores_they_need(
    resources: dict[str, Any], search: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert executors.share(sweep_with(resources, **search), available=8) == expected


def test_no_more_trials_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "memory", lambda: 10 * 2**30)
    assert executors.share(sweep_with({"memory": "4G"}), available=8) == (2, 4)
    assert executors.share(sweep_with({"memory": "64G"}), available=8) == (1, 8)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("each", "workers", "seen"),
    [(1, 4, ["4", "5", "6", "7"]), (2, 2, ["4,5", "6,7"]), (0.5, 8, ["4", "4", "5", "5", "6", "6", "7", "7"])],
)
def test_each_slot_has_its_own_graphics_processor_or_its_part(each: float, workers: int, seen: list[str]) -> None:
    assert executors.share(sweep_with({"gpus": each}), available=16)[0] == workers
    assert [lease[slots.VISIBLE] for lease in slots.lease_gpus(workers, each)] == seen


@pytest.mark.usefixtures("four_gpus")
def test_a_trial_sees_its_lease(tmp_path: Path) -> None:
    class Sees:
        def open(self) -> Evaluate:
            def evaluate(attempt: Attempt) -> Outcome:
                time.sleep(0.2)
                return float(os.environ[slots.VISIBLE])

            return evaluate

    with closing(executors.build(sweep_with({"gpus": 1}, workers=2), Sees(), tmp_path)) as executor:
        for number in range(2):
            executor.submit(Trial(number, {}, started=time.time()))
        done: list[Trial] = []
        while executor.busy:
            done += executor.wait()
    assert {trial.values for trial in done} == {(4.0,), (5.0,)}


def test_a_machine_without_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(slots.VISIBLE, "")
    slots.gpus.cache_clear()
    with pytest.raises(InputError, match="this machine has 0"):
        hpo.run(sweep_with({"gpus": 1}), folder=tmp_path, tracking=None)
    slots.gpus.cache_clear()


def test_what_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(InputError, match=r"1\.5 graphics processors cannot be shared out"):
        sweep_with({"gpus": 1.5})


@pytest.mark.parametrize(
    ("need", "there", "fit"),
    [
        (Need(), Capacity(8), 8),
        (Need(cpus=3), Capacity(8), 2),
        (Need(memory=3), Capacity(8, memory=10), 3),
        (Need(gpus=0.25), Capacity(8, gpus=1.0), 4),
        (Need(gpus=1), Capacity(8, gpus=0.0), 0),
        (Need(gpus=2), Capacity(8, gpus=3.0), 1),
        (Need(gpus=0.4), Capacity(8, gpus=2.0), 4),
        (Need(gpus=0.25), Capacity(8, gpus=1.5), 6),
    ],
)
def test_as_many_trials_as_a_worker_has_room_for(need: Need, there: Capacity, fit: int) -> None:
    assert need.slots(there) == fit
