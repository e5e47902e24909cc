"""What an execution is started with, packed."""

from typing import Any

import pytest

from engine.runtime.data.packed import unpack_json
from engine.runtime.orders import Order, pack_items, pack_order, unpack_order


@pytest.mark.parametrize(
    "order",
    [
        Order(),
        Order(items=[]),
        Order(items=[{"a": 2**70, "b": "\ud800"}]),
        Order(items=[{}], same_as="x", held=["a"], reads={"n": "d"}, force=["b"], sample=0, target="t"),
        Order(workflow={"name": "w", "nodes": []}, sample=5),
    ],
)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    found = unpack_order(pack_order(order))
    assert {k: _plain(v) for k, v in found._asdict().items()} == {k: _plain(v) for k, v in order._asdict().items()}


def test_what_is_at_its_default_takes_no_room() -> None:
    assert unpack_json(pack_order(Order(items=[{"a": 1}]))) == {"items": [{"a": 1}]}
    assert unpack_json(pack_order(Order())) == {}


def test_items_alone_are_an_order() -> None:
    assert unpack_order(pack_items([{"a": 1}])) == Order(items=[{"a": 1}])


def test_no_items_and_an_empty_list_of_them_differ() -> None:
    assert unpack_order(pack_items([])).items == []
    assert unpack_order(pack_order(Order())).items is None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
