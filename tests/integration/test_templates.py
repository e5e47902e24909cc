"""The workflows that ship give what plain Python and pandas, without the engine, make of the same files."""

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from engine.checks import check
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Workflow, load, save
from studio.templates import make_data
from tests.support.build import Ran, chain, node, run

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "studio" / "templates"
DATA = ROOT / "tests" / "data"
NAMES = sorted(file.stem for file in TEMPLATES.glob("*.json"))
Rows = list[dict[str, Any]]
Results = dict[str, Any]  # label -> items of `main`, or output -> items where there is none


def text(name: str) -> str:
    return (TEMPLATES / f"{name}.json").read_text(encoding="utf-8")


def calls() -> list[Any]:
    return [json.loads(line) for line in (DATA / "new_order_webhook.input.ndjson").read_text().splitlines()]


def run_template(name: str, items: Rows | None = None) -> tuple[Workflow, Ran]:
    workflow = load(text(name))
    return workflow, run(workflow, services=LocalServices(folders=[TEMPLATES]), items=items)


def results(name: str) -> Results:
    """Label -> result, as the engine gives it."""
    workflow, ran = run_template(name, calls() if name == "new_order_webhook" else None)
    assert ran.status == "succeeded"
    return {n.label: ran[n.id] for n in workflow.nodes}


def tidy(value: Any) -> Any:
    """The value with Decimals as numbers, and numbers to a millionth: sums differ in the last bit with their order."""
    if isinstance(value, dict):
        return {key: tidy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [tidy(inner) for inner in value]
    return round(float(value), 6) if isinstance(value, (float, Decimal)) else value


# The same by hand: money in Decimal, so that nothing is rounded that the data does not round.


def by_first(rows: Rows, *names: str) -> dict[Any, Rows]:
    """Rows by the values of some fields, in the order in which those first appear."""
    groups: dict[Any, Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def order_rows() -> Rows:
    with (TEMPLATES / "orders.csv").open(encoding="utf-8", newline="") as file:
        return [
            {
                **row,
                "quantity": int(row["quantity"]),
                "unit_price": Decimal(row["unit_price"]),
                "discount": Decimal(row["discount"]) if row["discount"] else None,
            }
            for row in csv.DictReader(file)
        ]


def revenue(row: dict[str, Any]) -> Decimal:
    return row["quantity"] * row["unit_price"] * (1 - (row["discount"] or 0))


def orders_by_country() -> Results:
    orders = order_rows()
    kept = [row for row in orders if row["status"] == "completed" and row["quantity"] * row["unit_price"] >= 20]
    priced = [{**row, "revenue": revenue(row)} for row in kept]
    summed = [
        {
            "country": country,
            "revenue": sum(row["revenue"] for row in rows),
            "orders": len(rows),
            "largest_order": max(row["revenue"] for row in rows),
        }
        for (country,), rows in by_first(priced, "country").items()
    ]
    return {
        "Orders": orders,
        "Completed, 20 or more": kept,
        "Revenue": priced,
        "By country": summed,
        "Best first": sorted(summed, key=lambda row: -row["revenue"]),
    }


def orders_with_customers() -> Results:
    """With pandas, in whole cents."""
    ids = {"order_id": str, "customer_id": str}
    orders = pd.read_csv(TEMPLATES / "orders.csv", dtype=ids, keep_default_na=False, na_values={"discount": [""]})
    customers = pd.read_csv(TEMPLATES / "customers.csv", dtype=ids, keep_default_na=False)
    completed = orders[orders.status == "completed"]
    both = completed.merge(customers, how="left", on="customer_id", suffixes=("", "_of_customer"), indicator="found")
    known, unknown = both[both.found == "both"], both[both.found == "left_only"]

    def cents(frame: pd.DataFrame) -> pd.Series:
        price = (frame.unit_price * 100).round().astype(int)
        percent = 100 - (frame.discount.fillna(0) * 100).round().astype(int)
        return frame.quantity * price * percent // 100

    best = (
        known.assign(cents=cents(known))
        .groupby(["customer_id", "name", "segment"], sort=False)
        .agg(cents=("cents", "sum"), orders=("order_id", "count"), last_order=("ordered_at", "max"))
        .reset_index()
    )
    best = best.assign(revenue=best.cents / 100).drop(columns="cents")
    by_customer = best[["customer_id", "name", "segment", "revenue", "orders", "last_order"]]
    first = by_customer.sort_values("revenue", ascending=False, kind="stable")
    guests = (
        unknown.assign(cents=cents(unknown))
        .groupby("channel", sort=False)
        .agg(orders=("order_id", "count"), pieces=("quantity", "sum"), largest_order=("cents", "max"))
        .reset_index()
    )
    guests = guests.assign(largest_order=guests.largest_order / 100)
    figures = first.head(10).assign(segment=lambda f: f.segment.replace("", "unknown"))
    figures = figures.assign(per_order=(figures.revenue / figures.orders).round(2))
    return {
        "By customer": by_customer.to_dict("records"),
        "Best first": first.to_dict("records"),
        "Top 10": first.head(10).to_dict("records"),
        "Figures": figures.to_dict("records"),
        "Without an account": guests.to_dict("records"),
    }


def new_order_webhook() -> Results:
    eu = ["AT", "ES", "FR", "IE", "IT", "NL", "PL", "SE"]
    accepted: list[Rows] = [[], [], []]
    for body in calls():
        if "@" not in body["email"] or not body["lines"] or any(line["quantity"] < 1 for line in body["lines"]):
            continue
        goods = sum(line["quantity"] * Decimal(str(line["unit_price"])) for line in body["lines"])
        zone = 0 if body["country"] == "DE" else 1 if body["country"] in eu else 2
        shipping = [0 if goods >= 40 else Decimal("3.9"), 0 if goods >= 80 else Decimal("8.9"), Decimal("18.5")][zone]
        order = {name: body[name] for name in ("order_id", "email", "country")}
        lines = len(body["lines"])
        total = goods + shipping
        summary = f"{lines} line{'s' if lines > 1 else ''}, {total:.2f} EUR with shipping"
        order |= {"lines": lines, "goods": goods, "shipping": shipping, "total": total, "summary": summary}
        accepted[zone].append(order)
    taken = {row["order_id"] for rows in accepted for row in rows}
    refused = [
        {name: body[name] for name in ("order_id", "email", "country", "lines")}
        for body in calls()
        if body["order_id"] not in taken
    ]
    return {"Accept": [row for rows in accepted for row in rows], "Refuse": refused}


BY_HAND: dict[str, Callable[[], Results]] = {
    "orders_by_country": orders_by_country,
    "orders_with_customers": orders_with_customers,
    "new_order_webhook": new_order_webhook,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_template_gives_what_the_same_by_hand_gives(name):
    found = results(name)
    for label, rows in BY_HAND[name]().items():
        assert tidy(found[label]) == tidy(rows), label


def fits(found: Any, wanted: Any) -> bool:
    """Whether a result is as expected: a list in full, `{"count", "first"}` of a long one, either by output name."""
    if isinstance(wanted, list):
        return bool(tidy(found) == tidy(wanted))
    if "count" in wanted:
        return len(found) == wanted["count"] and fits(found[: len(wanted["first"])], wanted["first"])
    return found.keys() == wanted.keys() and all(fits(found[output], wanted[output]) for output in wanted)


@pytest.mark.parametrize("name", NAMES)
def test_every_node_of_a_template_gives_what_its_expected_file_says(name):
    expected = json.loads((DATA / f"{name}.expected.json").read_text(encoding="utf-8"))
    found = results(name)
    assert found.keys() == expected.keys()
    assert [label for label in expected if not fits(found[label], expected[label])] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_the_text_that_saving_it_gives(name):
    assert save(load(text(name))) == text(name)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wrong_with_a_template(name):
    assert check(load(text(name)), Registry()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_drawn_from_top_to_bottom_with_room_for_the_panes(name):
    workflow = load(text(name))
    for connection in workflow.connections:
        source, target = workflow.node(connection.source), workflow.node(connection.target)
        assert source is not None and target is not None
        assert target.position[1] - source.position[1] >= 160, (source.label, target.label)
    rows: dict[float, list[float]] = {}
    for drawn in workflow.nodes:
        rows.setdefault(drawn.position[1], []).append(drawn.position[0])
    assert all(right - left >= 320 for places in rows.values() for left, right in pairwise(sorted(places)))


GOOD = {
    "order_id": "W-9",
    "email": "ada@example.com",
    "country": "DE",
    "lines": [{"product": "Moka Pot", "quantity": 1, "unit_price": 29.6}],
}


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        "an order",
        [GOOD],
        {},
        GOOD | {"order_id": None},
        GOOD | {"order_id": ["W-9"]},
        GOOD | {"email": {"at": "example.com"}},
        GOOD | {"country": "Germany"},
        GOOD | {"lines": "one Moka Pot"},
        GOOD | {"lines": {"quantity": 1, "unit_price": 29.6}},
        GOOD | {"lines": [1]},
        GOOD | {"lines": [None]},
        GOOD | {"lines": [{"unit_price": 29.6}]},
        GOOD | {"lines": [{"quantity": "1", "unit_price": 29.6}]},
        GOOD | {"lines": [{"quantity": 0.5, "unit_price": 29.6}]},
        GOOD | {"lines": [{"quantity": 1, "unit_price": -1}]},
        GOOD | {"lines": [*GOOD["lines"], {"quantity": 1}]},
    ],
    ids=lambda body: json.dumps(body)[-40:],
)
def test_the_webhook_refuses_whatever_is_no_order_and_fails_on_nothing(body):
    workflow, ran = run_template("new_order_webhook", [{"body": body}])
    by_label = {n.label: n.id for n in workflow.nodes}
    assert ran.status == "succeeded"
    assert (len(ran[by_label["Accept"]]), len(ran[by_label["Refuse"]])) == (0, 1)


def test_the_webhook_can_be_tried_with_its_pinned_call():
    workflow, ran = run_template("new_order_webhook")
    accept = next(n.id for n in workflow.nodes if n.label == "Accept")
    assert [row["summary"] for row in ran[accept]] == ["2 lines, 48.70 EUR with shipping"]


def test_the_example_of_read_file_is_among_the_samples():
    reading = chain(node("cities", "core.read_file", {"path": "examples/cities.csv"}))
    ran = run(reading, services=LocalServices(folders=[TEMPLATES]))
    assert ran["cities"] == [{"city": "Bergen", "inhabitants": 291940}, {"city": "Cork", "inhabitants": 224004}]


@pytest.mark.parametrize("name", make_data.files())
def test_the_data_is_what_the_generator_makes(name, tmp_path):
    make_data.write(tmp_path)
    assert (TEMPLATES / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_data_is_small():
    assert sum(file.stat().st_size for file in TEMPLATES.rglob("*.csv")) < 500_000


def test_the_data_is_of_one_piece():
    orders = order_rows()
    with (TEMPLATES / "customers.csv").open(encoding="utf-8", newline="") as file:
        customers = {row["customer_id"]: row for row in csv.DictReader(file)}
    assert [row["order_id"] for row in orders] == [f"{number:06}" for number in range(1, 4001)]
    assert list(customers) == [f"{number:04}" for number in range(1, 321)]
    assert [row["ordered_at"] for row in orders] == sorted(row["ordered_at"] for row in orders)
    assert all(revenue(row) == round(revenue(row), 2) for row in orders), "every sum is whole cents"
    buyers = [(row, customers[row["customer_id"]]) for row in orders if row["customer_id"] in customers]
    assert all(row["ordered_at"] >= customer["joined_on"] for row, customer in buyers)
    emails = [row["email"] for row in customers.values() if row["email"]]
    assert len(set(emails)) == len(emails)
    assert all(email.isascii() and email.endswith("@example.com") for email in emails)


def test_the_data_is_like_that_of_a_shop():
    orders = order_rows()
    months = pd.Series([row["ordered_at"][:7] for row in orders]).value_counts()
    assert months.idxmax() == "2025-12"
    assert months["2025-12"] > 2 * months["2025-07"]
    statuses = pd.Series([row["status"] for row in orders]).value_counts(normalize=True)
    assert set(statuses.index) == {"completed", "returned", "cancelled", "pending"}
    assert statuses["completed"] > 0.85
    buyers = pd.Series([row["customer_id"] for row in orders]).value_counts()
    assert buyers.drop("").head(10).sum() > 0.2 * len(orders), "a few customers buy much"
    assert {name for row in orders for name, value in row.items() if value in ("", None)} == {
        "customer_id",
        "discount",
        "channel",
    }
