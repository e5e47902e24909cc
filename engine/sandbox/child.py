"""The process that runs the author's code: started anew for one job, walled in, then given the job.

The wall of this first form has two layers. Against waste: limits of the system on time, memory, files and processes.
Against reaching out: an empty environment and, above all, the policy and the guards, which are the only thing between
the author's code and the files that this process could read. They therefore deny by default, by type.
"""

import contextlib
import gc
import os

from engine.sandbox import wire
from engine.sandbox.confine import confine
from engine.sandbox.explain import innermost_line
from engine.sandbox.log import Log
from engine.sandbox.modules import load
from engine.sandbox.runner import Failed, Job, run

RESERVE = 2**20  # bytes, to have some left to say that there are none


class Channel:
    """Frames to and from the host, over a socket that is there as a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, kind: bytes, payload: bytes) -> None:
        """One frame to the host."""
        for part in (wire.header(kind, payload), payload):
            view = memoryview(part)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def receive(self) -> bytearray:
        """The payload of the next frame. Raises EOFError when the host is gone."""
        _, length = wire.HEADER.unpack(self._exactly(wire.HEADER.size))
        return self._exactly(length)

    def _exactly(self, length: int) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = os.readv(self._descriptor, [view])
            if not count:
                raise EOFError
            view = view[count:]
        return data


def main(memory_bytes: str, cpu_s: str, log_bytes: str, result_bytes: str, frames: str) -> None:
    """Wall the process in, take one job, answer, end. All arguments are text of the command line."""
    if frames == "frames":
        # Now, while it may still read files, and take memory that is not the author's.
        load("pandas")
    confine(int(memory_bytes), float(cpu_s))
    os.dup2(1, 2)  # the host read what failed up to here; what a library complains of later goes nowhere
    channel = Channel(0)
    channel.send(wire.READY, b"")
    with contextlib.suppress(EOFError, BrokenPipeError):  # the host is gone, and so are we
        work(channel, int(log_bytes), int(result_bytes))
    os._exit(0)


def work(channel: Channel, log_bytes: int, result_bytes: int) -> None:
    """Take one job and answer it."""
    reserve = bytearray(RESERVE)
    try:
        job = Job(**wire.decode(channel.receive()))
        gc.freeze()  # the items stay to the end: looking through them again and again is waste
        log = Log(log_bytes, lambda text, line: channel.send(wire.LINE, wire.encode([text, line])))
        outcome = run(job, log)
    except Failed as error:
        channel.send(wire.FAILURE, wire.encode({"kind": "error"} | error.facts))
    except MemoryError as error:
        del reserve
        channel.send(wire.FAILURE, b'o{"kind":"memory","line":%d}' % (innermost_line(error.__traceback__) or 0))
    else:
        size = len(outcome.payload) - 1
        if size > result_bytes:
            channel.send(wire.FAILURE, wire.encode({"kind": "result", "size": size}))
        else:
            channel.send(wire.RESULT, outcome.payload)
            channel.send(wire.FACTS, wire.encode({"sources": outcome.sources, "errors": outcome.errors}))
