"""Texts: case, trimming, searching, replacing, padding."""

import re
import unicodedata
from typing import Any

from engine.errors import ExpressionError
from engine.expressions.library import offered
from engine.expressions.scope import LIST_LIMIT, Scope, as_text

offer = offered("text")
SLUG_LIMIT = 10_000  # characters
STRIPPED_LIMIT = 100  # characters

_WORD = re.compile(r"\S+")
_TITLE_WORD = re.compile(r"[^\s\-({\[<]+")
_TAG = re.compile(r"<[^<>]*>")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}


@offer("filter", "method")
def upper(text: str) -> str:
    """The text in capital letters.

    >>> "Ada" | upper
    "ADA"
    """
    return text.upper()


@offer("filter", "method")
def lower(text: str) -> str:
    """The text in small letters.

    >>> item.name | lower
    "ada lovelace"
    """
    return text.lower()


@offer("filter", "method")
def capitalize(text: str) -> str:
    """The first letter as a capital, all others small.

    >>> "aDA" | capitalize
    "Ada"
    """
    return text.capitalize()


@offer("filter", "method")
def title(scope: Scope, text: str) -> str:
    """Every word with a capital first letter.

    >>> "new york's best" | title
    "New York's Best"
    """
    scope.walk(len(text) // 4)
    return _TITLE_WORD.sub(lambda word: word.group().capitalize(), text)


@offer("filter", name="trim")
@offer("method")
def strip(text: str, characters: str | None = None) -> str:
    """The text without spaces (or without these characters) at both ends.

    >>> "  Ada " | trim
    "Ada"
    >>> "--Ada--".strip("-")
    "Ada"
    """
    return text.strip(_few(characters))


@offer("method")
def lstrip(text: str, characters: str | None = None) -> str:
    """The text without spaces (or without these characters) at its start.

    >>> "007".lstrip("0")
    "7"
    """
    return text.lstrip(_few(characters))


@offer("method")
def rstrip(text: str, characters: str | None = None) -> str:
    """The text without spaces (or without these characters) at its end.

    >>> "https://example.com/".rstrip("/")
    "https://example.com"
    """
    return text.rstrip(_few(characters))


def _few(characters: str | None) -> str | None:
    # Every character of the text may be compared with every one of these.
    if characters is not None and len(characters) > STRIPPED_LIMIT:
        raise ExpressionError(f"at most {STRIPPED_LIMIT} characters can be stripped")
    return characters


@offer("filter", "method")
def replace(scope: Scope, text: str, old: str, new: str, count: int | None = None) -> str:
    """The text with `old` replaced by `new`, everywhere or the first `count` times.

    >>> "1,5" | replace(",", ".")
    "1.5"
    """
    found = text.count(old)
    times = found if count is None or count < 0 else min(found, count)
    scope.text(len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, times)


@offer("filter", "method")
def split(text: str, separator: str | None = None, limit: int | None = None) -> list[str]:
    """The parts of the text between separators (or between spaces), cut at most `limit` times.

    >>> "red, green" | split(", ")
    ["red", "green"]
    >>> "a b  c".split()
    ["a", "b", "c"]
    """
    if separator == "":
        raise ExpressionError(
            "split needs a separator of at least one character", hint="`| list` gives the characters."
        )
    times = LIST_LIMIT if limit is None or limit < 0 else min(limit, LIST_LIMIT)
    return text.split(separator, times)


@offer("filter")
@offer("method", name="splitlines")
def lines(text: str) -> list[str]:
    """The lines of the text, without their ends.

    >>> "one\\ntwo\\n" | lines
    ["one", "two"]
    >>> "one\\ntwo".splitlines()
    ["one", "two"]
    """
    found = text.replace("\r\n", "\n").replace("\r", "\n").split("\n", LIST_LIMIT)
    return found[:-1] if found[-1] == "" else found


@offer("filter", "method")
def startswith(text: str, start: str) -> bool:
    """Whether the text begins so.

    >>> item.email.startswith("ada@")
    true
    """
    return text.startswith(start)


@offer("filter", "method")
def endswith(text: str, end: str) -> bool:
    """Whether the text ends so.

    >>> item.email.endswith(".com")
    true
    """
    return text.endswith(end)


@offer("filter", "method")
def removeprefix(text: str, start: str) -> str:
    """The text without this start, if it begins so.

    >>> "SKU-77".removeprefix("SKU-")
    "77"
    """
    return text.removeprefix(start)


@offer("filter", "method")
def removesuffix(text: str, end: str) -> str:
    """The text without this end, if it ends so.

    >>> "report.csv".removesuffix(".csv")
    "report"
    """
    return text.removesuffix(end)


@offer("method")
def find(text: str, part: str, start: int = 0) -> int:
    """The position of the first `part` at or after `start`, counted from 0; -1 if there is none.

    >>> "a-b-c".find("-")
    1
    """
    return text.find(part, start)


@offer("method", name="count")
def count_text(text: str, part: str) -> int:
    """How often `part` occurs.

    >>> "a-b-c".count("-")
    2
    """
    return text.count(part)


@offer("method", name="join")
def join_by(scope: Scope, separator: str, values: list[Any]) -> str:
    """The values as one text, the separator between them.

    >>> ", ".join(item.tags)
    "new, vip"
    """
    texts = [as_text(value, scope) for value in values]
    scope.text(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


@offer("method")
def zfill(scope: Scope, text: str, width: int) -> str:
    """The text with zeros in front, up to this width.

    >>> "7".zfill(3)
    "007"
    """
    scope.text(max(width, len(text)))
    return text.zfill(width)


@offer("filter")
def pad(scope: Scope, value: str | float, width: int, fill: str = " ", side: str = "left") -> str:
    """The value as text, filled up to this width on the `side` "left", "right" or "both".

    >>> item.qty | pad(5, "0")
    "00003"
    >>> "Ada" | pad(6, ".", side="right")
    "Ada..."
    """
    if len(fill) != 1:
        raise ExpressionError("pad needs one character to fill with")
    text = as_text(value, scope)
    scope.text(max(width, len(text)))
    if side == "left":
        return text.rjust(width, fill)
    if side == "right":
        return text.ljust(width, fill)
    if side == "both":
        return text.center(width, fill)
    raise ExpressionError('pad fills the side "left", "right" or "both"')


@offer("filter")
def truncate(text: str, length: int = 255, killwords: bool = False, end: str = "...") -> str:
    """At most `length` characters of the text, `end` included where it was cut; words stay whole unless `killwords`.

    >>> "The quick brown fox" | truncate(12)
    "The quick..."
    """
    if len(text) <= length:
        return text
    if length < len(end):
        raise ExpressionError(f"truncate needs a length of at least {len(end)}: that of its end")
    cut = text[: length - len(end)]
    if not killwords and " " in cut.strip() and not text[len(cut)].isspace() and not cut[-1].isspace():
        cut = cut.rsplit(maxsplit=1)[0]
    return cut.rstrip() + end


@offer("filter")
def wordcount(scope: Scope, text: str) -> int:
    """How many words the text has.

    >>> "to be or not" | wordcount
    4
    """
    scope.walk(len(text) // 4)
    return sum(1 for _ in _WORD.finditer(text))


@offer("filter")
def slug(text: str, separator: str = "-") -> str:
    """The text for an address or a file name: plain small letters and digits, `separator` between.

    >>> "Crème brûlée, 2 pieces!" | slug
    "creme-brulee-2-pieces"
    """
    if len(text) > SLUG_LIMIT or len(separator) > 10:
        raise ExpressionError(f"slug takes texts of up to {SLUG_LIMIT:,} characters")
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return separator.join(re.findall(r"[a-z0-9]+", plain.replace("'", "")))


@offer("filter", aliases=("e",))
def escape(scope: Scope, text: str) -> str:
    """The text for use inside HTML: & < > and quotes written as entities.

    >>> "Fish & <chips>" | escape
    "Fish &amp; &lt;chips&gt;"
    """
    scope.text(len(text) + sum(text.count(mark) * (len(entity) - 1) for mark, entity in _ESCAPES.items()))
    for mark, entity in _ESCAPES.items():
        text = text.replace(mark, entity)
    return text


@offer("filter")
def striptags(scope: Scope, text: str) -> str:
    """The text of some HTML: without tags, spaces and line ends run together. Not a protection against bad HTML.

    >>> "<p>Hello <b>Ada</b></p>" | striptags
    "Hello Ada"
    """
    scope.walk(len(text) // 4)
    return " ".join(_TAG.sub("", text).split())


@offer("filter", aliases=("text",))
def string(scope: Scope, value: Any) -> str:
    """The value as text, as it stands inside a text: null is empty, lists and objects are JSON.

    >>> item.qty | string
    "3"
    """
    return as_text(value, scope)


@offer("method")
def isdigit(text: str) -> bool:
    """Whether the text is digits only, and at least one.

    >>> "2026".isdigit()
    true
    """
    return text.isdigit()


@offer("method")
def isalpha(text: str) -> bool:
    """Whether the text is letters only, and at least one.

    >>> "Ada".isalpha()
    true
    """
    return text.isalpha()


@offer("method")
def isalnum(text: str) -> bool:
    """Whether the text is letters and digits only, and at least one.

    >>> "A-1".isalnum()
    false
    """
    return text.isalnum()


@offer("method")
def isspace(text: str) -> bool:
    """Whether the text is spaces and line ends only, and at least one.

    >>> "  ".isspace()
    true
    """
    return text.isspace()
