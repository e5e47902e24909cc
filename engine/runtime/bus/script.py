"""The script that appends messages to Redis streams, and its arguments."""

from collections.abc import Iterable, Mapping

from engine.convert import dumps
from engine.runtime.bus.messages import Message, kept

# KEYS: the streams. ARGV: seconds to live, then for each stream: how many entries to keep, how many follow here, and
# those; an empty one says that a publisher lost something. Numbers have no holes (positions.py): a follower sees what
# was trimmed. XADD alone cannot number so: its `*` is a time.
PUBLISH = """
local at = 2
for _, stream in ipairs(KEYS) do
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    local life, number
    if newest then
        life, number = string.match(newest[1], '^(%d+)-(%d+)$')
    else
        local now = redis.call('TIME')
        life, number = now[1] .. string.format('%03d', math.floor(now[2] / 1000)), 0
    end
    local keep, count = ARGV[at], tonumber(ARGV[at + 1])
    for i = 1, count do
        number = number + 1
        local id = life .. '-' .. string.format('%d', number)
        redis.call('XADD', stream, 'MAXLEN', '~', keep, id, 'm', ARGV[at + 1 + i])
    end
    redis.call('EXPIRE', stream, ARGV[1])
    at = at + 2 + count
end
"""


def grouped(messages: Iterable[tuple[str, Message]], lost: Iterable[str] = ()) -> dict[str, list[bytes]]:
    """Entries by topic, each topic's in order; a topic of `lost` starts with the empty one, which is a gap."""
    entries: dict[str, list[bytes]] = {topic: [b""] for topic in lost}
    for topic, message in messages:
        entries.setdefault(topic, []).append(dumps(message))
    return entries


def arguments(entries: Mapping[str, list[bytes]], limits: Mapping[str, int], expire_s: int) -> list[bytes | int]:
    """What the script's ARGV is."""
    values: list[bytes | int] = [expire_s]
    for topic, data in entries.items():
        values += kept(topic, limits), len(data), *data
    return values
