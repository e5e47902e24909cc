"""Writes customers.csv and orders.csv: a year of a small shop for coffee and tea. All of it is invented.

The same text comes out on every machine. To write the files anew: python studio/templates/make_data.py
"""

import csv
import io
import unicodedata
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TypeVar

T = TypeVar("T")
Row = Sequence[str]

SEED = 2025
FIRST_DAY = date(2025, 1, 1)
DAYS = 365
ORDERS = 4_000
CUSTOMERS = 320
# Accounts that were closed: their orders stay, and no customer has their id.
CLOSED = [f"{number:04}" for number in range(901, 913)]

CUSTOMER_FIELDS = ("customer_id", "name", "email", "country", "segment", "joined_on")
ORDER_FIELDS = (
    "order_id",
    "ordered_at",
    "customer_id",
    "country",
    "product",
    "category",
    "quantity",
    "unit_price",
    "discount",
    "channel",
    "status",
)

# Country -> share of the customers, given names, family names.
PEOPLE: Mapping[str, tuple[int, str, str]] = {
    "DE": (
        30,
        "Anna Jürgen Lena Paul Sabine Uwe Greta Malte Nele Jonas Birgit Kemal Ayşe Tobias",
        "Schäfer Vogt Krüger Brandt Weiß Lorenz Pohl Arnold Yıldız Seidel Böhm Franke Jansen Thiel",
    ),
    "FR": (
        16,
        "Zoé Hélène Luc Mathieu Inès Rémi Claire Yasmine Thomas Margot",
        "Lefèvre Moreau Garnier Chevalier Besson Rolland Noël Benali Fabre Caron",
    ),
    "NL": (12, "Sanne Daan Femke Joris Lotte Bram Maud Ravi", "Visser Bakker Dekker Kuipers Hoekstra Postma Blom Smit"),
    "IT": (10, "Giulia Marco Chiara Nicolò Elena Dario Sara", "Ferrari Conti Gallo Rinaldi Marchetti Bellini Serra"),
    "AT": (9, "Theresa Lukas Magdalena Florian Eva Matthias", "Gruber Steiner Höller Lechner Eder Novak"),
    "ES": (8, "Lucía Íñigo Marta Álvaro Pilar Jordi", "Muñoz Ortega Ibáñez Navarro Sáez Puig"),
    "IE": (5, "Aoife Seán Niamh Declan Ciara", "O'Brien Byrne Gallagher Kearney Nolan"),
    "SE": (4, "Åsa Björn Elin Göran", "Lindqvist Åberg Nyström Holm"),
    "NO": (3, "Øystein Ingrid Sigrid Håkon", "Bakke Sørensen Haugen Lie"),
    "PL": (3, "Łukasz Zofia Michał Agnieszka", "Wójcik Mazur Zieliński Król"),
}
SEGMENTS = {"home": 80, "office": 13, "cafe": 7}
# Segment -> how much more often than a home it orders, and how many of a thing at most.
HABITS = {"home": (1, 3), "office": (3, 6), "cafe": (9, 12), "": (1, 3)}

# Product -> category, price in cents, how often it is bought. With prices in steps of 20 cents and discounts in steps
# of 5 %, every sum is whole cents: nobody has to ask how a half was rounded.
PRODUCTS: Mapping[str, tuple[str, int, int]] = {
    "Espresso Notte 1 kg": ("Coffee", 2480, 22),
    "Filter Alba 500 g": ("Coffee", 1360, 20),
    "Decaf Luna 500 g": ("Coffee", 1440, 9),
    "House Blend 250 g": ("Coffee", 780, 24),
    "Huila Single Farm 250 g": ("Coffee", 1120, 11),
    "Earl Grey 100 g": ("Tea", 680, 14),
    "Sencha 100 g": ("Tea", 960, 9),
    "Rooibos 100 g": ("Tea", 540, 8),
    "Mint Leaves 50 g": ("Tea", 460, 9),
    "Chai Mix 200 g": ("Tea", 820, 8),
    "Paper Filters, 100 pieces": ("Brewing", 420, 16),
    "Pour-over Cone": ("Brewing", 1480, 6),
    "Moka Pot": ("Brewing", 2960, 5),
    "French Press 1 l": ("Brewing", 3440, 4),
    "Hand Grinder": ("Brewing", 4980, 4),
    "Gooseneck Kettle": ("Brewing", 5960, 2),
    "Espresso Cup": ("Cups", 640, 8),
    "Stoneware Mug": ("Cups", 1180, 9),
    "Tea Glass, double wall": ("Cups", 1260, 5),
    "Travel Mug": ("Cups", 2240, 5),
    'Gift Box "Sunday"': ("Gifts", 2980, 4),
    "Tasting Set of Six": ("Gifts", 3860, 4),
}
COFFEE_RISES_ON, COFFEE_RISES_BY = date(2025, 7, 1), 40  # cents

# By month and by weekday from Monday: quiet summers, busy weeks before Christmas, little on Saturdays.
MONTHS = (9, 8, 8, 7, 7, 5, 5, 5, 8, 10, 15, 17)
WEEKDAYS = (12, 11, 10, 10, 9, 6, 10)
HOURS = (1, 0, 0, 0, 0, 1, 3, 6, 9, 11, 11, 10, 9, 8, 8, 8, 9, 10, 12, 15, 16, 13, 8, 4)
# Category -> how much more of it is bought, by month.
SEASONS = {
    "Coffee": (10, 10, 10, 10, 10, 9, 9, 9, 10, 10, 10, 10),
    "Tea": (15, 14, 11, 8, 7, 5, 5, 6, 9, 13, 15, 15),
    "Brewing": (9, 9, 9, 10, 10, 10, 10, 10, 10, 10, 13, 14),
    "Cups": (8, 8, 9, 10, 11, 12, 12, 11, 10, 9, 11, 14),
    "Gifts": (4, 9, 4, 6, 9, 4, 3, 3, 4, 7, 20, 36),
}
CHANNELS = {"web": 66, "app": 20, "phone": 8, "market": 4, "": 2}
RETURNED = {"Coffee": 0.02, "Tea": 0.02, "Brewing": 0.11, "Cups": 0.09, "Gifts": 0.05}
FOLDED = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "ı": "i", "'": ""})


class Chance:
    """Choices by chance, all made of `random()`: of this class only that sequence never changes.

    https://docs.python.org/3/library/random.html#notes-on-reproducibility, read 2026-11-23.
    """

    def __init__(self, seed: int) -> None:
        self._random: Callable[[], float] = Random(seed).random

    def below(self, limit: int) -> int:
        """A whole number from 0 up to `limit`, which is not among them."""
        return int(self._random() * limit)

    def happens(self, share: float) -> bool:
        """True so often; 1 is always."""
        return self._random() < share

    def one_of(self, values: Sequence[T]) -> T:
        """Any of the values, all alike."""
        return values[self.below(len(values))]

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One of the keys, each as often as its weight says."""
        sums = list(accumulate(weights.values()))
        return list(weights)[bisect(sums, self._random() * sums[-1])]


def customers(chance: Chance) -> list[Row]:
    """The rows of customers.csv, in the order in which they joined. Some left no email or said no segment."""
    first, last = date(2022, 3, 1), date(2025, 11, 30)
    joined = sorted(first + timedelta(days=chance.below((last - first).days)) for _ in range(CUSTOMERS))
    rows: list[Row] = []
    taken: set[str] = set()
    for number, day in enumerate(joined, 1):
        country = chance.weighted({code: share for code, (share, _, _) in PEOPLE.items()})
        _, given, family = PEOPLE[country]
        name = f"{chance.one_of(given.split())} {chance.one_of(family.split())}"
        email = _email(name, taken) if chance.happens(0.95) else ""
        segment = chance.weighted(SEGMENTS) if chance.happens(0.97) else ""
        rows.append((f"{number:04}", name, email, country, segment, day.isoformat()))
    return rows


def _email(name: str, taken: set[str]) -> str:
    """An address of their own at a domain that nobody can have (RFC 2606, 3)."""
    plain = unicodedata.normalize("NFKD", name.lower().translate(FOLDED))
    stem = "".join(c for c in plain if c.isascii()).replace(" ", ".")
    copies = (f"{stem}{number}" for number in range(2, CUSTOMERS + 2))
    local = stem if stem not in taken else next(copy for copy in copies if copy not in taken)
    taken.add(local)
    return f"{local}@example.com"


def orders(chance: Chance, known: Sequence[Row]) -> list[Row]:
    """The rows of orders.csv, by time. Guests order without an id; some cells are empty, as people leave them."""
    year = [FIRST_DAY + timedelta(days=n) for n in range(DAYS)]
    weights = {day: MONTHS[day.month - 1] * WEEKDAYS[day.weekday()] for day in year}
    hours = dict(enumerate(HOURS))
    times = sorted((chance.weighted(weights), chance.weighted(hours), chance.below(60)) for _ in range(ORDERS))
    habits = {row[0]: HABITS[row[4]][0] / (1 + chance.below(9)) for row in known}
    return [
        _order(chance, f"{number:06}", day, f"{hour:02}:{minute:02}", known, habits)
        for number, (day, hour, minute) in enumerate(times, 1)
    ]


def _order(
    chance: Chance, order_id: str, day: date, clock: str, known: Sequence[Row], habits: Mapping[str, float]
) -> Row:
    customer_id, country, segment = _buyer(chance, day, known, habits)
    month = day.month - 1
    product = chance.weighted({name: often * SEASONS[kind][month] for name, (kind, _, often) in PRODUCTS.items()})
    category, cents, _ = PRODUCTS[product]
    if category == "Coffee" and day >= COFFEE_RISES_ON:
        cents += COFFEE_RISES_BY
    quantity = 1 + min(chance.below(HABITS[segment][1]), chance.below(HABITS[segment][1] + 2))
    channel = chance.weighted(CHANNELS)
    discount = _discount(chance, day, segment)
    status = _status(chance, day, category)
    return (
        order_id,
        f"{day.isoformat()}T{clock}Z",
        customer_id,
        country,
        product,
        category,
        str(quantity),
        f"{cents // 100}.{cents % 100:02}",
        discount,
        channel,
        status,
    )


def _buyer(chance: Chance, day: date, known: Sequence[Row], habits: Mapping[str, float]) -> tuple[str, str, str]:
    """Who orders, where it is sent, and their segment. Nobody orders before they joined."""
    elsewhere = chance.weighted({code: share for code, (share, _, _) in PEOPLE.items()})
    if chance.happens(0.06):
        return "", elsewhere, "home"
    if chance.happens(0.02):
        return chance.one_of(CLOSED), elsewhere, "home"
    today = day.isoformat()
    buyer = chance.weighted({row: habits[row[0]] for row in known if row[5] <= today})
    return buyer[0], elsewhere if chance.happens(0.03) else buyer[3], buyer[4]


def _discount(chance: Chance, day: date, segment: str) -> str:
    """The share that is taken off, or nothing. Business customers have a contract; late November has a sale."""
    sale = date(2025, 11, 24) <= day <= date(2025, 11, 30)
    if chance.happens(0.7 if sale else 0.4 if segment in ("office", "cafe") else 0.12):
        return chance.one_of(("0.15", "0.2") if sale else ("0.05", "0.1"))
    return ""


def _status(chance: Chance, day: date, category: str) -> str:
    late = day >= FIRST_DAY + timedelta(days=DAYS - 6)
    if late and chance.happens(0.6):
        return "pending"
    if chance.happens(0.04):
        return "cancelled"
    return "returned" if chance.happens(RETURNED[category]) else "completed"


def files() -> dict[str, str]:
    """File name -> text."""
    chance = Chance(SEED)
    known = customers(chance)
    return {
        "customers.csv": _csv(CUSTOMER_FIELDS, known),
        "orders.csv": _csv(ORDER_FIELDS, orders(chance, known)),
    }


def _csv(fields: Sequence[str], rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows(rows)
    return out.getvalue()


def write(folder: Path) -> None:
    """Write the files into `folder`, UTF-8."""
    for name, text in files().items():
        (folder / name).write_bytes(text.encode())


if __name__ == "__main__":
    write(Path(__file__).parent)
