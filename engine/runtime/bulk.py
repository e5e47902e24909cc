"""Many rows in one step of the database.

SQLite's driver gives up the interpreter for each row that it writes or reads, and a thread gets it back when the others
let it: under load that is half of its time, and some of theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Connection, text

# Rows of one statement: few different numbers, so that they are kept prepared; two or three statements make any other.
SIZES = (96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
Row = Sequence[Any]


def insert(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row], more: str = "") -> None:
    """Insert rows; their values in the order of `columns`, as the driver takes them.

    Args:
        more: what stands behind the values, such as ON CONFLICT DO NOTHING.
    """
    mark = _mark(connection)
    for some in _parts(rows):
        connection.exec_driver_sql(_insert(table, tuple(columns), len(some), mark, more), _flat(some))


def update(
    connection: Connection, table: str, columns: Sequence[str], types: Sequence[str], rows: Sequence[Row]
) -> None:
    """Set columns of the rows whose `id` is the first value.

    Args:
        columns: those to set; the values behind the id, in this order.
        types: SQL types of these columns.
    """
    mark = _mark(connection)
    for some in _parts(rows):
        connection.exec_driver_sql(_update(table, tuple(columns), tuple(types), len(some), mark), _flat(some))


def select(connection: Connection, columns: Sequence[str], rest: str, values: Mapping[str, Any]) -> Sequence[Row]:
    """Rows of text, numbers and null; `rest` is what stands behind the columns, from FROM on."""
    names = [column.rpartition(" AS ")[2].rpartition(".")[2] for column in columns]
    inner = f"SELECT {', '.join(columns)} {rest}"
    if connection.dialect.name != "sqlite":
        return connection.execute(text(inner), values).all()
    statement = f"SELECT json_group_array(json_array({', '.join(names)})) FROM ({inner})"  # noqa: S608
    found: list[Row] = orjson.loads(connection.execute(text(statement), values).scalar_one())
    return found


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.name == "sqlite" else "%s"


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    for size in SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _flat(rows: Sequence[Row]) -> tuple[Any, ...]:
    return tuple(value for row in rows for value in row)


@cache
def _insert(table: str, columns: tuple[str, ...], count: int, mark: str, more: str) -> str:
    row = "(" + ", ".join([mark] * len(columns)) + ")"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * count)} {more}"  # noqa: S608


@cache
def _update(table: str, columns: tuple[str, ...], types: tuple[str, ...], count: int, mark: str) -> str:
    # PostgreSQL takes the types from the first row.
    first = "(" + ", ".join([mark, *(f"CAST({mark} AS {type_})" for type_ in types)]) + ")"
    other = "(" + ", ".join([mark] * (len(columns) + 1)) + ")"
    values = ", ".join([first, *[other] * (count - 1)])
    sets = ", ".join(f"{name} = given.column{place}" for place, name in enumerate(columns, 2))
    return f"UPDATE {table} SET {sets} FROM (VALUES {values}) AS given WHERE {table}.id = given.column1"  # noqa: S608
