"""Prepared data by content address: once per host, verified, and never the rows that are held out."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpo.data import Dataset, here, load, prepare, publish
from hpo.errors import InputError
from tests.data.sweeps import BUNDLED, sweep_on


@pytest.fixture
def prepared(tmp_path: Path) -> Dataset:
    return prepare(sweep_on(BUNDLED / "segment.parquet", "category", ("accuracy",)), tmp_path / "driver")


def elsewhere(dataset: Dataset) -> Dataset:
    """As another host sees it, where nothing lies in that folder."""
    return replace(dataset, folder=Path("/nowhere") / dataset.digest)


def test_a_host_gets_the_same_rows_and_not_the_held_out_ones(prepared: Dataset, tmp_path: Path) -> None:
    source = publish(prepared, "store", tmp_path)
    found = here(elsewhere(prepared), source, tmp_path / "cache")
    assert found.folder == tmp_path / "cache" / prepared.digest
    assert np.array_equal(load(found).features, load(prepared).features, equal_nan=True)
    for folder in (tmp_path / "store", tmp_path / "cache"):
        assert not [*folder.rglob("holdout*")]


def test_who_shares_the_drivers_disk_fetches_nothing(prepared: Dataset, tmp_path: Path) -> None:
    assert here(prepared, None, tmp_path / "cache") is prepared
    assert not (tmp_path / "cache").exists()


def test_a_host_fetches_once_however_many_workers_it_has(prepared: Dataset, tmp_path: Path) -> None:
    source = publish(prepared, str(tmp_path / "store"), tmp_path)
    with ThreadPoolExecutor(8) as workers:
        found = {*workers.map(lambda _: here(elsewhere(prepared), source, tmp_path / "cache").folder, range(8))}
    shutil.rmtree(tmp_path / "store")
    assert {here(elsewhere(prepared), source, tmp_path / "cache").folder} == found


def test_what_was_changed_in_the_store_is_refused(prepared: Dataset, tmp_path: Path) -> None:
    source = publish(prepared, "store", tmp_path)
    assert source is not None
    with (Path(source.address) / "target.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"\xff")
    with pytest.raises(InputError, match=r"target\.npy is not what was put there"):
        here(elsewhere(prepared), source, tmp_path / "cache")
    assert not (tmp_path / "cache" / prepared.digest).exists()


def test_a_store_that_cannot_be_read_or_is_not_named_is_said(prepared: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"executor\.store"):
        here(elsewhere(prepared), None, tmp_path / "cache")
    source = publish(prepared, "store", tmp_path)
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(InputError, match="cannot be fetched"):
        here(elsewhere(prepared), source, tmp_path / "cache")
