"""Paths of webhooks, looked up."""

from engine.runtime.webhooks.routes import Route, Table, shape_of


def route(path: str) -> Route:
    return Route("w", "p", "r", "n", path, {}, "async", 1, False, frozenset({"POST"}), "at_once")


def found(path: str, *paths: str) -> tuple[str, dict[str, str]] | None:
    match = Table(map(route, paths)).match(path)
    return (match[0].path, match[1]) if match is not None else None


def test_a_path_is_found_whole_only() -> None:
    assert found("orders", "orders") == ("orders", {})
    for path in ("order", "orders/", "orders/1", "/orders", "", "Orders"):
        assert found(path, "orders") is None


def test_a_name_stands_for_one_part_that_is_not_empty() -> None:
    assert found("shops/north/orders", "shops/:shop/orders") == ("shops/:shop/orders", {"shop": "north"})
    for path in ("shops//orders", "shops/a/b/orders", "shops/orders"):
        assert found(path, "shops/:shop/orders") is None


def test_what_is_written_out_goes_before_a_name_in_every_part() -> None:
    paths = ("a/:x", "a/b", ":y/b", "a/:x/c", "a/b/d")
    assert found("a/b", *paths) == ("a/b", {})
    assert found("a/z", *paths) == ("a/:x", {"x": "z"})
    assert found("z/b", *paths) == (":y/b", {"y": "z"})


def test_a_part_that_leads_nowhere_gives_way_to_a_name() -> None:
    paths = ("a/b/d", "a/:x/c", ":y/:z/e")
    assert found("a/b/c", *paths) == ("a/:x/c", {"x": "b"})
    assert found("a/b/e", *paths) == (":y/:z/e", {"y": "a", "z": "b"})


def test_two_workflows_may_name_one_part_differently() -> None:
    paths = ("a/:one/x", "a/:other/y")
    assert found("a/1/x", *paths) == ("a/:one/x", {"one": "1"})
    assert found("a/1/y", *paths) == ("a/:other/y", {"other": "1"})


def test_of_two_with_one_shape_the_later_one_answers() -> None:
    assert found("a/1", "a/:one", "a/:other") == ("a/:other", {"other": "1"})


def test_a_path_of_many_parts_is_looked_up_no_deeper_than_there_are_routes() -> None:
    assert found("/".join("a" * 100_000), "a/:x") is None


def test_paths_that_answer_to_the_same_addresses_have_one_shape() -> None:
    assert shape_of("shops/:shop/orders") == shape_of("shops/:s/orders") == "shops/:/orders"
    assert shape_of("orders") == "orders"
