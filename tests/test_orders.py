"""Orders as they are typed, and the queue that keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.errors import InputError
from hpo.orders import Order, Orders, parse


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ("pause", Order("pause", None, "ada")),
        (" extend  20 ", Order("extend", 20, "ada")),
        ("prune 0", Order("prune", 0, "ada")),
        ('enqueue {"x": 1.5, "kind": "b"}', Order("enqueue", {"x": 1.5, "kind": "b"}, "ada")),
    ],
)
def test_an_order_as_it_is_typed(words: str, order: Order) -> None:
    assert parse(words, "ada") == order
    assert parse(str(order), "ada") == order


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("paus", "did you mean 'pause'"), ("", "is no order"), ("stop now", "takes nothing"),
        ("extend", "by how many"), ("extend 0", "by how many"), ("extend -3", "by how many"), ("prune x", "the number"),
        ("enqueue", "not JSON"), ("enqueue {x: 1}", "not JSON"), ("enqueue [1]", "wants parameters"),
    ],
)  # fmt: skip
def test_what_is_none(words: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(words, "ada")


def test_the_queue(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "toy.journal")
    assert (orders.after(0), orders.changed) == ([], False)
    first = orders.put(Order("extend", 3, "ada"))
    assert (orders.changed, orders.changed) == (True, False)
    second = orders.put(Order("stop", None, "eve"), key="a tag")
    assert orders.put(Order("pause", None, "eve"), key="a tag") == second
    assert orders.after(0) == [Order("extend", 3, "ada", first), Order("stop", None, "eve", second)]
    orders.withdraw(second)
    assert Orders(tmp_path / "toy.journal").after(first) == []
    assert orders.put(Order("pause", None, "ada")) > second  # a number is never given twice
