"""How far a follower has read each topic, and whether something is missing before what it reads next.

An id is `LIFE-NUMBER`. A topic's numbers count from 1 without holes; its life is the time, in milliseconds, at which it
was first published on since it was last forgotten. So what follows an id is known, and anything else is a gap.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from engine.convert import loads
from engine.runtime.bus.messages import After, Gap, Received

START = "0-0"


class Positions:
    """The place in each topic. Entries are `(id, data)`; data is JSON, or empty where a publisher lost a message."""

    def __init__(self, topics: Collection[str], after: After) -> None:
        given = {} if after == "now" else dict.fromkeys(topics, START) if after == "start" else after
        self._topics = tuple(dict.fromkeys(topics))
        self._after = {topic: given[topic] for topic in self._topics if topic in given}

    def __getitem__(self, topic: str) -> str:
        return self._after[topic]

    def settle(self, newest: Mapping[str, str], *, was_away: bool = False) -> list[Gap]:
        """The gaps that show when the newest id of each topic is known; a topic without one holds nothing.

        Topics without a place get the newest one.

        Args:
            was_away: the bus could not be reached for a while, so that publishers may not have reached it either.
        """
        gaps = []
        for topic in self._topics:
            place = self._after.setdefault(topic, newest.get(topic, START))
            is_lost = place != START and not _is_within(place, newest.get(topic))
            if is_lost:
                self._after[topic] = START
            if is_lost or was_away:
                gaps.append(Gap(topic, self._after[topic]))
        return gaps

    def read(self, topic: str, entries: Iterable[tuple[str, bytes]]) -> Iterator[Received | Gap]:
        """What a follower is given for entries that come after its place; moves the place along."""
        for entry_id, data in entries:
            if not _is_next(self._after[topic], entry_id):
                self._after[topic] = _before(entry_id)
                yield Gap(topic, self._after[topic])
            self._after[topic] = entry_id
            yield Received(topic, entry_id, loads(data)) if data else Gap(topic, entry_id)


def numbers(entry_id: str) -> tuple[int, int] | None:
    """Life and number of an id; None when it is none, as when a browser sends something else."""
    life, _, number = entry_id.partition("-")
    # isascii: isdigit alone accepts what int() refuses. 20 digits hold the 64 bits of a stream's id.
    is_id = (life + number).isascii() and life.isdigit() and number.isdigit() and len(entry_id) <= 41
    return (int(life), int(number)) if is_id else None


def _is_within(place: str, newest: str | None) -> bool:
    at, end = numbers(place), numbers(newest or "")
    return at is not None and end is not None and at[0] == end[0] and at[1] <= end[1]


def _is_next(place: str, entry_id: str) -> bool:
    at, now = numbers(place), numbers(entry_id)
    if at is None or now is None:
        return False
    return now[1] == 1 if place == START else now == (at[0], at[1] + 1)


def _before(entry_id: str) -> str:
    life, _, number = entry_id.partition("-")
    return f"{life}-{int(number) - 1}"
