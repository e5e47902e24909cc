"""Who is signed in: the token of programs, the one-time key that `up` prints, and the sessions of browsers."""

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SESSION_COOKIE = "flowleaf_session"
SESSION_S = 30 * 86_400
KEY_S = 600
TOKEN_FILE, KEY_FILE, ENDED_FILE = "token", "signin_key", "signed_out"


def private_write(path: Path, text: str) -> None:
    """Write a file that only this user may read, whole or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    beside.replace(path)


def load_token(home: Path) -> str:
    """The token of the API; made where there is none yet."""
    path = home / TOKEN_FILE
    with suppress(FileNotFoundError):
        if token := path.read_text().strip():
            path.chmod(0o600)
            return token
        path.unlink()
    beside = home / f".{TOKEN_FILE}.{secrets.token_hex(6)}"
    private_write(beside, secrets.token_urlsafe(32) + "\n")
    with suppress(FileExistsError):
        path.hardlink_to(beside)  # of two processes that start at once, the first one's token is both's
    beside.unlink()
    return path.read_text().strip()


def new_key(home: Path, *, lasts_s: int = KEY_S) -> str:
    """A key that signs in once, soon; an earlier one is good no more."""
    key = secrets.token_urlsafe(24)
    private_write(home / KEY_FILE, json.dumps({"digest": _digest(key), "until_s": time.time() + lasts_s}))
    return key


def use_key(home: Path, key: str) -> bool:
    """Whether the key signs in: it is spent by that, also for other processes."""
    path = home / KEY_FILE
    try:
        known = json.loads(path.read_text())
        if not hmac.compare_digest(_digest(key), known["digest"]) or time.time() > known["until_s"]:
            return False
        path.unlink()  # of several that come at once, one succeeds here
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class Sessions:
    """Signed cookies: nothing of a session is stored but that it was ended.

    Args:
        secret: the installation's; sessions are good as long as it is the same.
        password: sessions end when it is changed.
        clock: seconds since 1970.
    """

    def __init__(
        self, home: Path, secret: bytes, password: str | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = home / ENDED_FILE
        self._key = hmac.digest(secret, b"flowleaf session 1\0" + (password or "").encode(), "sha256")
        self._clock = clock
        self._ended: dict[str, int] = {}
        self._ended_mark: tuple[int, int] | None = None

    def begin(self) -> str:
        """A new session, as its cookie's value."""
        what = f"{secrets.token_hex(12)}.{int(self._clock()) + SESSION_S}"
        return f"{what}.{self._signature(what)}"

    def holds(self, value: str) -> bool:
        """Whether the value is of a session that lasts."""
        what, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode("latin-1", "replace"), self._signature(what).encode()):
            return False
        id_, _, until = what.partition(".")
        return int(until) > self._clock() and id_ not in self._read_ended()

    def end(self, value: str) -> None:
        """End a session that lasts; others go on."""
        if not self.holds(value):
            return
        id_, until, _ = value.split(".")
        ended = {other: at for other, at in self._read_ended().items() if at > self._clock()} | {id_: int(until)}
        private_write(self._path, "".join(f"{other} {at}\n" for other, at in ended.items()))

    def _signature(self, what: str) -> str:
        return hmac.digest(self._key, what.encode("utf-8", "replace"), "sha256").hex()

    def _read_ended(self) -> dict[str, int]:
        """Ids of ended sessions, until when they would have lasted; read again when another process wrote them."""
        try:
            stat = self._path.stat()
            if (mark := (stat.st_mtime_ns, stat.st_ino)) != self._ended_mark:
                lines = self._path.read_text().split("\n")
                self._ended = {id_: int(until) for id_, _, until in (line.partition(" ") for line in lines if line)}
                self._ended_mark = mark
        except FileNotFoundError:
            self._ended, self._ended_mark = {}, None
        return self._ended


class Throttle:
    """How long one has to wait before the next try: nothing at first, then longer with each that went wrong.

    Args:
        free: so many may go wrong before.
    """

    MOST = 1_000
    LONGEST_S = 300.0

    def __init__(self, free: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._clock = clock
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait_s(self, who: str) -> float:
        """Seconds to wait; 0: try."""
        count, at = self._wrong.get(who, (0, 0.0))
        if count < self._free:
            return 0.0
        return max(at + min(2.0 ** (count - self._free), self.LONGEST_S) - self._clock(), 0.0)

    def failed(self, who: str) -> None:
        """One more went wrong."""
        count, _ = self._wrong.pop(who, (0, 0.0))
        self._wrong[who] = (min(count + 1, 64), self._clock())
        while len(self._wrong) > self.MOST:
            self._wrong.pop(next(iter(self._wrong)))  # the one whose last try is longest ago

    def worked(self, who: str) -> None:
        """Begin anew."""
        self._wrong.pop(who, None)
