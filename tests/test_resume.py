"""Which sweep a command continues: by name, by meaning, by id; and that two commands never share one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from hpo.errors import HeldError, InputError
from hpo.resume import Claim, claim, difference, find, journals
from hpo.sweep import Sweep
from hpo.trial import Trial
from tests.sweeps import function_sweep


def begin(folder: Path, sweep: Sweep, *, trials: int = 1, state: str = "interrupted") -> str:
    """A sweep that somebody left in this state with so many results."""
    claimed = claim(sweep, folder, fresh=True)
    done = [Trial(n, {"x": 0.0, "kind": "b"}, started=1.0, finished=2.0, values=(0.5,)) for n in range(trials)]
    claimed.journal.record(*done, state=state)
    release(claimed)
    return claimed.id


def release(claimed: Claim) -> Claim:
    claimed.journal.close()
    claimed.lease.release()
    return claimed


def test_the_first_is_new_and_knows_what_it_is(tmp_path: Path) -> None:
    sweep = function_sweep(name="a name (with) signs+")
    claimed = claim(sweep, tmp_path, extra=1)
    with claimed.lease, closing(claimed.journal) as journal:
        assert not claimed.resumed
        assert claimed.id.startswith("a-name-with-signs-")
        facts = journal.facts()
    assert (facts["id"], facts["name"], facts["identity"], facts["extra"]) == (
        claimed.id, "a name (with) signs+", sweep.identity, 1,
    )  # fmt: skip
    assert facts["meaning"] == sweep.meaning()


def test_an_unfinished_one_is_continued_and_a_finished_one_is_not(tmp_path: Path) -> None:
    sweep = function_sweep()
    unfinished = begin(tmp_path, sweep)
    assert release(claim(sweep, tmp_path))[2:] == (unfinished, True)
    finished = begin(tmp_path, sweep, state="finished")
    new = release(claim(sweep, tmp_path))
    assert new.id not in (unfinished, finished), "the latest is finished: what lies before it is the past"
    assert release(claim(sweep, tmp_path, resume=finished)).id == finished


def test_a_raised_budget_has_the_same_meaning(tmp_path: Path) -> None:
    id = begin(tmp_path, function_sweep())
    more = function_sweep(search={"trials": 99, "timeout": "1h"})
    assert release(claim(more, tmp_path)).id == id


def test_another_meaning_is_refused_with_every_difference(tmp_path: Path) -> None:
    begin(tmp_path, function_sweep())
    changed = function_sweep(search={"seed": 4}, space={"x": {"float": [-5, 6]}})
    with pytest.raises(InputError) as refused:
        claim(changed, tmp_path)
    said = str(refused.value)
    assert "search.seed: 3 -> 4" in said
    assert "kind" in said
    assert "--fresh" in said
    assert not release(claim(changed, tmp_path, fresh=True)).resumed
    release(claim(function_sweep(name="other"), tmp_path))


def test_another_meaning_without_a_result_is_no_loss(tmp_path: Path) -> None:
    begin(tmp_path, function_sweep(), trials=0)
    assert not release(claim(function_sweep(search={"seed": 4}), tmp_path)).resumed


def test_a_sweep_that_runs_is_held(tmp_path: Path) -> None:
    sweep = function_sweep()
    first = claim(sweep, tmp_path)
    with pytest.raises(HeldError, match=f"sweep {first.id} is held by process"):
        claim(sweep, tmp_path)
    other = claim(sweep, tmp_path, fresh=True)
    assert other.id != first.id
    release(first)
    release(other)


def test_a_refused_claim_leaves_no_lease(tmp_path: Path) -> None:
    sweep = function_sweep()
    begin(tmp_path, sweep)
    with pytest.raises(InputError):
        claim(function_sweep(search={"seed": 4}), tmp_path)
    assert release(claim(sweep, tmp_path)).resumed


def test_finding_by_id(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none under"):
        find(tmp_path, "last")
    ids = [begin(tmp_path, function_sweep(name=name)) for name in ("apple", "pear")]
    assert find(tmp_path, "app").stem == ids[0]
    assert find(tmp_path, ids[1]).stem == ids[1]
    assert find(tmp_path, "last") == journals(tmp_path)[0]
    with pytest.raises(InputError, match="no sweep 'plum'"):
        find(tmp_path, "plum")
    latest = begin(tmp_path, function_sweep(name="apple"))
    begin(tmp_path, function_sweep(name="apple-pie"))
    assert find(tmp_path, "apple").stem == latest
    with pytest.raises(InputError, match="more than one sweep 'app'"):
        find(tmp_path, "app")


def test_the_latest_is_the_latest_within_a_second_too(tmp_path: Path) -> None:
    ids = [begin(tmp_path, function_sweep(name=name)) for name in ("b", "c", "a", "b", "c", "a")]
    assert [path.stem for path in journals(tmp_path)] == ids[::-1]


def test_names_that_begin_alike_are_two(tmp_path: Path) -> None:
    begin(tmp_path, function_sweep(name="toy-long"))
    assert not release(claim(function_sweep(name="toy"), tmp_path)).resumed
    begin(tmp_path, function_sweep(name="a b"))
    assert not release(claim(function_sweep(name="a+b"), tmp_path)).resumed


def test_a_difference_is_a_line_each() -> None:
    assert difference({"a": 1, "b": None, "c": 3}, {"a": 2, "b": "x", "d": 4}) == [
        "a: 1 -> 2", "b: not set -> x", "c: 3 -> not set", "d: not set -> 4",
    ]  # fmt: skip
