"""Lists in parts: an opaque text says where the next part begins, and finds it at the same cost however far it is."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from engine.runtime.service.errors import BadRequest, NotFound
from engine.runtime.service.storable import is_storable

LIMIT = 50
MOST = 200
ID = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")
R = TypeVar("R")


class Page(BaseModel, Generic[T]):
    """Part of a list. `next` is the cursor of what follows; None at the end."""

    model_config = ConfigDict(frozen=True)

    items: tuple[T, ...]
    next: str | None = None


def cursor_of(place: str) -> str:
    """A place in a list, such as the last id of a page, as an opaque text."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> str | None:
    """The place that a cursor was made of; None without one. Raises BadRequest."""
    if cursor is None:
        return None
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        place = None
    if not isinstance(place, str) or not is_storable(place):
        raise BadRequest("this cursor leads nowhere", hint="Give back `next` as it came, or none for the first part.")
    return place


def bounded(limit: int) -> int:
    """The number of rows that a page holds. Raises BadRequest where it is not 1 to 200."""
    if not 1 <= limit <= MOST:
        raise BadRequest(f"a list gives 1 to {MOST} rows at a time, not {limit}")
    return limit


def page_of(rows: Sequence[R], limit: int, place: Callable[[R], str], made: Callable[[R], T]) -> Page[T]:
    """The page of rows that were asked for with one more than `limit`."""
    shown = rows[:limit]
    return Page(items=tuple(map(made, shown)), next=cursor_of(place(shown[-1])) if len(rows) > limit else None)


def known_id(noun: str, id_: str) -> str:
    """The id. Raises NotFound where no row can have it."""
    if not ID.fullmatch(id_):
        raise NotFound(noun, id_)
    return id_


def like(part: str) -> str:
    """What LIKE ... ESCAPE '!' finds a part of a text by, in small letters."""
    escaped = part.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"
