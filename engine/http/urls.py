"""Web addresses as people and data write them, made into one safe form; and the text of queries and forms."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlencode

import httpx

from engine.errors import AddressRefused, NodeError
from engine.http.addresses import host_name, literal_address

Pairs = Mapping[str, Any] | Sequence[tuple[str, Any]]

_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")


def parse_url(text: str) -> tuple[httpx.URL, tuple[str, str] | None]:
    """The address without fragment and user, its host in one spelling; and the user and password it held.

    Raises:
        NodeError: it is not an http or https address. The message never shows its path, query or password.
        AddressRefused: its host is an address with a zone.
    """
    text = text.strip()
    shown = _shown(text)
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise _bad(f"The address {shown} holds a space or a line break.", "Write %20 for a space, or use the query.")
    match = _URL.match(text)
    if match is None:
        raise _bad(f"The address {shown} has no http:// or https:// in front.", f"Write https://{shown}.")
    scheme = match["scheme"].lower()
    if scheme not in ("http", "https"):
        raise _bad(f"HTTP nodes cannot call {scheme}: addresses.", "Write an address with http:// or https://.")
    userinfo, _, place = match["authority"].rpartition("@")
    host, port = _host_and_port(place)
    try:
        url = httpx.URL(f"{scheme}://{host}{port}{match['rest']}")
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise _bad(f"The address on {host} cannot be read.", "Look for odd characters, or a very long query.") from exc
    user, _, password = userinfo.partition(":")
    return url, (unquote(user), unquote(password)) if userinfo else None


def _host_and_port(place: str) -> tuple[str, str]:
    """The host in one spelling, IPv6 in brackets; and its port as ":8080" or ""."""
    match = _HOST_AND_PORT.fullmatch(place)
    if match is None or not match[1]:
        raise _bad(f"{place[:80]!r} is not a host.", "Write it as in https://api.example.com/path.")
    digits = match[2]
    if digits and not 1 <= int(digits[:6]) <= 65535:
        raise _bad(f"The port {digits[:12]} of {match[1][:80]} does not exist.", "Ports go from 1 to 65535.")
    try:
        name = host_name(match[1])
        address = literal_address(name)
    except ValueError as exc:
        raise _bad(f"{match[1][:80]!r} is not a host.", "Check the spelling; write it as in api.example.com.") from exc
    if address is not None and "%" in str(address):
        raise AddressRefused(f"{address} is an address with a zone: HTTP nodes may not call it.")
    host = name if address is None else f"[{address}]" if address.version == 6 else str(address)
    return host, f":{digits}" if digits else ""


def _shown(text: str) -> str:
    """What may be shown of a text that should have been an address: the part where a host would stand."""
    place = re.split(r"[/?#\s]", text.split("://", 1)[-1], maxsplit=1)[0]
    return place.rpartition("@")[2][:80] or "given"


def _bad(message: str, hint: str) -> NodeError:
    return NodeError(message, hint=hint, retryable=False)


def with_query(url: httpx.URL, query: Pairs | None) -> httpx.URL:
    """The address with more query behind what it has, which is kept as it was written."""
    if not query:
        return url
    parts = [url.query.decode("ascii"), encode_pairs(query)]
    return url.copy_with(query="&".join(filter(None, parts)).encode("ascii"))


def encode_pairs(pairs: Pairs) -> str:
    """Pairs as a query or a form writes them: lists repeat the name, true and false in lower case, None is empty."""
    found = pairs.items() if isinstance(pairs, Mapping) else pairs
    return urlencode(
        [
            (name, as_text(value))
            for name, held in found
            for value in (held if isinstance(held, list | tuple) else [held])
        ]
    )


def as_text(value: Any) -> str:
    """A value as addresses, forms and headers write it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def place_of(url: httpx.URL) -> str:
    """The host, with the port where it is not the usual one: what messages show of an address."""
    return url.netloc.decode("ascii")
