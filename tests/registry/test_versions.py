"""Writes to the registry that rivals make at the same instant."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from mlflow import MlflowClient

from hpo.registry.versions import note


def test_the_same_new_tag_from_several_at_once_costs_nobody_his_write(uri: str) -> None:
    client = MlflowClient(uri, uri)
    client.create_registered_model("segment")
    rivals, keys = 4, [f"hpo.done.{n}" for n in range(20)]
    together = Barrier(rivals)

    def write(rival: int) -> None:
        for key in keys:
            together.wait(timeout=60)
            note(MlflowClient(uri, uri), "segment", key, f"{rival}")

    with ThreadPoolExecutor(rivals) as pool:
        list(pool.map(write, range(rivals)))
    assert set(client.get_registered_model("segment").tags) == set(keys)
