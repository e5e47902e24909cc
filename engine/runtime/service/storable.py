"""What a database and our own code can take of what comes from outside."""

from typing import Any

from engine.runtime.service.errors import BadRequest

# Params are walked through by functions that call themselves, and written by libraries that give up at 250.
DEEPEST = 100
HOLDERS = (dict, list, tuple)


def is_storable(text: str) -> bool:
    """Whether a database takes the text: PostgreSQL knows no NUL character, and UTF-8 no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def storable(text: str, what: str) -> str:
    """The text. Raises BadRequest where a database would not take it."""
    if not is_storable(text):
        raise BadRequest(f"{what} holds a character that cannot be stored: NUL, or half a surrogate pair")
    return text


def shallow(value: Any, what: str) -> Any:
    """The value. Raises BadRequest where lists and objects stand in it more than 100 deep."""
    if is_deeper(value, DEEPEST):
        raise BadRequest(f"{what} is nested more than {DEEPEST} deep")
    return value


def is_deeper(value: Any, most: int) -> bool:
    """Whether more than `most` lists and objects stand in each other."""
    level = [value] if isinstance(value, HOLDERS) else []
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, HOLDERS)
        ]
        if not level:
            return False
    return bool(level)
