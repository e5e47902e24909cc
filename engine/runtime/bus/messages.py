"""What travels on a bus, and what every bus does."""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from engine.errors import InternalError

Message: TypeAlias = Mapping[str, Any]
After: TypeAlias = Mapping[str, str] | Literal["now", "start"]

# Messages kept per topic, by the kind that stands before the first ":" of its name.
KEPT: Mapping[str, int] = {"execution": 2_000, "workflow": 2_000, "reply": 10_000}
KEPT_OTHERWISE = 1_000
EXPIRE_S = 600


class Received(NamedTuple):
    """A message of a followed topic. `id` is what to follow after, later on."""

    topic: str
    id: str
    message: dict[str, Any]


class Gap(NamedTuple):
    """Messages of a topic may have been missed: read the database anew, then go on. `id` is what to follow after."""

    topic: str
    id: str


class BusUnavailable(InternalError):
    """The bus cannot be reached. What was to be published is in the database; its followers are told of a gap."""

    code = "internal.bus_unavailable"


def kept(topic: str, limits: Mapping[str, int]) -> int:
    """How many messages of a topic are kept, at least."""
    return limits.get(topic.partition(":")[0], KEPT_OTHERWISE)


class Bus(Protocol):
    """Publishes and follows. One object serves one event loop, and any thread by `publish_many_sync`.

    A topic keeps its newest messages (`KEPT`) and is forgotten when nothing was published on it for some time (10
    minutes). Messages are JSON objects.
    """

    async def publish(self, topic: str, message: Message) -> None:
        """Publish one message.

        Raises:
            BusUnavailable: as of `publish_many`.
        """
        ...

    async def publish_many(self, messages: Iterable[tuple[str, Message]]) -> None:
        """Publish messages, those of one topic in their order, in one round trip.

        Raises:
            BusUnavailable: at once or within half a second; nothing is kept for a later try.
        """
        ...

    def publish_many_sync(self, messages: Iterable[tuple[str, Message]]) -> None:
        """As `publish_many`, from a thread.

        Raises:
            BusUnavailable: at once or within 0.2 s.
        """
        ...

    async def newest(self, topics: Collection[str]) -> dict[str, str]:
        """The place to follow after to get what is published from now on, by topic.

        Take it, read the database, then follow after it: that way nothing is missed in between.

        Raises:
            BusUnavailable: as of `publish_many`.
        """
        ...

    def follow(self, topics: Collection[str], after: After = "now") -> AsyncGenerator[Received | Gap, None]:
        """What is kept of the topics after a place, then what comes, until the task is cancelled or it is closed.

        In order within a topic, nothing twice. Where something may be missing there is a Gap: it was trimmed or
        forgotten, the bus lost what it held or was away, or a publisher could not reach it.

        Args:
            after: ids by topic, as received earlier or from `newest` (topics it leaves out: now); "now", which is when
                the first is asked for; "start", which is all that is kept.
        """
        ...

    async def close(self) -> None:
        """Give up the connections."""
        ...
