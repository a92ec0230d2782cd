"""Conformance suites for the ports: subclass one in a pytest module and give it `make`.

`SearcherSuite` checks the promises of `hpo.searchers.port`, `ExecutorSuite` those of `hpo.executors.port`. Public, for
whoever implements a port; our own engines pass these suites and no others. Needs pytest (the extra `test`).
`Simulated` and `VirtualClock` run the loop itself in virtual time.
"""

from hpo.testing.executors import ExecutorSuite, Program
from hpo.testing.searchers import CONDITIONAL, LOSS, NESTED, PLAIN, SearcherSuite
from hpo.testing.simulated import Simulated, VirtualClock

__all__ = [
    "CONDITIONAL",
    "LOSS",
    "NESTED",
    "PLAIN",
    "ExecutorSuite",
    "Program",
    "SearcherSuite",
    "Simulated",
    "VirtualClock",
]
