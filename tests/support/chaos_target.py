"""A service that workflows call: it notes every call with its Idempotency-Key, and answers when it is let."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Effect(NamedTuple):
    """One call that changes something. `number`: the how many-th with its key it was; `id`: what the body says."""

    path: str
    id: str
    key: str
    number: int
    at_s: float


class Target:
    """What a test sees of the running service."""

    def __init__(self) -> None:
        self.port = 0
        self.effects: list[Effect] = []
        self.counts: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self.loop = asyncio.new_event_loop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def calls(self, path: str) -> list[Effect]:
        return [effect for effect in self.effects if effect.path == path]

    def hold(self, path: str, after: int = 0) -> None:
        """Answer no further calls of a path once so many more were answered."""
        self._held[path] = len(self.calls(path)) + after

    def release(self, path: str) -> None:
        """Answer all that waits, and what comes."""
        del self._held[path]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = head[0].split(" ")[1]
                answer = await self._answer(path, headers.get("idempotency-key"), body)
                data = json.dumps(answer).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
                    + data
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()

    async def _answer(self, path: str, key: str | None, body: bytes) -> dict[str, object]:
        if path.startswith("/wait/"):
            await asyncio.sleep(float(path.removeprefix("/wait/")))
            return {"waited": True}
        sent = json.loads(body) if body else {}
        key = key or "none"
        number = self.counts[key] = self.counts.get(key, 0) + 1
        index = len(self.calls(path)) if path in self._held else 0
        self.effects.append(Effect(path, str(sent.get("id")), key, number, time.time()))
        while index >= self._held.get(path, 2**62):  # noqa: ASYNC110  it is let by another thread
            await asyncio.sleep(0.02)
        return {"id": sent.get("id"), "key": key, "number": number}


@contextmanager
def target() -> Iterator[Target]:
    """A running service. Its paths: `/wait/SECONDS`, and any other, which notes the call."""
    made = Target()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
        made.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def run() -> None:
        made.loop.run_until_complete(serve())
        made.loop.close()

    thread = threading.Thread(target=run, name="target")
    thread.start()
    ready.wait()
    try:
        yield made
    finally:
        made.loop.call_soon_threadsafe(stop.set)
        thread.join()
