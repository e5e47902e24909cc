"""A child process as the host sees it: its command, the frames to and from it, and its certain end."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from engine.sandbox import wire
from engine.sandbox.contract import Limits

LONGEST_PAUSE_S = 0.02

# Nothing of ours. One thread each, since the child may start none; arrow's own memory pool reserves a GiB at once.
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
LIBRARIES = ("RestrictedPython", "orjson", "numpy", "pandas", "dateutil", "six", "pyarrow", "tzdata")

# The packages are stubs: their real __init__ would load asyncio and more, which take longer than all the rest.
BOOT = """
import sys
here, *folders = sys.argv[1].split("\\n")
sys.path += folders
for name, folder in (("engine", here), ("engine.sandbox", here + "/sandbox")):
    package = sys.modules[name] = type(sys)(name)
    package.__path__ = [folder]
from engine.sandbox.child import main
main(*sys.argv[2:])
"""


class Garbage(Exception):
    """The child said something that has no meaning."""


def command(limits: Limits, *, reads_frames: bool = False) -> list[str]:
    """The command of a child. `reads_frames`: it loads pandas before it is limited."""
    places = "\n".join((str(Path(__file__).parent.parent), *_library_folders()))
    numbers = (limits.memory_mb * 2**20, limits.cpu_s, limits.log_bytes, limits.result_bytes)
    words = [*map(str, numbers), "frames" if reads_frames else "plain"]
    # -s -P: no folders of the user, nor the current one. -S: no .pth files, which may run anything. The environment is
    # ours alone, and read: sets of texts come in one order only with a fixed hash seed.
    return [sys.executable, "-s", "-P", "-S", "-W", "ignore", "-X", "utf8", "-c", BOOT, places, *words]


@cache
def _library_folders() -> tuple[str, ...]:
    specs = (importlib.util.find_spec(name) for name in LIBRARIES)
    origins = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    return tuple(dict.fromkeys(str(Path(origin).parent.parent) for origin in origins))


class Child:
    """A process that was started; call `end` in any case."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 (our own command)
                    arguments,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    cwd="/",
                    env=ENVIRONMENT,
                    start_new_session=True,
                )
        except BaseException:
            self._channel.close()
            raise

    async def send(self, kind: bytes, payload: bytes) -> None:
        """One frame to the child. Raises OSError when it is gone."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._channel, wire.header(kind, payload))
        await loop.sock_sendall(self._channel, payload)

    async def receive_header(self) -> tuple[bytes, int]:
        """Kind of the next frame and length of its payload. Raises EOFError, OSError."""
        kind, length = wire.HEADER.unpack(await self.receive(wire.HEADER.size))
        return kind, length

    async def receive(self, length: int) -> bytearray:
        """So many bytes from the child. Raises EOFError, OSError."""
        loop = asyncio.get_running_loop()
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = await loop.sock_recv_into(self._channel, view)
            if not count:
                raise EOFError
            view = view[count:]
        return data

    async def end(self, patience_s: float = 0.0) -> int:
        """Kill the process and all it started, and wait until it is gone; gives its status.

        Args:
            patience_s: how long it may take to go by itself.
        """
        pause_s = 0.0005
        try:
            while (status := self._process.poll()) is None:
                if patience_s <= 0:
                    self._kill()
                await asyncio.sleep(pause_s)
                patience_s -= pause_s
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        except asyncio.CancelledError:
            # Killed, it is gone at once; going on without waiting would leave a zombie.
            self._kill()
            self._process.wait()
            raise
        finally:
            self._channel.close()
        return status

    def complaint(self) -> str:
        """The last line of what the process wrote to its standard error; ask when it is gone."""
        assert self._process.stderr is not None
        text = self._process.stderr.read(10_000).decode(errors="replace")
        return text.strip().rpartition("\n")[2] or "it said nothing"

    def forget(self) -> None:
        """Close what is left of the process."""
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
