"""Redis makes things quick; without it everything goes on."""

import os
import time

import pytest

from tests.support.chaos_calls import Calls
from tests.support.chaos_ledger import Ledger, settle
from tests.support.chaos_target import Target
from tests.support.installation import Installation
from tests.support.servers import OwnRedis

KINDS = {"orders": 8, "once": 3, "answers": 6, "writes": 3, "slow": 2}
# As long as the promise says where there is time; `make test` has less.
AWAY_S = float(os.environ.get("CHAOS_AWAY_S", "3"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_redis_killed_and_wiped_again_and_again_costs_nothing(
    made: Installation, service: Target, mortal_redis: OwnRedis
) -> None:
    made.start_all("hooks", "worker")
    with Ledger(made) as ledger, Calls([made.port], KINDS) as calls:
        for _ in range(2):
            time.sleep(0.7)
            mortal_redis.restart()
        time.sleep(0.7)
        promises = calls.stop()
        made.wait_until_all_ended()
    settle(made, promises, service)
    assert not ledger.moved()
    assert promises.statuses.keys() == {200, 202}  # nobody noticed


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_calls_are_accepted_run_and_answered_while_redis_is_away(
    made: Installation, service: Target, mortal_redis: OwnRedis
) -> None:
    hooks, worker = made.start_all("hooks", "worker")
    with Calls([made.port], KINDS) as calls:
        time.sleep(1)
        before_mb = {process: process.rss_mb for process in (hooks, worker)}
        mortal_redis.kill()
        time.sleep(0.2)
        ended = made.rows("SELECT count(*) FROM execution WHERE status = 'succeeded'")[0][0]
        time.sleep(AWAY_S)
        assert made.rows("SELECT count(*) FROM execution WHERE status = 'succeeded'")[0][0] > ended + 20
        for process, mb in before_mb.items():
            assert process.rss_mb < mb + 60, f"{process.role} grew"
        assert made.get("/readyz")[0] == 200
        mortal_redis.start()
        time.sleep(1)
        promises = calls.stop()
    made.wait_until_all_ended()
    settle(made, promises, service)
    assert promises.statuses.keys() == {200, 202}
    assert promises.longest_s < 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_redis_that_hangs_holds_up_nobody(made: Installation, service: Target, mortal_redis: OwnRedis) -> None:
    made.start_all("hooks", "worker")
    with Calls([made.port], KINDS) as calls:
        time.sleep(0.5)
        with mortal_redis.frozen():
            time.sleep(1.5)
        time.sleep(0.5)
        promises = calls.stop()
    made.wait_until_all_ended()
    settle(made, promises, service)
    assert promises.statuses.keys() == {200, 202}
    assert promises.longest_s < 3
