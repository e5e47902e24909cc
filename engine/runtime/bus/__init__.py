"""Small JSON messages by topic: published by some processes, followed by others, kept for a while for latecomers."""

from engine.runtime.bus.memory_bus import MemoryBus
from engine.runtime.bus.messages import KEPT, Bus, BusUnavailable, Gap, Message, Received
from engine.runtime.bus.positions import START
from engine.runtime.bus.redis_bus import RedisBus
from engine.runtime.bus.throttle import Throttle, ThrottledPublisher

__all__ = [
    "KEPT",
    "START",
    "Bus",
    "BusUnavailable",
    "Gap",
    "MemoryBus",
    "Message",
    "Received",
    "RedisBus",
    "Throttle",
    "ThrottledPublisher",
]
