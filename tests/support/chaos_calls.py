"""Calls to an installation's webhooks, each sent once, and what was promised for each."""

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.chaos_workflows import rows

LIMIT_S = 40.0


@dataclass
class Promises:
    """What callers were told.

    Attributes:
        accepted: call id -> execution id, of every answer 2xx.
        unknown: ids of calls without an answer: they may have been recorded, once at most.
        again: pairs of execution ids answered to two calls with one key.
        statuses: how often each was answered.
        rude: refusals without Retry-After, or that were none of 429 and 503.
        longest_s: the longest that an answer took.
    """

    accepted: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    again: list[tuple[str, str]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    rude: list[tuple[int, bytes]] = field(default_factory=list)
    longest_s: float = 0.0


class Calls:
    """Threads that call at random, at about a rate, until they are stopped.

    Args:
        kinds: path -> how often, in proportion.
        ports: of the processes that answer.
    """

    def __init__(self, ports: list[int], kinds: Mapping[str, int], *, rate: float = 200, threads: int = 4) -> None:
        self.promises = Promises()
        self._ports = ports
        self._kinds = dict(kinds)
        self._pause_s = threads / rate
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), name=f"calls-{n}") for n in range(threads)]

    def start(self) -> "Calls":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Promises:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        return self.promises

    def __enter__(self) -> "Calls":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        connections = {port: http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S) for port in self._ports}
        while not self._stopping.is_set():
            began = time.monotonic()
            kind = chance.choices(list(self._kinds), list(self._kinds.values()))[0]
            connection = connections[chance.choice(self._ports)]
            call_id = uuid.uuid4().hex
            first = self.call(kind, call_id, connection)
            if kind == "once":
                second = self.call(kind, call_id, connections[chance.choice(self._ports)])
                if first is not None and second is not None:
                    with self._lock:
                        self.promises.again.append((first, second))
            self._stopping.wait(max(self._pause_s * chance.uniform(0.5, 1.5) - (time.monotonic() - began), 0))
        for connection in connections.values():
            connection.close()

    def call(self, kind: str, call_id: str, connection: http.client.HTTPConnection) -> str | None:
        """One call: the id of the execution that was promised; None where none was."""
        body = {"id": call_id, "total": 250, "name": "Ada"} | ({"rows": rows(call_id)} if kind == "many" else {})
        headers = {"content-type": "application/json", "call-id": call_id}
        began = time.monotonic()
        try:
            connection.request("POST", f"/hooks/{kind}", json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            if not isinstance(exc, ConnectionRefusedError):
                with self._lock:
                    self.promises.unknown.add(call_id)
            time.sleep(0.02)
            return None
        took_s = time.monotonic() - began
        with self._lock:
            return self._note(call_id, answer, data, took_s)

    def _note(self, call_id: str, answer: http.client.HTTPResponse, data: bytes, took_s: float) -> str | None:
        promises = self.promises
        promises.statuses[answer.status] += 1
        promises.longest_s = max(promises.longest_s, took_s)
        if answer.status == 202:
            id_: str = json.loads(data)["execution_id"]
            promises.accepted.setdefault(call_id, id_)
            return id_
        if answer.status == 200:  # with the result: its id is found by the call's
            promises.accepted.setdefault(call_id, "")
            return None
        promises.unknown.add(call_id)  # a commit whose answer got lost
        if answer.status not in (429, 503, 504) or (answer.status != 504 and not answer.headers.get("retry-after")):
            promises.rude.append((answer.status, data[:300]))
        return None
