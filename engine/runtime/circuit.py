"""Says whether a service that failed is to be tried again, so that not every call waits for it."""

import time


class Circuit:
    """Open for a moment after each failure; while it is open nobody tries. Safe in threads.

    Args:
        pause_s: how long nobody tries after a failure.
    """

    def __init__(self, pause_s: float = 0.25) -> None:
        self._pause_s = pause_s
        self._open_until_s = 0.0  # one float, written whole: needs no lock

    @property
    def is_open(self) -> bool:
        """Whether to give up at once."""
        return time.monotonic() < self._open_until_s

    def failed(self) -> None:
        """Note a failure."""
        self._open_until_s = time.monotonic() + self._pause_s

    def worked(self) -> None:
        """Note that it answered."""
        self._open_until_s = 0.0
