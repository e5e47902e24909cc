"""A load generator for calls on this machine: a few connections, requests written by hand, in a process of its own.

    python -m tests.benchmarks.load URL --connections 50 --seconds 10 [--rate 500] [--body FILE]

Without a rate each connection sends its next call when the last was answered; with one, calls begin at even times
whatever the answers do, and a late one counts from when it was due. Prints one JSON object: calls, seconds, statuses,
and the times to the answer in milliseconds at several quantiles; with --times also each call's due time and id.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, deque
from typing import Any
from urllib.parse import urlsplit

import uvloop

BODY = {
    "order_id": "W-1042",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "total": 250,
    "country": "DE",
    "lines": [{"product": "Cup", "quantity": 3}],
}


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.buffer = bytearray()
        self.waiter: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(buffer[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else None]) if at > 0 else 0
        if len(buffer) < end + 4 + length:
            return
        body = bytes(buffer[end + 4 : end + 4 + length])
        status = int(buffer[9:12])
        del buffer[: end + 4 + length]
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(ConnectionResetError("closed by the server"))

    async def call(self, request: bytes) -> tuple[int, bytes]:
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiter


def request_of(url: str, body: bytes, method: str = "POST") -> bytes:
    """The bytes of one call."""
    parts = urlsplit(url)
    head = f"{method} {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(body)}\r\nuser-agent: load\r\naccept: */*\r\n\r\n".encode() + body


async def connect(url: str) -> Connection:
    parts = urlsplit(url)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, parts.hostname, parts.port)
    return connection


async def closed_loop(url: str, body: bytes, connections: int, seconds: float) -> dict[str, Any]:
    """Every connection sends as soon as it was answered."""
    request, took, statuses = request_of(url, body), [], Counter()
    open_ = [await connect(url) for _ in range(connections)]
    began = time.perf_counter()
    until = began + seconds

    async def work(connection: Connection) -> None:
        while (sent := time.perf_counter()) < until:
            status, _ = await connection.call(request)
            took.append(time.perf_counter() - sent)
            statuses[status] += 1

    await asyncio.gather(*map(work, open_))
    return summary(took, statuses, time.perf_counter() - began)


async def open_loop(url: str, body: bytes, connections: int, seconds: float, rate: float) -> dict[str, Any]:
    """Calls begin at even times; the ids of what was accepted, with the time each was due."""
    request, took, statuses = request_of(url, body), [], Counter()
    free = deque([await connect(url) for _ in range(connections)])
    due_at: dict[str, float] = {}
    tasks: set[asyncio.Task[None]] = set()
    began, wall = time.perf_counter(), time.time()

    async def one(due: float) -> None:
        connection = free.popleft() if free else await connect(url)
        status, answer = await connection.call(request)
        free.append(connection)
        took.append(time.perf_counter() - began - due)
        statuses[status] += 1
        if status == 202:
            due_at[json.loads(answer)["execution_id"]] = wall + due

    number = 0
    while (due := number / rate) < seconds:
        if (wait := began + due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
    await asyncio.gather(*tasks)
    return {**summary(took, statuses, time.perf_counter() - began), "due_at": due_at}


def summary(took: list[float], statuses: Counter[int], seconds: float) -> dict[str, Any]:
    """Counts and quantiles."""
    took.sort()
    at = (
        {q: round(took[min(int(len(took) * q / 100), len(took) - 1)] * 1000, 3) for q in (50, 90, 95, 99)}
        if took
        else {}
    )
    return {
        "calls": len(took),
        "seconds": round(seconds, 3),
        "per_s": round(len(took) / seconds, 1),
        "statuses": dict(statuses),
        **{f"p{q}_ms": ms for q, ms in at.items()},
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--times", action="store_true")
    given = parser.parse_args()
    if urlsplit(given.url).hostname != "127.0.0.1":
        sys.exit("only 127.0.0.1 is called")
    body = json.dumps(BODY).encode()
    run = (
        open_loop(given.url, body, given.connections, given.seconds, given.rate)
        if given.rate
        else closed_loop(given.url, body, given.connections, given.seconds)
    )
    result = uvloop.run(run)
    if not given.times:
        result.pop("due_at", None)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
