"""Runs an ASGI app on uvicorn, as quickly as it can and with bounds on what callers may send before their body."""

import asyncio
import gc
import socket
from collections.abc import Callable

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engine.errors import DefinitionError
from engine.runtime.supervisor import STOP_SIGNALS
from studio.asgi import App
from studio.listeners import BACKLOG

HEAD_LIMIT_BYTES = 64 * 1024
# Calls that wait for their answer are waited for so long when the process is to end; their executions go on.
GRACE_S = 1


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a bound on the head of a request: the parser itself has none."""

    _head_bytes = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Count no more: the body has a bound of its own."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came in."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too long.")


class _Server(uvicorn.Server):
    """A server that a signal ends, also one that came in ignored; it waits instead of looking ten times a second."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._told = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until a signal."""
        self._on_start()
        while not self._told.is_set():
            await self.on_tick(0)  # the date in the answers
            try:
                async with asyncio.timeout(1):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def run_until_signal(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._told.set)
        await self._serve(sockets)


def serve(app: App, sockets: list[socket.socket], *, on_start: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP.

    Args:
        on_start: called once calls are answered.

    Raises:
        DefinitionError: the app did not start; the log says why.
    """
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
    )

    async def run() -> bool:
        server = _Server(config, on_start)
        gc.collect()
        gc.freeze()  # what is there now stays: it need not be looked at again and again
        gc.set_threshold(20_000, 20, 50)  # 6 % of a worker's time, where young objects are many and die young
        await server.run_until_signal(sockets)
        return server.started

    if not uvloop.run(run()):
        raise DefinitionError("the server did not start", hint="The log above says why.")
