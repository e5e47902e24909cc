"""Answers of the API: JSON of any value, and errors in one form with the status of their class."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from engine.convert import dumps
from engine.errors import CredentialError, DefinitionError, InvalidWorkflow, NodeError, StudioError
from engine.runtime.service import (
    BadRequest,
    BeingSent,
    BusUnavailable,
    EditConflict,
    EffectsAhead,
    HeldBefore,
    InUse,
    NotAllowed,
    NotFound,
    NotPublished,
    Overloaded,
    ProblemView,
    StoreUnavailable,
    Taken,
    WrongStatus,
)

# The first class that fits decides; every other StudioError is our own fault: 500.
STATUS: tuple[tuple[type[StudioError], int], ...] = (
    (NotAllowed, 401),
    (NotFound, 404),
    (Taken, 409),
    (InUse, 409),
    (EditConflict, 409),
    (EffectsAhead, 409),
    (HeldBefore, 409),
    (BeingSent, 409),
    (NotPublished, 409),
    (WrongStatus, 409),
    (BadRequest, 422),
    (DefinitionError, 422),
    (NodeError, 422),
    (CredentialError, 422),
    (Overloaded, 429),
    (StoreUnavailable, 503),
    (BusUnavailable, 503),
)
HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": "1"},
    503: {"Retry-After": "1"},
}
CODES = {400: "request.body", 404: "not_found", 405: "request.method", 413: "request.too_large"}
HINTS = {
    400: "Send JSON, in UTF-8.",
    404: "/api/openapi.json lists what there is.",
    405: "The header Allow names the methods of this address.",
}
SHOWN = 5


class Json(JSONResponse):
    """JSON of any value: whole numbers of any size, and half a surrogate pair."""

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return dumps(content)


class ErrorAnswer(BaseModel):
    """What every error looks like. `problems` comes with a workflow that has some."""

    code: str
    message: str
    hint: str | None = None
    problems: list[ProblemView] | None = None


# What each route may answer besides: for the schema.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in {
        400: "The body cannot be read",
        401: "Nobody is signed in",
        404: "There is no such thing",
        409: "It does not fit what is there",
        413: "The body is too large",
        422: "It cannot be used as it is",
        429: "Too much waits already",
        503: "The database cannot be used just now",
    }.items()
}


def status_of(exc: StudioError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(exc, kind)), 500)


def error(status: int, code: str, message: str, hint: str | None = None, **more: Any) -> Json:
    """An error as an answer."""
    content = {"code": code, "message": message, "hint": hint, **more}
    return Json(content, status, headers=dict(HEADERS.get(status, {})))


def answer_errors(app: FastAPI) -> None:
    """Let every error that a route ends with be answered in the one form."""

    @app.exception_handler(StudioError)
    def studio_error(request: Request, exc: StudioError) -> Json:
        if isinstance(exc, InvalidWorkflow):
            count = len(exc.problems)
            return error(
                422,
                exc.code,
                f"{count} problem{'s' if count > 1 else ''} in the workflow",
                "Each of `problems` has its place and what to do.",
                problems=[ProblemView.of(problem).model_dump() for problem in exc.problems],
            )
        more = {"nodes": list(exc.nodes)} if isinstance(exc, EffectsAhead) else {}
        return error(status_of(exc), exc.code, exc.message, exc.hint, **more)

    @app.exception_handler(RequestValidationError)
    def validation_error(request: Request, exc: RequestValidationError) -> Json:
        # Without the input: it may be a secret.
        said = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in exc.errors()[:SHOWN]]
        more = len(exc.errors()) - SHOWN
        media_type = request.headers.get("content-type", "nothing").partition(";")[0]
        is_sent_as_json = media_type == "application/json" or media_type.endswith("+json")
        hint = None if is_sent_as_json else f"Send the body as Content-Type: application/json, not as {media_type}."
        return error(422, "request.invalid", "; ".join(said) + (f"; and {more} more" if more > 0 else ""), hint)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, exc: HTTPException) -> Json:
        answer = error(
            exc.status_code,
            CODES.get(exc.status_code, "request"),
            str(exc.detail),
            HINTS.get(exc.status_code),
        )
        answer.headers.update(exc.headers or {})
        return answer

    @app.exception_handler(Exception)
    def fault(request: Request, exc: Exception) -> Json:
        # The server logs it: Starlette raises it again once this is sent.
        return error(500, "internal", "Flowleaf has a fault here", "The log says more.")


def _place(loc: tuple[str | int, ...]) -> str:
    """Where in a request: `body.name`, `limit`."""
    parts = loc[1:] if loc and loc[0] in ("query", "path") else loc
    return ".".join(map(str, parts)) or "request"
