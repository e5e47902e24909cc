"""Removes payload files that nobody needs, while others save and read beside it."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sqlalchemy import bindparam, text

from engine.runtime.data.payloads import Payloads
from engine.runtime.store import Store

# A file is saved before what needs it is committed, so young ones are left alone.
OLD_S = 3_600.0
BATCH = 200
# How long one that is set aside is watched for a writer that found it just before.
WATCH_S = 0.05
ASIDE = ".removing-"

NEEDED = text("SELECT DISTINCT hash FROM payload_use WHERE hash IN :hashes").bindparams(
    bindparam("hashes", expanding=True)
)


def sweep_payloads(
    store: Store, payloads: Payloads, *, older_than_s: float = OLD_S, stopped: Callable[[], bool] = lambda: False
) -> int:
    """Remove the files that are old and named nowhere; gives how many.

    Saving what is there already makes it young again instead of writing it. So a file is first set aside, where no
    writer finds it any more, then looked at once more: who found it just before has made it young, and gets it back.
    """
    _bring_back(payloads, older_than_s)
    payloads.sweep(older_than_s)
    removed = 0
    old = (stored.hash for stored in payloads.all() if time.time() - stored.modified_at_s >= older_than_s)
    for hashes in _batches(old):
        if stopped():
            break
        with store.read() as connection:
            needed = set(connection.execute(NEEDED, {"hashes": hashes}).scalars())
        removed += _remove(payloads, [hash_ for hash_ in hashes if hash_ not in needed], older_than_s)
    return removed


def _batches(hashes: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(hashes, BATCH)):
        yield batch


def _remove(payloads: Payloads, hashes: Sequence[str], older_than_s: float) -> int:
    for hash_ in hashes:
        with suppress(FileNotFoundError):
            payloads.path_of(hash_).rename(_aside(payloads, hash_))
    if hashes:
        time.sleep(WATCH_S)
    removed = 0
    for hash_ in hashes:
        removed += _settle(payloads, hash_, older_than_s)
    return removed


def _settle(payloads: Payloads, hash_: str, older_than_s: float) -> bool:
    """Remove what was set aside, or bring it back; says whether it was removed."""
    aside, path = _aside(payloads, hash_), payloads.path_of(hash_)
    try:
        is_old = time.time() - aside.stat().st_mtime >= older_than_s
    except FileNotFoundError:
        return False
    if not is_old:
        with suppress(FileExistsError):  # then a writer has written it anew
            # Unlike a rename, a link replaces nothing.
            os.link(aside, path)
    aside.unlink(missing_ok=True)
    if is_old and not path.exists():
        for beside in payloads.folder.glob(f"{hash_}.*.json"):
            beside.unlink(missing_ok=True)
    return is_old


def _bring_back(payloads: Payloads, older_than_s: float) -> None:
    """Settle what a process that was killed left set aside."""
    for aside in payloads.folder.glob(f"{ASIDE}*"):
        _settle(payloads, aside.name.removeprefix(ASIDE), older_than_s)


def _aside(payloads: Payloads, hash_: str) -> Path:
    return payloads.folder / f"{ASIDE}{hash_}"
