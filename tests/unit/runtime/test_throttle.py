import pytest

from engine.runtime.bus import Throttle


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(20, clock=clock)


def test_the_first_event_goes_at_once(throttle):
    assert throttle.add("a", {"n": 1}) == {"events": [{"n": 1}]}
    assert throttle.wait_s() is None


def test_events_that_follow_too_soon_go_together(throttle, clock):
    throttle.add("a", {"n": 1})
    assert throttle.add("a", {"n": 2}) is None
    clock.now_s += 0.03
    assert throttle.add("a", {"n": 3}) is None
    assert throttle.due() == []
    assert throttle.wait_s() == pytest.approx(0.02)
    clock.now_s += 0.021
    assert throttle.due() == [("a", {"events": [{"n": 2}, {"n": 3}]})]
    assert throttle.due() == []


def test_an_event_does_not_overtake_those_that_wait(throttle, clock):
    throttle.add("a", {"n": 1})
    throttle.add("a", {"n": 2})
    clock.now_s += 1
    assert throttle.add("a", {"n": 3}) is None
    assert throttle.due() == [("a", {"events": [{"n": 2}, {"n": 3}]})]


def test_topics_do_not_wait_for_each_other(throttle):
    throttle.add("a", {"n": 1})
    assert throttle.add("b", {"n": 2}) == {"events": [{"n": 2}]}


def test_a_topic_that_was_quiet_goes_at_once_again(throttle, clock):
    throttle.add("a", {"n": 1})
    clock.now_s += 0.06
    assert throttle.add("a", {"n": 2}) == {"events": [{"n": 2}]}


def test_no_topic_gets_more_than_its_messages_a_second(throttle, clock):
    sent, seen = 0, []
    for n in range(1_000):
        for message in [throttle.add("a", {"n": n}), *(message for _, message in throttle.due())]:
            if message is not None:
                sent += 1
                seen += [event["n"] for event in message["events"]]
        clock.now_s += 0.001
    seen += [event["n"] for _, message in throttle.flush() for event in message["events"]]
    assert sent <= 20
    assert seen == list(range(1_000))


def test_flushing_gives_what_waits(throttle):
    throttle.add("a", {"n": 1})
    throttle.add("a", {"n": 2})
    assert throttle.flush() == [("a", {"events": [{"n": 2}]})]
    assert throttle.flush() == []
