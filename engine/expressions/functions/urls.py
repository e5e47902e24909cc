"""Addresses: writing and reading their parts."""

from typing import Any
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlsplit

from engine.errors import ExpressionError
from engine.expressions.library import offered
from engine.expressions.scope import Scope, as_text

offer = offered("URL", cost=10)
PARTS_LIMIT = 10_000
SAFE_LIMIT = 100


@offer("filter")
def url_encode(scope: Scope, value: str | float | bool, safe: str = "") -> str:
    """The value for use inside an address, every special character as %XX, except the `safe` ones.

    >>> "a b/c" | url_encode
    "a%20b%2Fc"
    """
    return _quoted(as_text(value, scope), safe, scope)


@offer("filter")
def url_decode(scope: Scope, text: str, plus: bool = False) -> str:
    """The text that was written with %XX; with `plus`, a + is a space.

    >>> "a%20b%2Fc" | url_decode
    "a b/c"
    """
    scope.walk(len(text) // 4)
    return unquote_plus(text) if plus else unquote(text)


@offer("filter")
def urlencode(scope: Scope, value: str | float | bool | dict[str, Any] | list[Any]) -> str:
    """As in Jinja: a text for the path of an address (a slash stays), an object or pairs as a query.

    >>> "a b/c" | urlencode
    "a%20b/c"
    >>> {"q": "a b"} | urlencode
    "q=a%20b"
    """
    if isinstance(value, dict):
        return query_string(scope, value)
    if not isinstance(value, list):
        return _quoted(as_text(value, scope), "/", scope)
    if not all(type(pair) is list and len(pair) == 2 for pair in value):
        raise ExpressionError("urlencode needs a list of pairs of name and value")
    return _query(value, scope)


@offer("filter")
def query_string(scope: Scope, object: dict[str, Any]) -> str:
    """The fields as the query of an address; a list gives its name several times, null leaves it out.

    >>> {"q": "red shoes", "size": [40, 41], "page": none} | query_string
    "q=red%20shoes&size=40&size=41"
    """
    return _query([[name, value] for name, value in object.items()], scope)


def _query(pairs: list[list[Any]], scope: Scope) -> str:
    parts: list[str] = []
    for name, value in pairs:
        start = _quoted(as_text(name, scope), "", scope) + "="
        several = [one for one in (value if type(value) is list else [value]) if one is not None]
        parts += [start + _quoted(as_text(one, scope), "", scope) for one in several[:PARTS_LIMIT]]
        if len(parts) >= PARTS_LIMIT:
            raise ExpressionError(f"a query has fewer than {PARTS_LIMIT:,} parts")
    scope.text(sum(map(len, parts)) + len(parts))
    return "&".join(parts)


def _quoted(text: str, safe: str, scope: Scope) -> str:
    if len(safe) > SAFE_LIMIT:
        raise ExpressionError(f"at most {SAFE_LIMIT} characters can be safe")
    data = text.encode()
    scope.text(3 * len(data))
    scope.walk(len(data))
    return quote(data, safe=safe)


@offer("filter")
def url_parse(scope: Scope, address: str) -> dict[str, Any]:
    """The parts of an address: scheme, host, port, path, query (an object) and fragment.

    A name that the query has several times gives a list.

    >>> ("https://example.com/a?x=1&y=2#top" | url_parse).query
    {"x": "1", "y": "2"}
    >>> ("https://example.com:8080/a" | url_parse) | pick("host", "port", "path")
    {"host": "example.com", "port": 8080, "path": "/a"}
    """
    scope.walk(len(address) // 4)
    try:
        parts = urlsplit(address)
        grouped: dict[str, list[str]] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True, max_num_fields=PARTS_LIMIT):
            grouped.setdefault(name, []).append(value)
        return {
            "scheme": parts.scheme,
            "host": parts.hostname or "",
            "port": parts.port,
            "path": unquote(parts.path),
            "query": {name: found[0] if len(found) == 1 else found for name, found in grouped.items()},
            "fragment": parts.fragment,
        }
    except ValueError:
        raise ExpressionError("this text is no address") from None
