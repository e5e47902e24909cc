"""One job in the child: the author's code compiled, run over the items, and its values made plain."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.sandbox import values
from engine.sandbox.explain import Facts, explain
from engine.sandbox.log import Log
from engine.sandbox.modules import IMPORTABLE, load
from engine.sandbox.namespace import new_namespace
from engine.sandbox.program import Program, compile_source
from engine.sandbox.returned import returned

Code = Callable[[Any, Any, Any], Any]


class Job(NamedTuple):
    """What the host asks for; `inputs` is one mapping, or in shape "item" maybe one per item."""

    source: str
    items: list[dict[str, Any]]
    shape: str
    inputs: Any
    keep_going: bool
    check_only: bool


class Outcome(NamedTuple):
    """The items as a payload; the rest as JSON data. `errors`: input index -> what went wrong there."""

    payload: bytes
    sources: list[int | None] | None
    errors: dict[str, Facts]


class Failed(Exception):
    """The code failed as a whole."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts["message"])
        self.facts = facts


class _Rows(NamedTuple):
    rows: list[dict[Any, Any]]
    sources: list[int | None] | None
    errors: dict[str, Facts]


def run(job: Job, log: Log) -> Outcome:
    """The outcome of a job.

    Raises:
        Failed: the code could not be compiled, or raised.
        MemoryError: as it says.
    """
    try:
        program = compile_source(job.source, (job.shape, "params", "df"), IMPORTABLE)
        if job.check_only:
            return Outcome(values.plain_json([]), [], {})
        namespace = new_namespace(log.output, log.log)
        exec(program.code, namespace)  # noqa: S102 (defines the function, in the namespace of the guards)
        code = namespace.pop("code")
        found = _run_items(code, program, job) if job.shape == "items" else _run_each(code, program, job)
        return _plain(found, job)
    except (Failed, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 (SystemExit and the like are the author's too)
        raise Failed(explain(error)) from None
    finally:
        log.finish()


def _run_items(code: Code, program: Program, job: Job) -> _Rows:
    items = list(job.items)  # kept, for the author may empty the list
    value = code(job.items, job.inputs, _frame(program, items))
    found = returned(value, items, job.items)
    return _Rows(found.rows, found.sources, {})


def _run_each(code: Code, program: Program, job: Job) -> _Rows:
    rows: list[dict[Any, Any]] = []
    sources: list[int | None] = []
    errors: dict[str, Facts] = {}
    for index, item in enumerate(job.items):
        try:
            value = code(item, _inputs(job.inputs, index), _frame(program, [item]))
            made = [item] if value is item else returned(value, [item], item).rows
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001
            _note(errors, index, explain(error), job)
            continue
        rows += made
        sources += [index] * len(made)
    return _Rows(rows, sources, errors)


def _plain(found: _Rows, job: Job) -> Outcome:
    try:
        return Outcome(values.fast_json(found.rows), found.sources, found.errors)
    except TypeError:  # something JSON does not know, or a large integer: see which
        return _plain_slowly(found, job)


def _plain_slowly(found: _Rows, job: Job) -> Outcome:
    simpler = values.Simpler()
    made: list[Any] = []
    sources: list[int | None] = []
    errors = dict(found.errors)
    for place, row in enumerate(found.rows):
        source = found.sources[place] if found.sources is not None else None
        try:
            made.append(values.plain(row, simpler))
            sources.append(source)
        except values.NotPlain as error:
            facts = explain(error) | {"message": f"item {place} of the result: {error.message}"}
            if job.shape == "items" or source is None:
                raise Failed(facts) from None
            _note(errors, source, facts, job)
    return Outcome(values.plain_json(made), None if found.sources is None else sources, errors)


def _note(errors: dict[str, Facts], index: int, facts: Facts, job: Job) -> None:
    """Keep the error of one item; without `keep_going` it is the failure of all."""
    if not job.keep_going:
        raise Failed(facts | {"item_index": index})
    errors[str(index)] = facts


def _frame(program: Program, items: list[dict[str, Any]]) -> Any:
    if not program.reads_frame:
        return None
    load("pandas")
    # Only here, since pandas takes a third of a second.
    from engine.sandbox.pandas_proxy import make_frame  # noqa: PLC0415

    return make_frame(items)


def _inputs(inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]], index: int) -> Any:
    return inputs[index] if isinstance(inputs, list) else inputs
