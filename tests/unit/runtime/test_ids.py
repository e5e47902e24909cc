"""Ids that sort by time."""

import re
import time

from engine.runtime.ids import new_id, now_ms, time_of


def test_an_id_is_32_hex_characters_and_tells_its_time() -> None:
    before = now_ms()
    id_ = new_id()
    assert re.fullmatch(r"[0-9a-f]{32}", id_)
    assert before <= time_of(id_) <= now_ms()


def test_later_ids_sort_behind_earlier_ones() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_id())
        time.sleep(0.0015)
    assert ids == sorted(ids)


def test_an_id_of_a_given_time_has_it() -> None:
    assert time_of(new_id(1_700_000_000_123)) == 1_700_000_000_123
    assert new_id(5) < new_id(6)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_id(7) for _ in range(10_000)}) == 10_000
