"""PostgreSQL crashes and comes back: what was accepted is there, what was under way goes on."""

import os
import time

import pytest

from tests.support.chaos_calls import Calls
from tests.support.chaos_ledger import Ledger, lost, run_again, settle
from tests.support.chaos_target import Target
from tests.support.installation import Installation
from tests.support.servers import PostgresServer

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
AWAY_S = float(os.environ.get("CHAOS_AWAY_S", "2.5"))
KINDS = {"orders": 8, "once": 3, "answers": 3, "writes": 4, "slow": 3}


def test_crashes_of_postgresql_lose_and_double_nothing(
    made: Installation, service: Target, postgres_server: PostgresServer
) -> None:
    made.start_all("hooks", "worker", "worker")
    pids = [process.pid for process in made.processes]
    with Ledger(made) as ledger, Calls([made.port], KINDS, rate=300) as calls:
        for _ in range(2):
            time.sleep(0.8)
            postgres_server.restart()
        time.sleep(1)
        promises = calls.stop()
        made.wait_until_all_ended()
    settle(made, promises, service)
    assert not ledger.moved()
    assert [process.pid for process in made.processes if process.alive] == pids
    assert promises.statuses[202] > 100


def test_postgresql_away_for_a_while_is_told_to_callers_and_waited_for(
    made: Installation, service: Target, postgres_server: PostgresServer
) -> None:
    hooks, worker = made.start_all("hooks", "worker")
    with Ledger(made) as ledger, Calls([made.port], KINDS) as calls:
        time.sleep(0.8)
        before_mb = {process: process.rss_mb for process in (hooks, worker)}
        postgres_server.stop()
        began = time.time()
        time.sleep(1)
        answered = calls.promises.statuses[503]
        time.sleep(1)
        assert calls.promises.statuses[503] > answered + 5
        assert made.get("/readyz")[0] == 503
        assert made.get("/livez")[0] == 200
        time.sleep(AWAY_S - 2)
        for process, mb in before_mb.items():
            assert process.rss_mb < mb + 60, f"{process.role} grew"
        postgres_server.start()
        ended = time.time()
        time.sleep(1.5)
        promises = calls.stop()
        made.wait_until_all_ended()
    settle(made, promises)
    assert not run_again(made, service, [(began - 1, ended + 3)])
    assert not ledger.moved()
    assert not lost(made, promises)
    assert promises.longest_s < 30  # who waited for a result when it began has asked for 20 s


def test_a_read_only_postgresql_refuses_calls_clearly_until_it_may_be_written_again(
    made: Installation, service: Target, postgres_server: PostgresServer
) -> None:
    hooks, worker = made.start_all("hooks", "worker")
    with Calls([made.port], KINDS, rate=100) as calls:
        time.sleep(0.7)
        database = made.store.engine.url.database
        assert database is not None
        _say(made, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        _end_sessions(made)
        time.sleep(1.2)
        refused = calls.promises.statuses[503]
        assert refused > 10
        _say(made, f"ALTER DATABASE {database} SET default_transaction_read_only = off")
        _end_sessions(made)
        time.sleep(1)
        promises = calls.stop()
    made.wait_until_all_ended()
    settle(made, promises)
    assert hooks.alive and worker.alive
    assert "journal" not in worker.said.partition("Exception in thread")[2]


def _say(made: Installation, statement: str) -> None:
    with made.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql(statement)


def _end_sessions(made: Installation) -> None:
    """So that those who come back find it so."""
    made.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid != pg_backend_pid()"
    )
