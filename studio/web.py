"""The web process: webhooks, the API, metrics and the page at `/`, behind one middleware that says who may call."""

import asyncio

from engine.runtime.measures import Measures
from engine.runtime.metrics import CONTENT_TYPE, metrics_text, publish_metrics
from engine.runtime.parts import Parts
from engine.runtime.processes import front_counts, make_ingress, session_secret
from engine.runtime.service import OWNER, Service
from studio.api import api_app
from studio.asgi import App, Receive, Scope, Send, refuse, respond, run_lifespan
from studio.hooks import Hooks, answer_health
from studio.safety import Safety, own_addresses
from studio.sessions import Sessions, load_token
from studio.signin import SignIn

HOOKS = ("/hooks/", "/hooks-test/")


def web_app(parts: Parts, *, port: int | None = None) -> App:
    """The app of the web process, with its safety around it.

    Args:
        port: where it listens, where that is not what the settings say.
    """
    settings = parts.settings
    sessions = Sessions(parts.home, session_secret(parts), settings.password)
    hosts, origins = own_addresses(settings, port or settings.port)
    secure = (settings.url or "").startswith("https:")
    signin = SignIn(parts.home, sessions, settings.password, secure=secure, counts=lambda: front_counts(parts))
    app = _Web(parts, signin)
    return Safety(app, hosts=hosts, origins=origins, token=load_token(parts.home), sessions=sessions)


class _Web:
    """Gives each path to what answers it; webhooks before all others."""

    def __init__(self, parts: Parts, signin: SignIn) -> None:
        self._parts = parts
        self._signin = signin
        self._service = Service(parts)
        self._api = api_app(self._service)
        self._measures = Measures()
        self._hooks: Hooks | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        if path.startswith(HOOKS) and scope["type"] == "http" and self._hooks is not None:
            await self._hooks(scope, receive, send)
        elif path.startswith("/api/") or path == "/api":
            scope["actor"] = OWNER
            await self._api(scope, receive, send)
        elif scope["type"] != "http":
            await refuse(scope, send, 404, "not_found", f"there is nothing at {path[:200]}")
        elif path in ("/", "/signin", "/signout"):
            await self._signin(scope, receive, send)
        elif path == "/metrics":
            text = await asyncio.to_thread(metrics_text, self._parts, self._measures)
            await respond(scope, send, 200, text, [(b"content-type", CONTENT_TYPE.encode())])
        else:
            await answer_health(self._parts, scope, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        ingress, startup, shutdown = make_ingress(self._parts)
        tests = self._service.test_ingress()
        self._hooks = Hooks(ingress, limit_bytes=self._parts.settings.hook_limit_mb * 2**20, test=tests)
        publishing: list[asyncio.Task[None]] = []

        async def begin() -> None:
            await startup()
            await tests.start()
            publishing.append(asyncio.create_task(publish_metrics(self._parts, self._measures, "web")))

        async def end() -> None:
            for task in publishing:
                task.cancel()
            await asyncio.gather(*publishing, return_exceptions=True)
            await tests.close()
            await shutdown()
            await self._parts.close()

        await run_lifespan(receive, send, begin, end)
