"""Ids that sort by the time they were made, and the clock they are made from."""

import time
from random import getrandbits


def now_ms() -> int:
    """Milliseconds since 1970, UTC: the form of all times in tables."""
    return time.time_ns() // 1_000_000


def new_id(at_ms: int | None = None) -> str:
    """32 hex characters: 12 of the time in milliseconds, 20 by chance. Later ids sort behind earlier ones.

    80 bits by chance: a thousand ids in one millisecond meet once in 10^18. An id is no secret.
    """
    return f"{now_ms() if at_ms is None else at_ms:012x}{getrandbits(80):020x}"


def time_of(id_: str) -> int:
    """When an id was made, milliseconds since 1970."""
    return int(id_[:12], 16)
