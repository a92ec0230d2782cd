"""The executor without processes keeps the promises that need none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo.attempt import Objective
from hpo.executors.inline import Inline
from hpo.executors.port import Executor
from hpo.executors.worker import Job
from hpo.metric import Metric
from hpo.testing import ExecutorSuite


class TestInline(ExecutorSuite):
    isolated = False

    def make(self, objective: Objective, folder: Path, **limits: Any) -> Executor:
        return Inline(Job(objective, (Metric("x", "maximize"),), 0, 1, folder, two_way=limits.get("two_way", False)))
