"""One log for all processes: a JSON object per line, or readable lines on a terminal.

    log = get_logger()
    log.info("execution finished", execution_id=..., duration_ms=...)

Every line has `at` (UTC), `level`, `process` and `event`; then what the call gives, and what is bound around it with
`with bound(execution_id=...):`. Values of credentials are never logged; what stands under a secret's name, or in an
address or a header in a text, is masked all the same. Tracebacks are without the values of variables.
"""

import json
import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import IO, Any

import orjson
import structlog
from structlog.contextvars import bound_contextvars as bound
from structlog.contextvars import merge_contextvars
from structlog.typing import FilteringBoundLogger

from engine.errors import DefinitionError, did_you_mean
from engine.runtime.credentials.redaction import is_secret_name, without_named_secrets

__all__ = ["LEVELS", "bound", "configure_logs", "get_logger"]

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# What they say below this is either noise or holds values: SQL with its parameters, addresses with their queries.
QUIETER = {
    "alembic": logging.INFO,
    "asyncio": logging.WARNING,
    "hpack": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "sqlalchemy": logging.WARNING,
}
# They bring handlers of their own, which would write each line a second time.
ROUTED = (
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "uvicorn.asgi",
    "dramatiq",
    "alembic",
    "sqlalchemy",
    "py.warnings",
)
LONGEST_REPR = 200


def get_logger() -> FilteringBoundLogger:
    """The logger of a module; until `configure_logs` is called it writes warnings and errors, as readable lines."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def configure_logs(level: str, *, process: str, readable: bool | None = None) -> None:
    """Sends this process's log, and that of the libraries, to stderr. Called once, when a process starts.

    Args:
        level: debug, info, warning or error; nothing below it is written.
        process: name in each line, such as web or worker.
        readable: lines for people instead of JSON; None where stderr is a terminal.

    Raises:
        DefinitionError: no such level.
    """
    number = LEVELS.get(level.lower())
    if number is None:
        raise DefinitionError(f"no level of the log is called {level!r}", hint=did_you_mean(level, LEVELS))
    is_readable = _is_terminal(sys.stderr) if readable is None else readable
    form = _Form(process, is_readable)
    structlog.configure(
        processors=[merge_contextvars, form],
        # Methods below the level do nothing at all: cheaper than a processor that drops the line.
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Output,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_Routed(form)]
    root.setLevel(number)
    for name in ROUTED:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name, least in QUIETER.items():
        logging.getLogger(name).setLevel(max(number, least))
    logging.captureWarnings(True)


class _Form:
    """Makes a line of an event; raises nothing, whatever the event holds."""

    def __init__(self, process: str, readable: bool) -> None:
        self._process = process
        self._write = _readable if readable else _json

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        what = event.pop("event", "")
        line: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": event.pop("level", "error" if method == "exception" else method),
            "process": self._process,
            "event": without_named_secrets(what if isinstance(what, str) else _plain(what)),
        }
        exc_info = event.pop("exc_info", None)
        for name, value in event.items():
            masked = "***" if is_secret_name(name) else without_named_secrets(value)
            line[name if name not in line else f"{name}_"] = masked
        if exc_info:
            line |= _exception(exc_info)
        return self._write(line)


def _exception(exc_info: Any) -> dict[str, str]:
    if not isinstance(exc_info, BaseException | tuple):
        exc_info = sys.exc_info()
    exception = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if exception is None:
        return {}
    # The standard traceback shows source lines; the prettier ones show variables, so secrets.
    text = "".join(traceback.format_exception(exception)).rstrip()
    return {"error": type(exception).__name__, "traceback": without_named_secrets(text)}


def _json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, an integer over 64 bits, an object in itself
        return json.dumps({name: _plain(value) for name, value in line.items()})


def _readable(line: dict[str, Any]) -> str:
    texts = {name: value if isinstance(value, str) else _short_json(value) for name, value in line.items()}
    trace = texts.pop("traceback", "")
    at, level, process, event = (_printable(texts.pop(name)) for name in ("at", "level", "process", "event"))
    rest = "".join(f"  {_printable(name)}={_printable(text)}" for name, text in texts.items())
    lines = "".join(f"\n  {_printable(part)}" for part in trace.splitlines())
    return f"{at[11:23]} {level:<7} {process:<9} {event}{rest}{lines}"


def _short_json(value: Any) -> str:
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return _plain(value)


def _printable(text: str) -> str:
    """The text on one line, without what would steer the terminal: much of what is logged comes from strangers."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return repr(value)[:LONGEST_REPR]
    except Exception:  # noqa: BLE001  a log must not fail on what it is given
        return f"<{type(value).__name__}>"


class _Output:
    """Writes lines to stderr as it is now; what cannot be written is lost, for there is nobody to tell."""

    def __init__(self, *args: object) -> None:
        pass

    def msg(self, line: str) -> None:
        try:
            # In one piece, so that lines of threads and processes do not mix.
            sys.stderr.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # full, closed, none at all
            return

    log = debug = info = warn = warning = error = critical = fatal = exception = msg


class _Routed(logging.Handler):
    """Writes what libraries log with `logging` as if it had been logged here."""

    def __init__(self, form: _Form) -> None:
        super().__init__()
        self._form = form
        self._output = _Output()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001  arguments that do not fit are the library's mistake
            text = str(record.msg)
        event: dict[str, Any] = {"event": text, "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        bound_here: Mapping[str, Any] = structlog.contextvars.get_contextvars()
        self._output.msg(self._form(None, "", {**bound_here, **event}))


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


# Not structlog's own default, which prints everything to stdout: there a command's result goes.
structlog.configure(
    processors=[merge_contextvars, _Form("flowleaf", readable=True)],
    wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    logger_factory=_Output,
)
