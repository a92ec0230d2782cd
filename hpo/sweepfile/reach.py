"""What a sweep file may not decide by itself: which cluster runs the trials, how it is made, where the data are put.

Called by `hpo.loader` for what stands in a file; what a person typed is that person's word. Who connects to a scheduler
runs what it sends back, the arguments of a cluster's class hold commands for a shell, and a store is given the data: a
file from elsewhere would need no code of its own to do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from hpo.errors import Problem
from hpo.sweep import Execution
from hpo.sweepfile.rules import LOOPBACK

HERE = ("local", "auto")  # auto: the cluster that this machine belongs to, which its owner has set up


def unspoken(execution: Execution, written: Callable[[str], str | None], allowed: Collection[str]) -> Iterator[Problem]:
    """What of `executor` needs a person's word and has none. `written` says where in the file a key stands, if it does;
    `allowed` are the packages, addresses and other names that were given."""
    cluster, store = execution.cluster, execution.store
    made_by = _maker(cluster)
    if (place := written("cluster")) and not _is_here(cluster) and not {cluster, made_by} & {*allowed}:
        what = "an address" if "://" in cluster else "hosts" if cluster == "ssh" else "a class"
        said = f"{cluster} is {what} where code runs: a sweep file alone does not decide that"
        yield Problem(said, place, f"--cluster {cluster}, or --allow-import {made_by}")
    if execution.options and (place := written("options")) and made_by not in allowed:
        said = f"options of {cluster} may hold commands: a sweep file alone does not decide that"
        yield Problem(said, place, f"--allow-import {made_by}")
    if store and "://" in store and (place := written("store")) and store not in allowed:
        said = f"{store} is given the data: a sweep file alone does not decide that"
        yield Problem(said, place, f"--allow-import {store}")


def _is_here(cluster: str) -> bool:
    scheme, separator, rest = cluster.partition("://")
    return cluster in HERE or bool(separator and scheme and rest.rstrip("/").rpartition(":")[0] in LOOPBACK)


def _maker(cluster: str) -> str:
    """What one has to trust to use it: a package, an address, or `ssh`."""
    if cluster == "local":
        return "distributed"
    return cluster if "://" in cluster else cluster.partition(".")[0]
