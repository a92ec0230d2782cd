"""Prepared once, found again, mapped and not copied; the hold-out in a file that nobody else opens."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpo.data import Dataset, holdout_frame, load, prepare
from hpo.sweep import Search, Validation
from tests.data.sweeps import BUNDLED, bundled, sweep_on


@pytest.fixture
def made(tmp_path: Path) -> Dataset:
    return bundled("flights", tmp_path, 1000, validation=Validation(3, groups="date"))[1]


def test_the_second_time_nothing_is_read_but_the_meta_file(tmp_path: Path) -> None:
    sweep, dataset = bundled("segment", tmp_path, 300, metrics=("accuracy",))
    assert sweep.data is not None
    known = dataclasses.replace(sweep, data=dataclasses.replace(sweep.data, digest=dataset.file_digest))
    assert prepare(known, tmp_path / "prepared") == dataset, "with the digest known or computed, it is the same"
    sweep.data.path.unlink()
    code = (
        "import pickle, sys, pathlib; from hpo.data import prepare\n"
        "sweep, root, dataset = pickle.loads(sys.stdin.buffer.read())\n"
        "assert prepare(sweep, root) == dataset\n"
        "assert not {'pandas', 'sklearn', 'numpy'} & set(sys.modules), 'resume is cheap'"
    )
    given = pickle.dumps((known, tmp_path / "prepared", dataset))
    subprocess.run([sys.executable, "-c", code], input=given, check=True, cwd=BUNDLED.parent)


def test_what_the_arrays_depend_on_is_in_the_digest(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 500)
    assert sweep.data is not None
    others = [
        dataclasses.replace(sweep, search=Search(seed=8)),
        dataclasses.replace(sweep, validation=Validation(4)),
        dataclasses.replace(sweep, validation=Validation(3, groups="date")),
        dataclasses.replace(sweep, data=dataclasses.replace(sweep.data, drop=("temp",))),
        dataclasses.replace(sweep, data=dataclasses.replace(sweep.data, categorical=("month",))),
        dataclasses.replace(sweep, data=dataclasses.replace(sweep.data, holdout=0.1)),
    ]
    digests = [prepare(other, tmp_path / "prepared").digest for other in others]
    assert len({dataset.digest, *digests}) == len(others) + 1
    assert max(map(len, digests)) <= 36


def test_a_data_set_survives_pickle_and_json(made: Dataset) -> None:
    assert pickle.loads(pickle.dumps(made)) == made
    assert Dataset.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert len(pickle.dumps(made)) < 10_000, "no row travels"
    assert json.loads(json.dumps([made.schema, made.profile]))[1]["rows"] == made.rows


def test_the_rows_are_mapped_and_read_only(made: Dataset) -> None:
    arrays = load(made)
    for array in (arrays.features, arrays.target):
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable


def _mapped(dataset: Dataset, pipe: multiprocessing.connection.Connection) -> None:
    arrays = load(dataset)
    arrays.features.sum()
    smaps = Path("/proc/self/smaps").read_text().split("features.npy")[1].split("VmFlags")[0]
    pipe.send(dict(line.split()[:2] for line in smaps.strip().splitlines()))
    pipe.recv()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's view of memory")
def test_two_workers_share_the_pages(tmp_path: Path) -> None:
    _, dataset = bundled("diamonds", tmp_path, 50_000, metrics=("rmse",), model="xgboost.XGBRegressor")
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    workers = [context.Process(target=_mapped, args=(dataset, there)) for _, there in pipes]
    for worker in workers:
        worker.start()
    seen = [here.recv() for here, _ in pipes]
    for here, _ in pipes:
        here.send(None)
    for worker in workers:
        worker.join()
    size = dataset.rows * len(dataset.columns) * 8 // 1024
    assert all(int(one["Rss:"]) >= size * 0.9 and int(one["Anonymous:"]) == 0 for one in seen)
    assert min(int(one["Pss:"]) for one in seen) < size * 0.6, "the later one counts half of what two share"


def test_the_hold_out_is_the_raw_rest_of_the_file(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 800, validation=Validation(3, groups="date"))
    assert sweep.data is not None
    table = pd.read_parquet(sweep.data.path)
    held, target = holdout_frame(dataset)
    assert list(held.columns) == [name for name in table.columns if name != "late"]
    assert len(held) + dataset.rows == len(table)
    rest = table.drop(columns="late")
    merged = rest[rest["date"].isin(held["date"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(held, merged)
    assert len(target) == dataset.holdout_rows


def test_nobody_needs_the_held_out_rows_to_train(made: Dataset) -> None:
    (made.folder / "holdout.parquet").unlink()
    (made.folder / "holdout.npy").unlink()
    assert len(load(made).target) == made.rows


def test_held_out_rows_leave_no_trace_in_what_is_trained_on(tmp_path: Path) -> None:
    """Change every held-out row: what the objectives see stays the same, to the byte."""
    path = tmp_path / "t.parquet"
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=200), "b": rng.choice(["u", "v"], 200), "t": range(200)})
    table["y"] = [0, 1] * 100
    table.to_parquet(path)
    sweep = sweep_on(path, "y", validation=Validation(3, time="t"))
    before = prepare(sweep, tmp_path / "before")
    last = table["t"] >= 160
    table = table.assign(a=table["a"].mask(last, 1e9), b=table["b"].mask(last, "only here"))
    table.to_parquet(path)
    after = prepare(sweep, tmp_path / "after")
    assert before.columns == after.columns
    for name in ("features", "target", "blocks"):
        assert (before.folder / f"{name}.npy").read_bytes() == (after.folder / f"{name}.npy").read_bytes()
    assert (holdout_frame(after)[0]["b"] == "only here").all()


def test_rows_without_a_target_are_left_out_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": range(100), "y": [0, 1, None, 1] * 25}).to_csv(path, index=False)
    dataset = prepare(sweep_on(path, "y"), tmp_path / "p")
    assert (dataset.rows + dataset.holdout_rows, dataset.classes) == (75, (0, 1))
    assert dataset.notes == ("25 rows without a target were left out",)


def test_no_hold_out(tmp_path: Path) -> None:
    sweep = sweep_on(BUNDLED / "segment.parquet", "category", ("accuracy",), data={"holdout": 0.0})
    dataset = prepare(sweep, tmp_path)
    assert (dataset.holdout_rows, dataset.rows) == (0, 2310)
    with pytest.raises(ValueError, match="no hold-out"):
        holdout_frame(dataset)
