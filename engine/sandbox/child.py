"""The process that runs the author's code: started anew for one job, walled in, then given the job.

The wall of this first form has two layers. Against waste: limits of the system on time, memory, files and processes.
Against reaching out: an empty environment and, above all, the policy and the guards, which are the only thing between
the author's code and the files that this process could read. They therefore deny by default, by type.
"""

import gc
import os

from engine.sandbox import wire
from engine.sandbox.confine import confine
from engine.sandbox.explain import innermost_line
from engine.sandbox.log import Log
from engine.sandbox.modules import load
from engine.sandbox.runner import Failed, Job, run

CHANNEL = 0  # standard input is a socket to the host, for both ways
RESERVE = 2**20  # bytes, to have some left to say that there are none


def main(memory_bytes: str, cpu_s: str, log_bytes: str, result_bytes: str, frames: str) -> None:
    """Wall the process in, take one job, answer, end. All arguments are text of the command line."""
    if frames == "frames":
        # Now, while it may still read files and take the memory that is not the author's.
        load("pandas")
    confine(int(memory_bytes), float(cpu_s))
    _hide_errors()
    reserve = bytearray(RESERVE)
    send(wire.READY, b"")
    try:
        work(int(log_bytes), int(result_bytes))
    except MemoryError as error:
        del reserve
        send(wire.FAILURE, b'o{"kind":"memory","line":%d}' % (innermost_line(error.__traceback__) or 0))
    except BrokenPipeError:
        pass  # the host is gone
    os._exit(0)


def work(log_bytes: int, result_bytes: int) -> None:
    """Take the job and answer it."""
    job = Job(**wire.decode(receive()))
    gc.freeze()  # the items stay to the end: looking through them again and again is waste
    log = Log(log_bytes, lambda text, line: send(wire.LINE, wire.encode([text, line])))
    try:
        outcome = run(job, log)
    except Failed as error:
        send(wire.FAILURE, wire.encode({"kind": "error"} | error.facts))
        return
    size = len(outcome.payload) - 1
    if size > result_bytes:
        send(wire.FAILURE, wire.encode({"kind": "result", "size": size}))
        return
    send(wire.RESULT, outcome.payload)
    send(wire.FACTS, wire.encode({"sources": outcome.sources, "errors": outcome.errors}))


def send(kind: bytes, payload: bytes) -> None:
    """One frame to the host."""
    for part in (wire.header(kind, payload), payload):
        view = memoryview(part)
        while view:
            view = view[os.write(CHANNEL, view) :]


def receive() -> bytearray:
    """The payload of the job."""
    _, length = wire.HEADER.unpack(_exactly(wire.HEADER.size))
    return _exactly(length)


def _exactly(length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = os.readv(CHANNEL, [view])
        if not count:
            os._exit(0)  # the host is gone
        view = view[count:]
    return data


def _hide_errors() -> None:
    # What fails before this is ours, and the host reads it. What a library writes later goes nowhere, like the output.
    os.dup2(1, 2)
