"""Rows made short for the screen: long values are cut where a person sees it, and named for programs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

TEXT_CHARACTERS = 1_000
ELEMENTS = 50
DEPTH = 8
# Of one field with all that is inside it, in values of at most TEXT_CHARACTERS: the product of the limits above is no
# limit.
VALUES = 500


class Cut(NamedTuple):
    """One value that was cut.

    Attributes:
        row: its row, counted from 0 among those given.
        path: the names and positions that lead to it, such as `("body", "lines", 3)`.
        kind: "text", "list" or "object"; what was nested too deeply is of its kind, with nothing kept.
        size: how long it really is: characters, elements or fields.
    """

    row: int
    path: tuple[str | int, ...]
    kind: str
    size: int


class CutRows(NamedTuple):
    """Rows with what was cut in them.

    A cut text ends in `… (12,345 characters)`; a cut list has a last element `… 950 more`; a cut object a last field
    `…` that says `950 more`.
    """

    rows: list[dict[str, Any]]
    cuts: tuple[Cut, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """`{"rows", "cuts": [{"row", "path", "kind", "size"}]}`."""
        return {"rows": self.rows, "cuts": [{**one._asdict(), "path": list(one.path)} for one in self.cuts]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CutRows":
        """What `as_json` described."""
        cuts = (Cut(one["row"], tuple(one["path"]), one["kind"], one["size"]) for one in data["cuts"])
        return cls(data["rows"], tuple(cuts))


def cut(rows: Iterable[Mapping[str, Any]], limit: int = TEXT_CHARACTERS) -> CutRows:
    """The rows with texts of at most `limit` characters, lists and objects of at most 50 elements, 8 deep.

    Rows stay as they are, and are the same objects, where nothing has to be cut. Top-level fields are all kept.
    """
    found: list[Cut] = []
    made: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        changed: dict[str, Any] = {}
        for name, value in row.items():
            kind = type(value)
            if (kind is str and len(value) > limit) or kind is list or kind is dict:
                shorter = _Cutter(number, limit, found).short(value, (name,))
                if shorter is not value:
                    changed[name] = shorter
        made.append({**row, **changed} if changed or type(row) is not dict else row)
    return CutRows(made, tuple(found))


class _Cutter:
    """Cuts one field of one row."""

    def __init__(self, row: int, limit: int, found: list[Cut]) -> None:
        self.row = row
        self.limit = limit
        self.found = found
        self.left = VALUES

    def short(self, value: Any, path: tuple[str | int, ...]) -> Any:
        """The value itself where it is short enough."""
        self.left -= 1
        if isinstance(value, str):
            return value if len(value) <= self.limit else self._short_text(value, path)
        if isinstance(value, dict):
            return self._short_object(value, path)
        return self._short_list(value, path) if isinstance(value, list) else value

    def _short_text(self, text: str, path: tuple[str | int, ...]) -> str:
        self._cut(path, "text", len(text))
        return f"{text[: self.limit]}… ({len(text):,} characters)"

    def _short_list(self, values: list[Any], path: tuple[str | int, ...]) -> list[Any]:
        made: list[Any] = []
        for index, value in enumerate(values):
            if self._is_full(len(made), path):
                self._cut(path, "list", len(values))
                return [*made, f"… {len(values) - index:,} more"]
            made.append(self.short(value, (*path, index)))
        return values if all(a is b for a, b in zip(made, values, strict=True)) else made

    def _short_object(self, fields: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in fields.items():
            if self._is_full(len(made), path):
                self._cut(path, "object", len(fields))
                return {**made, "…": f"{len(fields) - len(made):,} more"}
            made[name] = self.short(value, (*path, name))
        return fields if all(made[name] is value for name, value in fields.items()) else made

    def _is_full(self, count: int, path: tuple[str | int, ...]) -> bool:
        return count >= ELEMENTS or len(path) > DEPTH or self.left <= 0

    def _cut(self, path: tuple[str | int, ...], kind: str, size: int) -> None:
        self.found.append(Cut(self.row, path, kind, size))


def is_long(rows: Sequence[Mapping[str, Any]], characters: int = 200_000, values: int = 4_000) -> bool:
    """Whether the rows hold very long texts, or very many values. Looks at so many values and no further."""
    waiting: list[Any] = list(rows[:values])
    seen = size = 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if type(value) is str:
            size += len(value)
        elif isinstance(value, (list, Mapping)):
            if len(value) > values:
                return True
            waiting.extend(value.values() if isinstance(value, Mapping) else value)
        if size > characters or seen > values:
            return True
    return False
