"""The one outgoing client: checked addresses, bounded answers, errors that people can read."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx

from engine.errors import AddressRefused, UpstreamError
from engine.http.addresses import parse_allow
from engine.http.bodies import check_length, read_body
from engine.http.connecting import CheckedNetwork, Resolve, system_resolve
from engine.http.failures import FAILURES, explain
from engine.http.outgoing import UNSET, build_request
from engine.http.redirects import REDIRECTS, redirected
from engine.http.urls import Pairs, place_of


class HttpClient:
    """Calls web services. One client belongs to one event loop: its open connections do.

    Proxy variables of the environment are ignored, since a proxy would look names up unchecked. No cookies are kept.
    Connections stay open for 5 s for the next request to the same origin.

    Args:
        allow: hosts and networks that may be called though not public, as in FLOWLEAF_HTTP_ALLOW.
        timeout_s: for the whole exchange, looking up the name and redirects included.
        max_body_bytes: of an answer, both as sent and as unpacked.
        max_redirects: how many are followed; one more is an error.
        resolve: gives the addresses of a host; the machine's resolver by default.

    Raises:
        ValueError: an entry of `allow` cannot be read.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        timeout_s: float = 30.0,
        max_body_bytes: int = 50 * 2**20,
        max_redirects: int = 5,
        resolve: Resolve = system_resolve,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._max_redirects = max_redirects
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),  # heeds SSL_CERT_FILE: inner services have issuers of their own
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=CheckedNetwork(parse_allow(allow), resolve),
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Pairs | None = None,
        json: Any = UNSET,
        content: bytes | str | None = None,
        form: Mapping[str, Any] | None = None,
        auth: tuple[str, str] | None = None,
        timeout_s: float | None = None,
        max_body_bytes: int | None = None,
        follow_redirects: bool = True,
    ) -> httpx.Response:
        """The answer, whatever its status, with its body read and unpacked.

        Content-Encoding and Content-Length are left out of its headers where the body was unpacked. `history` holds
        the redirects on the way, without bodies. Headers about the connection (Content-Length, Accept-Encoding ...)
        are the client's own: given ones are passed over. A redirect to another origin gets only harmless headers.

        Args:
            query: put behind the query that `url` has; lists repeat the name.
            json, content, form: the body; at most one of them.
            auth: user and password; otherwise those in `url` are used, unless there is an Authorization header.
            timeout_s, max_body_bytes: instead of the client's.

        Raises:
            AddressRefused: the host, or one it redirects to, is neither public nor allowed.
            UpstreamError: no whole answer came, or too large a one.
            NodeError: the request cannot be sent as it is.
        """
        request = build_request(method, url, headers or {}, query, json=json, content=content, form=form, auth=auth)
        limit_bytes = self._max_body_bytes if max_body_bytes is None else max_body_bytes
        seconds = self._timeout_s if timeout_s is None else timeout_s
        history: list[httpx.Response] = []
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    response = await self._exchange(request, limit_bytes, follow_redirects)
                    location = _location(response.status_code, response.headers) if follow_redirects else None
                    if location is None:
                        response.history = history
                        response.elapsed = timedelta(seconds=time.monotonic() - started)
                        return response
                    history.append(response)
                    if len(history) > self._max_redirects:
                        raise _too_many_redirects(request, self._max_redirects)
                    request = redirected(request, response.status_code, location)
        except AddressRefused as exc:
            if not history:
                raise
            raise AddressRefused(
                f"{place_of(history[-1].request.url)} redirected to where HTTP nodes may not go: {exc.message}",
                hint="Do not allow it lightly: someone else chose this address. FLOWLEAF_HTTP_ALLOW is the setting.",
            ) from exc
        except TimeoutError as exc:
            raise UpstreamError(
                f"{place_of(request.url)} did not answer within {seconds:g} s.",
                hint="Give it more time, or ask for less at a time.",
            ) from exc

    async def _exchange(self, request: httpx.Request, limit_bytes: int, follow_redirects: bool) -> httpx.Response:
        """One request and its answer; without the body where a redirect is to be followed."""
        place = place_of(request.url)
        try:
            answer = await self._pool.handle_async_request(_for_the_pool(request))
            try:
                headers = httpx.Headers(answer.headers)
                body = b""
                if not (follow_redirects and _location(answer.status, headers)):
                    # An answer to HEAD and a 304 speak of a body that is not there (RFC 9110, 8.6).
                    described = headers if request.method != "HEAD" and answer.status != 304 else {}
                    check_length(described.get("content-length", ""), limit_bytes=limit_bytes, place=place)
                    packed_as = described.get("content-encoding", "")
                    body = await read_body(answer.aiter_stream(), packed_as, limit_bytes=limit_bytes, place=place)
            finally:
                await answer.aclose()
        except FAILURES as exc:
            raise explain(exc, place) from exc
        if body and "content-encoding" in headers:
            del headers["content-encoding"]
            headers.pop("content-length", None)
        response = httpx.Response(
            answer.status,
            headers=headers,
            stream=httpx.ByteStream(body),
            request=request,
            extensions={name: answer.extensions[name] for name in ("http_version", "reason_phrase")},
        )
        response.read()
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _for_the_pool(request: httpx.Request) -> httpcore.Request:
    url = httpcore.URL(
        scheme=request.url.raw_scheme,
        host=request.url.raw_host,
        port=request.url.port,
        target=request.url.raw_path,
    )
    return httpcore.Request(request.method, url, headers=request.headers.raw, content=httpx.ByteStream(request.content))


def _location(status: int, headers: httpx.Headers) -> str | None:
    """Where the answer redirects to; None when it does not."""
    location: str = headers.get("location", "")
    return location if location and status in REDIRECTS else None


def _too_many_redirects(request: httpx.Request, limit: int) -> UpstreamError:
    return UpstreamError(
        f"{place_of(request.url)} redirected more than {limit} times.",
        hint="Call the last address of the chain; a service may also do so when a login is missing.",
        retryable=False,
    )
