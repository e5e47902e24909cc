"""The processes of an installation, each as a function that runs until a signal: what the commands call."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from engine.errors import DefinitionError
from engine.runtime.locks import WORKER, FileLock, Locked
from engine.runtime.logs import configure_logs
from engine.runtime.parts import Parts
from engine.runtime.processes import free_leases, require_schema
from engine.runtime.pulse import Pulse
from engine.runtime.settings import Settings
from engine.runtime.supervisor import STOP_SIGNALS
from studio import SAMPLES
from studio.listeners import listen
from studio.place import make_home, require_password

# The one before this one may still be on its way out.
WORKER_LOCK_WAIT_S = 2.0


def open_parts(name: str, settings: Settings, *, supervised: bool = False) -> Parts:
    """What a process is made of, with its log set up; by hand, the database is looked at first."""
    configure_logs(settings.log, process=name)
    make_home(settings)
    parts = Parts(settings, samples=[SAMPLES])
    if not supervised:
        require_schema(parts)
    return parts


def run_web(settings: Settings, *, pulse: int | None, inherited: tuple[int, ...] = ()) -> None:
    """Run webhooks, API and studio."""
    from studio.serving import serve
    from studio.web import web_app

    require_password(settings)
    sign = Pulse(pulse)
    sockets = _sockets(settings, inherited)
    parts = open_parts("web", settings, supervised=pulse is not None)
    serve(web_app(parts), sockets, on_start=sign.ready)


def run_hooks(settings: Settings, *, pulse: int | None) -> None:
    """Run webhooks and nothing else."""
    from studio.hooks import hooks_app
    from studio.serving import serve

    sign = Pulse(pulse)
    sockets = _sockets(settings, ())
    serve(hooks_app(open_parts("hooks", settings, supervised=pulse is not None)), sockets, on_start=sign.ready)


def _sockets(settings: Settings, inherited: tuple[int, ...]) -> list[socket.socket]:
    for descriptor in inherited:
        os.set_inheritable(descriptor, False)
    return [socket.socket(fileno=descriptor) for descriptor in inherited] or listen(settings.host, settings.port)


def run_worker(settings: Settings, *, pulse: int | None, slots: Mapping[str, int] | None = None) -> None:
    """Run executions."""
    from engine.runtime.measures import Measures
    from engine.runtime.metrics import publish_metrics
    from engine.runtime.worker import SLOTS, Worker

    sign = Pulse(pulse)
    parts = open_parts("worker", settings, supervised=pulse is not None)
    measures = Measures()
    lock = one_worker(parts) if parts.store.is_sqlite else None
    if lock is not None:
        free_leases(parts)  # what an earlier one left is recovered at once
    # What the environment lacks is found out here, not in a thread.
    wakes = parts.wakes

    async def run() -> None:
        worker = Worker(
            parts.store,
            parts.bus,
            wakes,
            parts.payloads,
            parts.local(),
            parts.vault,
            slots=SLOTS if slots is None else slots,
            measures=measures,
        )
        await _until_signal(worker.run, worker.stop, sign, publish_metrics(parts, measures, "worker"))
        await parts.close()

    _run(run)
    if lock is not None:
        lock.release()


def one_worker(parts: Parts) -> FileLock:
    """The lock that lets one worker process be on SQLite. Raises DefinitionError: there is another one."""
    try:
        return FileLock(parts.home / WORKER, about=f"process {os.getpid()}", wait_s=WORKER_LOCK_WAIT_S)
    except Locked as exc:
        raise DefinitionError(
            "another worker runs on this SQLite database, which is for one",
            hint="Give that one more slots (--slots async=400), or use PostgreSQL: FLOWLEAF_DATABASE_URL.",
        ) from exc


def run_scheduler(settings: Settings, *, pulse: int | None) -> None:
    """Run schedules and what sweeps up."""
    from engine.runtime.measures import Measures
    from engine.runtime.metrics import publish_metrics
    from engine.runtime.scheduler import Scheduler

    sign = Pulse(pulse)
    parts = open_parts("scheduler", settings, supervised=pulse is not None)
    measures = Measures()
    _ = parts.wakes

    async def run() -> None:
        scheduler = Scheduler(parts, measures=measures)
        await _until_signal(scheduler.run, scheduler.stop, sign, publish_metrics(parts, measures, "scheduler"))
        await parts.close()

    _run(run)


async def _until_signal(
    run: Callable[[], Awaitable[None]], stop: Callable[[], None], sign: Pulse, beside: Awaitable[None]
) -> None:
    """Run until a signal says to stop, also one that came in ignored."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    helper = asyncio.ensure_future(beside)
    gc.collect()
    gc.freeze()  # what is there now stays: it need not be looked at again and again
    gc.set_threshold(20_000, 20, 50)  # 6 % of a worker's time, where young objects are many and die young
    loop.call_soon(sign.ready)
    try:
        await run()
    finally:
        helper.cancel()
        with suppress(asyncio.CancelledError):
            await helper


def _run(work: Callable[[], Awaitable[None]]) -> None:
    import uvloop

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the loop takes it: also where it came in ignored
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
