"""Signing in and out, and the page at `/`: what is here for those who are signed in, the way in for all others."""

import asyncio
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

from studio.asgi import Receive, Scope, Send, header, refuse, respond
from studio.front_page import POLICY, home_page, signin_page
from studio.safety import redirect
from studio.sessions import SESSION_COOKIE, SESSION_S, Sessions, Throttle, use_key

PASSWORD_LIMIT_BYTES = 4096
FREE_TRIES, FREE_TRIES_OF_ALL = 5, 50
EVERYBODY = "everybody"


class SignIn:
    """Answers `/`, `/signin` and `/signout`.

    Args:
        password: FLOWLEAF_PASSWORD; None: only the one-time address signs in.
        secure: whether browsers come by https.
        counts: what there is, by name, for the page; called in a thread.
    """

    def __init__(
        self,
        home: Path,
        sessions: Sessions,
        password: str | None,
        *,
        secure: bool,
        counts: Callable[[], Mapping[str, str]],
    ) -> None:
        self._home = home
        self._sessions = sessions
        self._password = password
        self._secure = secure
        self._counts = counts
        self._by_caller = Throttle(FREE_TRIES)
        self._by_all = Throttle(FREE_TRIES_OF_ALL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        if path == "/" and method in ("GET", "HEAD"):
            await self._front(scope, send)
        elif path in ("/signin", "/signout") and method == "POST":
            await (self._sign_in if path == "/signin" else self._sign_out)(scope, receive, send)
        else:
            allow = b"GET, HEAD" if path == "/" else b"POST"
            await refuse(scope, send, 405, "method", f"{path} does not answer to {method}", None, [(b"allow", allow)])

    async def _front(self, scope: Scope, send: Send) -> None:
        query = scope["query_string"]
        if query.startswith(b"key=") and scope["method"] == "GET":  # a preview of the address must not spend it
            key = parse_qs(query.decode("latin-1")).get("key", [""])[0]
            if await asyncio.to_thread(use_key, self._home, key):
                await redirect(scope, send, "/", self._cookie(self._sessions.begin(), SESSION_S))
            elif scope["state"]["signed_in"]:
                await redirect(scope, send, "/")
            else:
                await self._page(scope, send, 403, self._way_in("This address was used before, or is too old."))
            return
        if scope["state"]["signed_in"]:
            await self._page(scope, send, 200, home_page(await asyncio.to_thread(self._counts)))
        else:
            await self._page(scope, send, 200, self._way_in())

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._password is None:
            await self._page(scope, send, 403, self._way_in("There is no password here."))
            return
        caller = _network(scope)
        wait_s = max(self._by_caller.wait_s(caller), self._by_all.wait_s(EVERYBODY))
        if wait_s > 0:
            seconds = int(wait_s) + 1
            page = self._way_in(f"Too many tries. Wait {seconds} second{'s' if seconds > 1 else ''}.")
            await self._page(scope, send, 429, page, (b"retry-after", str(seconds).encode()))
            return
        # Counted before the body is read: tries that come at once are tries one after the other.
        self._by_caller.failed(caller)
        self._by_all.failed(EVERYBODY)
        given = await _password(scope, receive)
        if given is None or not hmac.compare_digest(given.encode("utf-8", "replace"), self._password.encode()):
            await self._page(scope, send, 403, self._way_in("This is not the password."))
            return
        self._by_caller.worked(caller)
        self._by_all.worked(EVERYBODY)
        await redirect(scope, send, "/", self._cookie(self._sessions.begin(), SESSION_S))

    async def _sign_out(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (session := scope["state"]["session"]) is not None:
            # Only from our own page: a session that ends by itself is a nuisance too.
            if header(scope, b"origin") is None and header(scope, b"sec-fetch-site") not in ("same-origin", "none"):
                await refuse(scope, send, 403, "origin.missing", "a session is ended by its own page")
                return
            await asyncio.to_thread(self._sessions.end, session)
        await redirect(scope, send, "/", self._cookie("", 0))

    def _way_in(self, message: str = "") -> str:
        return signin_page(with_password=self._password is not None, message=message)

    async def _page(self, scope: Scope, send: Send, status: int, page: str, *more: tuple[bytes, bytes]) -> None:
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", POLICY.encode()),
            (b"cache-control", b"no-store"),
            *more,
        ]
        await respond(scope, send, status, page.encode(), headers)

    def _cookie(self, value: str, lasts_s: int) -> str:
        secure = "; Secure" if self._secure else ""
        return f"{SESSION_COOKIE}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{secure}"


async def _password(scope: Scope, receive: Receive) -> str | None:
    """The password of the form; None where there is none, or too much."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > PASSWORD_LIMIT_BYTES or message["type"] == "http.disconnect":
            return None
    try:
        return parse_qs(body.decode(), max_num_fields=5, keep_blank_values=True).get("password", [None])[0]
    except ValueError:
        return None


def _network(scope: Scope) -> str:
    """Where a caller is: its address, or the network that an IPv6 address was chosen from."""
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
