"""Where a redirect leads, and what may go along."""

from urllib.parse import urljoin

import httpx

from engine.errors import AddressRefused, NodeError, UpstreamError
from engine.http.urls import parse_url, place_of

REDIRECTS = frozenset({301, 302, 303, 307, 308})

# All that another origin may see of the caller's headers. Keys travel under too many names to list those.
_HARMLESS = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "content-language", "user-agent"}
)
_OF_THE_BODY = frozenset({"content-encoding", "content-language", "content-location", "content-type", "digest"})

_PORTS = {"http": 80, "https": 443}


def redirected(request: httpx.Request, status: int, location: str) -> httpx.Request:
    """The request that follows the redirect.

    RFC 9110, 15.4: 307 and 308 repeat the request; 303 asks for the result with GET; 301 and 302 turn POST into GET,
    as all browsers do, and repeat everything else. A body goes along only where the request is repeated.

    Raises:
        UpstreamError: the location is no web address, or leads from https to http.
    """
    place = place_of(request.url)
    url = _target(request.url, location, place)
    if (request.url.scheme, url.scheme) == ("https", "http"):
        raise UpstreamError(
            f"{place} redirects from https to http, where everyone can read along.",
            hint="If that is meant, call the http address itself.",
            retryable=False,
        )
    becomes_get = (status == 303 and request.method != "HEAD") or (status in (301, 302) and request.method == "POST")
    method = "GET" if becomes_get else request.method
    dropped = {"content-length"} | (_OF_THE_BODY if becomes_get else set())
    away = not _same_origin(request.url, url)
    headers = [
        (name, value)
        for name, value in request.headers.raw
        if (key := name.decode("ascii").lower()) not in dropped and (key in _HARMLESS or not away)
    ]
    return httpx.Request(method, url, headers=headers, content=None if becomes_get else request.content)


def _target(url: httpx.URL, location: str, place: str) -> httpx.URL:
    """The address a Location header means. A user in it is left out: it is not ours."""
    try:
        return parse_url(urljoin(str(url), location.strip().replace(" ", "%20")))[0]
    except AddressRefused:
        raise
    except (NodeError, ValueError) as exc:
        detail = exc.message if isinstance(exc, NodeError) else "it cannot be read."
        raise UpstreamError(f"{place} redirects to no web address: {detail}", retryable=False) from exc


def _same_origin(url: httpx.URL, other: httpx.URL) -> bool:
    """Whether both are one origin; the step from http to https of one host counts as that."""
    upgraded = (url.scheme, _port(url), other.scheme, _port(other)) == ("http", 80, "https", 443)
    return url.host == other.host and (upgraded or (url.scheme, _port(url)) == (other.scheme, _port(other)))


def _port(url: httpx.URL) -> int:
    return url.port or _PORTS[url.scheme]
