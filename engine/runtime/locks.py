"""Locks on files that say which process has the data folder; the system gives them back when the process ends."""

import fcntl
import os
import time
from pathlib import Path

from engine.errors import DefinitionError

UP, WORKER = "lock", "worker.lock"
_POLL_S = 0.02


class Locked(DefinitionError):
    """Another process has it."""

    code = "definition.locked"


class FileLock:
    """A lock that this process holds until `release`, or its end.

    Args:
        wait_s: how long another holder is waited for.

    Raises:
        Locked: another process holds it; `holder` is what it wrote about itself.
        DefinitionError: the file cannot be written.
    """

    def __init__(self, path: Path, *, about: str, wait_s: float = 0.0) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise DefinitionError(
                f"the data folder cannot be written: {exc.strerror}: {path}",
                hint="Let this user write there, or set FLOWLEAF_HOME to another folder.",
            ) from exc
        ends_at = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= ends_at:
                    holder = os.read(self._file, 200).decode("utf-8", "replace").strip() or "another process"
                    os.close(self._file)
                    raise Locked(f"{holder} has the lock {path}") from None
                time.sleep(_POLL_S)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, about.encode(), 0)

    def release(self) -> None:
        """Let others have it."""
        os.close(self._file)
