"""Who may talk to the web process: hosts, origins, the token of programs and the sessions of browsers.

One middleware around everything. A page of another site can make a browser send requests here: it is known by its
Origin, and by a Host that is none of ours where it made a name of its own point here.
"""

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from engine.runtime.settings import Settings
from studio.asgi import App, Receive, Scope, Send, refuse, respond
from studio.sessions import SESSION_COOKIE, Sessions

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# Whoever calls a webhook is known by the webhook's credential. Pages of other sites may, where its `cors` lets them.
HOOKS = ("/hooks/", "/hooks-test/")
# Open to all who reach this process; each answers nothing of what is stored.
OPEN = ("/", "/livez", "/readyz", "/signin", "/signout")
OPEN_FOLDERS = ("/hooks/", "/hooks-test/", "/resume/", "/static/")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: with that a browser sends our own forms with the Origin "null".
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
# For everything that is no page: should a browser be made to show it as one, it can do nothing.
NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
PORTS = {"http": 80, "https": 443}


class Safety:
    """Lets through what may pass; `scope["state"]["signed_in"]` tells the app whether someone is signed in.

    Args:
        hosts: the values of Host that are ours.
        origins: where our own pages are.
        token: what programs show as `Authorization: Bearer ...`.
    """

    def __init__(
        self, app: App, *, hosts: Iterable[str], origins: Iterable[str], token: str, sessions: Sessions
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().encode() for host in hosts)
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._bearer = f"Bearer {token}".encode()
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass, and refuse the rest."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        host = origin = authorization = cookie = site = None
        several = False
        for name, value in scope["headers"]:
            if name == b"host":
                several = host is not None
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"authorization":
                authorization = value
            elif name == b"cookie":
                cookie = value if cookie is None else cookie + b";" + value
            elif name == b"sec-fetch-site":
                site = value
        if host is None or several or host.lower() not in self._hosts:
            await refuse(scope, send, 421, "host.unknown", "this address is not one of this installation",
                         "Open it at http://localhost, or set FLOWLEAF_URL to its public address.")  # fmt: skip
            return
        path: str = scope["path"]
        if path.startswith(HOOKS):
            await self._app(scope, receive, send)
            return
        if origin is not None and origin.lower() not in self._origins:
            await refuse(scope, send, 403, "origin.foreign", "pages of other sites may not call this", None,
                         SECURITY_HEADERS)  # fmt: skip
            return
        by_token = authorization is not None and hmac.compare_digest(authorization, self._bearer)
        session = session_of(cookie) if cookie is not None else None
        by_session = session is not None and self._sessions.holds(session)
        send = _guarded(send)
        if not by_token and not is_open(path):
            if not by_session:
                await refuse(scope, send, 401, "auth.missing", "this needs the token, or a session",
                             "Send the header Authorization: Bearer TOKEN, with what is in FLOWLEAF_HOME/token; or "
                             "open the address that `flowleaf up` printed.",
                             [(b"www-authenticate", b"Bearer")])  # fmt: skip
                return
            # A cookie comes with whatever the browser is made to send. That it was our own page, it has to say.
            unsafe = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
            if unsafe and origin is None and site not in (b"same-origin", b"none"):
                await refuse(scope, send, 403, "origin.missing", "a session is for this installation's own pages",
                             "Programs use the token: Authorization: Bearer TOKEN.")  # fmt: skip
                return
        scope.setdefault("state", {})
        scope["state"]["signed_in"] = by_token or by_session
        scope["state"]["session"] = session if by_session else None
        if path.startswith("/resume/"):
            await refuse(scope, send, 404, "resume.unknown", "nothing waits at this address")
            return
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """Whether a path answers those who are not signed in."""
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def session_of(cookie: bytes) -> str | None:
    """The session's part of the header Cookie."""
    for part in cookie.decode("latin-1").split(";"):
        name, _, value = part.partition("=")
        if name.strip() == SESSION_COOKIE:
            return value.strip()
    return None


def own_addresses(settings: Settings, port: int) -> tuple[list[str], list[str]]:
    """The hosts and the origins of an installation: loopback, where it listens, and its public address."""
    names = dict.fromkeys([*LOOPBACK, f"[{settings.host}]" if ":" in settings.host else settings.host])
    hosts = [f"{name}:{port}" for name in names] + (list(names) if port == PORTS["http"] else [])
    origins = [f"http://{host}" for host in hosts]
    if settings.url:
        url = urlsplit(settings.url)
        default = PORTS.get(url.scheme)
        name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
        known = {f"{name}:{url.port or default}"} | ({name} if url.port in (None, default) else set())
        hosts += known
        origins += [f"{url.scheme}://{host}" for host in known]
    return hosts, origins


def _guarded(send: Send) -> Send:
    """Adds the headers that keep browsers careful, where the answer does not bring its own."""

    async def guarded(message: dict) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            more = [header for header in (*SECURITY_HEADERS, NO_PAGE) if header[0] not in names]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return guarded


async def redirect(scope: Scope, send: Send, to: str, *cookies: str) -> None:
    """Send a browser elsewhere, with cookies to keep."""
    headers = [(b"location", to.encode()), (b"cache-control", b"no-store")]
    headers += [(b"set-cookie", cookie.encode()) for cookie in cookies]
    await respond(scope, send, 303, b"", headers)
