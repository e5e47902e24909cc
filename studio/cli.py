"""The `flowleaf` command. It starts quickly: each command imports what it uses when it is called."""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import DefinitionError, InvalidWorkflow, StudioError
from studio import SAMPLES, commands

RUN_FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
    help="Flowleaf: reactive, notebook-style workflows.",
    epilog="Example: flowleaf up",
)
node_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make node types of your own.",
    epilog="Example: flowleaf node new acme.reverse",
)
app.add_typer(node_app, name="node")
commands.add_to(app)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def main() -> None:
    """The console script: errors become a few lines and an exit code."""
    try:
        code = app(standalone_mode=False)  # click gives an Exit's code back, and raises everything else
    except Exception as exc:  # noqa: BLE001  the last place where an error can be told
        if "--debug" in sys.argv:
            traceback.print_exc()
        code = _told(exc)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:  # also what typer makes of an interrupt while a command runs
        print("stopped", file=sys.stderr)
    # Not by way of sys.exit: a thread that still computes, for a node that was stopped or ran out of time, would be
    # waited for.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0)


def _told(exc: Exception) -> int:
    """Say what went wrong; gives the exit code."""
    if isinstance(exc, StudioError):
        _report(exc)
        return USAGE if isinstance(exc, DefinitionError) else RUN_FAILED
    if isinstance(exc, typer.Abort):
        return INTERRUPTED
    if isinstance(exc, BrokenPipeError):  # the reader has seen enough, as in `| head`
        return 0
    if hasattr(exc, "show"):  # click's usage errors
        exc.show()
        return USAGE
    if isinstance(exc, OSError):
        print(f"error: {exc.strerror or exc}{f': {exc.filename}' if exc.filename else ''}", file=sys.stderr)
        return RUN_FAILED
    print(f"error: {type(exc).__name__}: {exc}", file=sys.stderr)
    print("  -> This is a fault of Flowleaf; --debug shows where.", file=sys.stderr)
    return RUN_FAILED


@app.command(epilog="Example: flowleaf run orders.json --input calls.ndjson --node 'Over 100?' --output table")
def run(
    file: Annotated[Path, typer.Argument(help="Workflow file, JSON or YAML.", metavar="FILE")],
    input: Annotated[
        str | None, typer.Option("--input", metavar="FILE|-", help="The trigger's items: JSON or NDJSON objects.")
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="LABEL", help="Run what this node needs, and print its result.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A variable: vars.NAME in expressions.")
    ] = None,
    trigger: Annotated[
        str | None, typer.Option("--trigger", metavar="LABEL", help="The trigger to start, where there are several.")
    ] = None,
    output: Annotated[str, typer.Option("--output", metavar="json|ndjson|table", help="Form of the result.")] = "json",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do not run nodes that change something outside; show what they would do.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Run a workflow file here and now, without servers, and print its result.

    Exit code: 0 done, 1 the run failed, 2 the file or the call is wrong.
    """
    from studio.local import Options, run_file
    from studio.terminal import FORMS

    if output not in FORMS:
        raise DefinitionError(f"--output is {' or '.join(FORMS)}, not {output!r}")
    options = Options(input=input, node=node, vars=_variables(set_ or []), trigger=trigger, dry_run=dry_run)
    raise typer.Exit(run_file(file, options, form=output, samples=SAMPLES))


@app.command(epilog="Example: flowleaf nodes --output json")
def nodes(
    output: Annotated[str, typer.Option("--output", metavar="json|table", help="Form of the list.")] = "table",
    debug: Debug = False,
) -> None:
    """List the node types that are installed."""
    from engine.registry import Registry
    from studio.terminal import print_catalogue

    if output not in ("json", "table"):
        raise DefinitionError(f"--output is json or table, not {output!r}")
    registry = Registry()
    print_catalogue(registry.discover(), output)
    for package, why in registry.failures.items():
        print(f"warning: the package {package} did not load: {why}", file=sys.stderr)


@app.command(epilog="Example: flowleaf doctor")
def doctor(debug: Debug = False) -> None:
    """Check this installation: Python, settings, data, database, Redis, ports, node packages, code nodes, files."""
    from studio.doctor import examine

    raise typer.Exit(RUN_FAILED if examine(samples=SAMPLES) else 0)


@node_app.command("new", epilog="Example: flowleaf node new acme.reverse")
def node_new(
    name: Annotated[str, typer.Argument(help="Name of the node type, such as acme.reverse.", metavar="NAME")],
    folder: Annotated[Path, typer.Option("--in", help="Folder to put the package into.")] = Path(),
    debug: Debug = False,
) -> None:
    """Make a package with a node type of your own, ready to install and to test."""
    from studio.scaffold import make_package

    made = make_package(name, folder)
    print(f"Made {made}. Next:\n  pip install -e {made}\n  flowleaf nodes\n  pytest {made}")


def _variables(assignments: list[str]) -> dict[str, Any]:
    """`name=value` pairs: a value that is JSON (a number, true, a list) keeps its type, anything else is text."""
    from engine.convert import loads

    found: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name.isidentifier():
            raise DefinitionError(f"--set takes name=value, not {assignment!r}", hint="Example: --set rate=1.2")
        try:
            found[name] = loads(value)
        except ValueError:
            found[name] = value
    return found


def _report(error: StudioError) -> None:
    """An error in a few readable lines."""
    if isinstance(error, InvalidWorkflow):
        count = len(error.problems)
        print(f"error: {count} problem{'s' if count > 1 else ''} in the workflow", file=sys.stderr)
        for problem in error.problems:
            print(f"- {problem}", file=sys.stderr)
        return
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  -> {error.hint}", file=sys.stderr)
