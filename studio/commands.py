"""The commands of the service: `up` and its processes, and what they store. Each imports what it uses when called."""

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import DefinitionError

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on, instead of FLOWLEAF_HOST.", metavar="ADDRESS")
]
Port = Annotated[
    int | None, typer.Option("--port", help="Port to listen on, instead of FLOWLEAF_PORT.", min=1, max=65_535)
]
# Given by the supervisor: the pipe for signs of life.
SignsOfLife = Annotated[int | None, typer.Option("--pulse", hidden=True)]

database_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The database's schema.",
    epilog="Example: flowleaf db upgrade",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order in which help lists them."""
    for command, example in (
        (up, "flowleaf up"),
        (web, "flowleaf web --port 8001"),
        (hooks, "flowleaf hooks --host 0.0.0.0 --port 8080"),
        (worker, "flowleaf worker --slots async=400,code=8"),
        (scheduler, "flowleaf scheduler"),
        (import_, "flowleaf import orders.json --publish"),
        (export, "flowleaf export ID > orders.json"),
        (backup, "flowleaf backup flowleaf.backup"),
        (restore, "flowleaf restore flowleaf.backup"),
    ):
        app.command(command.__name__.rstrip("_"), epilog=f"Example: {example}")(command)
    database_app.command("upgrade", epilog="Example: flowleaf db upgrade")(upgrade)
    # A group of one command would be that command.
    database_app.callback()(lambda: None)
    app.add_typer(database_app, name="db")


def up(host: Host = None, port: Port = None, debug: Debug = False) -> None:
    """Start everything here: web, worker and scheduler, with SQLite and Redis where no others are named.

    Ctrl-C stops it. FLOWLEAF_DATABASE_URL and FLOWLEAF_REDIS_URL name other servers.
    """
    from studio.up import up

    up(host, port)


def web(
    host: Host = None,
    port: Port = None,
    pulse: SignsOfLife = None,
    listener: Annotated[list[int] | None, typer.Option("--listener", hidden=True)] = None,
    debug: Debug = False,
) -> None:
    """Run the web process alone: webhooks, API and studio.

    It needs FLOWLEAF_REDIS_URL, and FLOWLEAF_DATABASE_URL or the data folder of the others.
    """
    from studio.place import settings_with
    from studio.process import run_web

    run_web(settings_with(host, port), pulse=pulse, inherited=tuple(listener or ()))


def hooks(host: Host = None, port: Port = None, pulse: SignsOfLife = None, debug: Debug = False) -> None:
    """Run a process that answers webhooks and nothing else; any number of them may run.

    It needs FLOWLEAF_REDIS_URL, and FLOWLEAF_DATABASE_URL or the data folder of the others.
    """
    from studio.place import settings_with
    from studio.process import run_hooks

    run_hooks(settings_with(host, port), pulse=pulse)


def worker(
    slots: Annotated[
        str | None,
        typer.Option("--slots", metavar="NAME=COUNT,...", help="Executions at a time: async, code, heavy, draft."),
    ] = None,
    pulse: SignsOfLife = None,
    debug: Debug = False,
) -> None:
    """Run a process that runs executions; several on PostgreSQL, one on SQLite.

    It needs FLOWLEAF_REDIS_URL, and FLOWLEAF_DATABASE_URL or the data folder of the others.
    """
    from studio.place import settings_with
    from studio.process import run_worker

    run_worker(settings_with(None, None), pulse=pulse, slots=_slots(slots) if slots is not None else None)


def scheduler(pulse: SignsOfLife = None, debug: Debug = False) -> None:
    """Run a process that starts what is due and sweeps up; several may run, each due time starts once.

    It needs FLOWLEAF_REDIS_URL, and FLOWLEAF_DATABASE_URL or the data folder of the others.
    """
    from studio.place import settings_with
    from studio.process import run_scheduler

    run_scheduler(settings_with(None, None), pulse=pulse)


def import_(
    file: Annotated[Path, typer.Argument(help="Workflow file, JSON or YAML.", metavar="FILE")],
    publish: Annotated[bool, typer.Option("--publish", help="Publish it as well.")] = False,
    debug: Debug = False,
) -> None:
    """Add a workflow file to what is stored, and print the id of the new workflow."""
    from studio.stored import import_file

    print(import_file(file, publish=publish))


def export(
    id: Annotated[str, typer.Argument(help="Id of the workflow.", metavar="ID")],
    pins: Annotated[bool, typer.Option("--pins", help="With the data pinned on its nodes.")] = False,
    debug: Debug = False,
) -> None:
    """Print a stored workflow as a file, without secrets."""
    from studio.stored import export_file

    print(export_file(id, pins=pins), end="")


def upgrade(debug: Debug = False) -> None:
    """Bring the database's schema to what this Flowleaf needs. `flowleaf up` does so by itself."""
    from studio.stored import upgrade

    print(upgrade())


def backup(
    file: Annotated[Path, typer.Argument(help="File to write.", metavar="FILE")],
    debug: Debug = False,
) -> None:
    """Write all that is stored into one file, also while everything runs. The key is not in it."""
    from studio.stored import backup

    print(backup(file))


def restore(
    file: Annotated[Path, typer.Argument(help="File that backup wrote.", metavar="FILE")],
    force: Annotated[bool, typer.Option("--force", help="Replace what is stored here.")] = False,
    debug: Debug = False,
) -> None:
    """Bring back what a backup holds, into an empty database. Nothing may run meanwhile."""
    from studio.stored import restore

    print(restore(file, force=force))


def _slots(text: str) -> dict[str, int]:
    """`async=200,code=8` as a table. Raises DefinitionError."""
    known = ("async", "code", "heavy", "draft")
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.strip().partition("=")
        if name not in known or not count.isdecimal() or int(count) > 10_000:
            raise DefinitionError(
                f"--slots takes {', '.join(known)} with a number each, not {part.strip()!r}",
                hint="Example: --slots async=200,code=8",
            )
        found[name] = int(count)
    if not any(found.values()):
        raise DefinitionError("--slots leaves nothing to do", hint="Example: --slots async=200,code=8")
    return found
