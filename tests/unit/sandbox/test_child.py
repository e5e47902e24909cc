"""What a child says for a job, over a socket, without the process around it."""

import gc
import socket
from threading import Thread

import pytest

from engine.sandbox import wire
from engine.sandbox.child import Channel, work

JOB = {"items": [{"a": 1}], "shape": "items", "inputs": {}, "keep_going": False, "check_only": False}


def said(source, **options):
    """The frames that answer a job, as (kind, value)."""
    ours, theirs = socket.socketpair()
    frames = []
    with ours, theirs:
        host = Channel(ours.fileno())
        thread = Thread(target=work, args=(Channel(theirs.fileno()), 1000, 1000))
        thread.start()
        try:
            host.send(wire.JOB, wire.encode(JOB | {"source": source} | options))
            while not frames or frames[-1][0] in (wire.LINE, wire.RESULT):
                kind, length = wire.HEADER.unpack(ours.recv(wire.HEADER.size, socket.MSG_WAITALL))
                frames.append((kind, wire.decode(ours.recv(length, socket.MSG_WAITALL))))
        finally:
            thread.join()
            gc.unfreeze()
    return frames


def test_items_and_facts_follow_each_other():
    assert said("print('x')\nreturn items") == [
        (wire.LINE, ["x", 1]),
        (wire.RESULT, [{"a": 1}]),
        (wire.FACTS, {"sources": [0], "errors": {}}),
    ]


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("raise MemoryError", {"kind": "memory", "line": 1}),
        ("return {'x': 'y' * 2000}", {"kind": "result", "size": 2010}),
        ("\nraise ValueError('no')", {"kind": "error", "message": "line 2: ValueError: no", "line": 2, "hint": None}),
    ],
)
def test_a_failure_is_said_alone(source, facts):
    assert said(source) == [(wire.FAILURE, facts)]


def test_memory_that_one_item_lacks_fails_all_of_them():
    assert said("raise MemoryError", shape="item", keep_going=True) == [(wire.FAILURE, {"kind": "memory", "line": 1})]


def test_a_host_that_is_gone_ends_the_work():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        with pytest.raises(EOFError):
            work(Channel(theirs.fileno()), 1000, 1000)


def test_a_frame_that_is_too_long_for_its_header_is_not_sent():
    class Long(bytes):
        def __len__(self):
            return 2**33

    with pytest.raises(ValueError, match="4 GiB"):
        wire.header(wire.RESULT, Long())
