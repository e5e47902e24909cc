"""Wake-ups for workers: Dramatiq on Redis, with a consumer that waits in Redis instead of asking again and again.

A wake-up says "look in the database" and carries no work. Losing one loses nothing, since workers sweep; one too many
finds nothing to claim. So there are no retries, no delays, no time limits, and a full queue takes no more.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal, TypeAlias
from uuid import uuid4

import dramatiq
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from redis.exceptions import RedisError

from engine.runtime.circuit import Circuit
from engine.runtime.redis_clients import thread_client

Queue: TypeAlias = Literal["runs", "drafts"]
QUEUES: tuple[Queue, ...] = ("runs", "drafts")
NAMESPACE = "flowleaf-queue"
DATABASE = 0  # where the url names none
ACTOR = "wake"
SEND_LIMIT_S = 0.2
WAIT_MS = 300  # how long a consumer waits in Redis before it looks whether it is to stop
RETRY_S = 0.2
STOP_LIMIT_MS = 600
# Each wake-up claims as many executions as there are free slots: a longer queue of them would tell nothing new.
WAITING_LIMIT = 500
# Between wake-ups that are sent soon. A worker that has found something looks again by itself.
PAUSE_S = 0.004
# Where so many are accepted in that time workers are busy: a wake-up would cost them 0.3 ms for nothing.
BUSY_COUNT, BUSY_PAUSE_S = 8, 0.012

# Puts messages on a queue as Dramatiq does, as many as there is room for.
# KEYS: its list of ids, its hash of messages. ARGV: how many may wait, then id, message, id, message ...
_SEND = """
local room = ARGV[1] - redis.call('LLEN', KEYS[1])
for i = 2, math.min(#ARGV, 2 * room), 2 do
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    redis.call('RPUSH', KEYS[1], ARGV[i])
end
"""

_log = logging.getLogger(__name__)


class WakeBroker(RedisBroker):
    """Dramatiq's Redis broker without middleware and delayed messages, with waiting consumers."""

    # Half of Lua's stack; asked of Redis otherwise, once. A fetch takes a handful.
    _max_unpack_size_val: Any = 1_000

    def __init__(self, url: str) -> None:
        waiting = thread_client(url, database=DATABASE, limit_s=WAIT_MS / 1_000 + 1.0)
        super().__init__(client=waiting, middleware=[], namespace=NAMESPACE)  # type: ignore[no-untyped-call]
        self._sending = thread_client(url, database=DATABASE, limit_s=SEND_LIMIT_S)
        self._send = self._sending.register_script(_SEND)

    @property
    def consumer_class(self) -> type["WaitingConsumer"]:
        """What the worker's threads take messages from."""
        return WaitingConsumer

    def declare_queue(self, queue_name: str) -> None:
        """Know a queue. Its twin for delayed messages, which Dramatiq would poll, is not made."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue_many(self, queue_name: str, messages: Iterable[dramatiq.Message[Any]]) -> None:
        """Enqueue messages in one round trip; those that find the queue full are dropped.

        Raises:
            redis.RedisError: within 0.2 s.
        """
        arguments: list[str | bytes | int] = [WAITING_LIMIT]
        for message in messages:
            redis_id = str(uuid4())
            arguments += redis_id, message.copy(options={"redis_message_id": redis_id}).encode()
        key = f"{self.namespace}:{queue_name}"
        self._send([key, f"{key}.msgs"], arguments)

    def close(self) -> None:
        """Give up the connections."""
        self.client.close()
        self._sending.close()


class WaitingConsumer(_RedisConsumer):
    """Waits for a message inside Redis, and for a lost Redis without giving up its thread."""

    def __init__(self, broker: WakeBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._key = f"{broker.namespace}:{queue_name}"
        self._acknowledged = threading.Event()

    def __next__(self) -> dramatiq.MessageProxy | None:
        """The next message; None after a while without one, so that the thread may look whether it is to stop."""
        try:
            if not self.message_cache:
                self._fetch()
        except RedisError as exc:
            # Handled here: Dramatiq's own way is to wait three seconds.
            _log.debug("Redis is away: %s", exc)
            time.sleep(RETRY_S)
            return None
        data = self.message_cache.pop(0) if self.message_cache else None
        if data is None:
            return None
        message: dramatiq.Message[Any] = dramatiq.Message.decode(data)
        self.queued_message_ids.add(message.message_id)
        return dramatiq.MessageProxy(message)

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """Drop a message that was handled. One that Redis did not hear of comes again later, or is gone with it."""
        try:
            self.broker.do_ack(self.queue_name, message.options["redis_message_id"])
        except RedisError as exc:
            _log.debug("A wake-up was not acknowledged: %s", exc)
        finally:
            self.queued_message_ids.discard(message.message_id)
            self._acknowledged.set()

    nack = ack  # nothing to keep for a person to look at

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """Give back what was fetched and not handled, for another worker."""
        try:
            super().requeue(messages)  # type: ignore[no-untyped-call]
        except RedisError as exc:
            _log.debug("Wake-ups were not given back: %s", exc)

    def _fetch(self) -> None:
        room = self.prefetch - self.outstanding_message_count
        if room <= 0:
            self._acknowledged.clear()
            if self.outstanding_message_count >= self.prefetch:
                self._acknowledged.wait(self.timeout / 1_000)
            return
        self.message_cache = self.broker.do_fetch(self.queue_name, room)
        if not self.message_cache:
            # Moves the first id to where it is: changes nothing, and returns as soon as there is one.
            self.broker.client.blmove(self._key, self._key, self.timeout / 1_000, "LEFT", "LEFT")
            self.message_cache = self.broker.do_fetch(self.queue_name, room)


class Consuming:
    """A running consumer of wake-ups; `stop` ends it."""

    def __init__(self, worker: dramatiq.Worker) -> None:
        self._worker = worker

    def stop(self) -> None:
        """Take no more wake-ups, within a second; a call that runs then is left to its end."""
        self._worker.stop(timeout=STOP_LIMIT_MS)


class Wakes:
    """Sends wake-ups, from any thread, and receives them.

    Nothing here is Dramatiq's global state, and no signal handler is set.

    Args:
        redis_url: `redis://`, `rediss://` or `unix://`.

    Raises:
        DefinitionError: the url is none of Redis.
    """

    def __init__(self, redis_url: str) -> None:
        self._broker = broker_for(redis_url)
        self._circuit = Circuit()
        self._on_wake: Callable[[str], None] = _ignore
        self._some = threading.Condition()
        self._due: set[str] = set()
        self._due_count = 0
        self._closing = False
        self._sender: threading.Thread | None = None
        self._actor = dramatiq.actor(broker=self._broker, actor_name=ACTOR, queue_name=QUEUES[0])(self._wake)

    def send(self, queue: str, count: int = 1) -> bool:
        """Wake workers, up to `count` of them; False: Redis is away, and they find the work by themselves later.

        Takes 0.2 s at most; right after a failure it does not try.
        """
        if self._circuit.is_open:
            return False
        message = self._actor.message(queue).copy(queue_name=queue)
        try:
            self._broker.enqueue_many(
                queue, [message.copy(message_id=str(uuid4())) for _ in range(min(count, WAITING_LIMIT))]
            )
        except (RedisError, OSError):
            self._circuit.failed()
            return False
        self._circuit.worked()
        return True

    def soon(self, queue: str, count: int = 1) -> None:
        """Wake a worker, at once or a few milliseconds after the last one: under load one wake-up is as good as ten.

        Returns without waiting: a thread sends.

        Args:
            count: how many executions it is for.
        """
        with self._some:
            self._due.add(queue)
            self._due_count += count
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_soon, name="wakes", daemon=True)
                self._sender.start()
            self._some.notify()

    def _send_soon(self) -> None:
        while True:
            with self._some:
                while not self._due:
                    if self._closing:
                        return
                    self._some.wait()
                due, self._due = self._due, set()
                busy, self._due_count = self._due_count >= BUSY_COUNT, 0
            for queue in due:
                self.send(queue)
            time.sleep(BUSY_PAUSE_S if busy else PAUSE_S)

    def consume(self, queues: Collection[str], on_wake: Callable[[str], None], *, threads: int = 1) -> Consuming:
        """Call `on_wake(queue)` for each wake-up, in one of `threads` threads; once per object.

        Goes on by itself when Redis was away. An exception of `on_wake` is logged, and the wake-up is spent.
        """
        self._on_wake = on_wake
        worker = dramatiq.Worker(self._broker, queues=set(queues), worker_timeout=WAIT_MS, worker_threads=threads)
        worker.start()
        return Consuming(worker)

    def close(self) -> None:
        """Send what is due, then give up the connections; stop consuming first."""
        with self._some:
            self._closing = True
            self._some.notify()
        if self._sender is not None:
            self._sender.join(1)
        self._broker.close()

    def _wake(self, queue: str) -> None:
        self._on_wake(queue)


def broker_for(redis_url: str) -> WakeBroker:
    """A broker that knows the queues."""
    broker = WakeBroker(redis_url)
    for queue in QUEUES:
        broker.declare_queue(queue)
    return broker


def _ignore(queue: str) -> None:
    """What a process that only sends does with wake-ups."""
