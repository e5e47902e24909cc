"""Every error raised on purpose is a StudioError. The class says who must act.

StudioError                  code, message, hint, retryable
  DefinitionError            the workflow as drawn cannot run: its author acts
    InvalidWorkflow            a file or drawing with problems, all of them listed
    UnknownNodeType            no installed package brings this node type
    InvalidParams              params do not fit the node type
    InvalidConnection          a connection leads to nothing
    CycleError                 the connections form a loop
    RequestMissing             a trigger that only a call can start was started without one
  NodeError                  one node failed on its data: shown on the node
    ExpressionError            a {{ ... }} met data it cannot work with
      MissingValue               it named a field or a variable that is not there
    CodeError                  the author's code raised
    CodeLimitExceeded          the author's code took too long, too much memory, or returned too much
    UpstreamError              a remote service answered with an error, or not at all
    AddressRefused             an address that HTTP nodes may not call
    NodeTimeout                the node did not finish in time
  CredentialError            missing, of the wrong kind, or cannot be decrypted: its owner acts
  ExecutionCancelled         stopped on request; never retried
  InternalError              our bug or our infrastructure
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar


class StudioError(Exception):
    """Base of every deliberate error. `code` is stable: test on it, not on the message.

    Args:
        message: for a person; names the thing at fault and never holds a secret.
        hint: what to do next, one sentence.
    """

    code: ClassVar[str] = "error"
    retryable: bool = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_json(self) -> dict[str, Any]:
        """`{"code", "message", "hint"?}`: the form in events, the `error` field of items and answers."""
        return {"code": self.code, "message": self.message} | ({"hint": self.hint} if self.hint else {})


class DefinitionError(StudioError):
    """The workflow cannot run as drawn."""

    code = "definition"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a workflow, with its place and remedy.

    Attributes:
        place: for people, such as `node "Over 100?", params.conditions[0].test`, or `line 3, column 14`.
        node_id: the node to show it on; None where it belongs to no node.
        field: dotted path inside the node, such as `params.count`; None for the node as a whole.
    """

    code: str
    message: str
    hint: str | None = None
    place: str = ""
    node_id: str | None = None
    field: str | None = None

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return where + self.message + (f"\n  -> {self.hint}" if self.hint else "")


class InvalidWorkflow(DefinitionError):
    """A workflow with problems, all of them in `problems`, in the order of the file."""

    code = "definition.invalid_workflow"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class UnknownNodeType(DefinitionError):
    """No installed package brings this node type."""

    code = "definition.unknown_node_type"


class InvalidParams(DefinitionError):
    """Params that do not fit the node type. `path` is the place inside the params, such as `conditions[0].test`."""

    code = "definition.invalid_params"

    def __init__(self, message: str, *, path: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class InvalidConnection(DefinitionError):
    """A connection whose node, output or input does not exist."""

    code = "definition.invalid_connection"


class CycleError(DefinitionError):
    """The connections form a loop; the message lists it."""

    code = "definition.cycle"


class RequestMissing(DefinitionError):
    """A trigger that only a call can start was started without one, and has no pin data."""

    code = "definition.request_missing"


class NodeError(StudioError):
    """A node failed on its data.

    Args:
        item_index: the input item to blame, counted from 0; None for all of them.
        retryable: whether the same call may go well later; None takes the class's answer.

    Attributes:
        param: the param at fault, such as `conditions[0].value`; None where it is none.
    """

    code = "node"
    retryable = True
    param: str | None = None
    line: int | None = None

    def __init__(
        self, message: str, *, item_index: int | None = None, hint: str | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.item_index = item_index
        if retryable is not None:
            self.retryable = retryable

    def as_json(self) -> dict[str, Any]:
        """As of StudioError, with `item` (from 0), `param` and `line` (from 1) where they are known."""
        places = {"item": self.item_index, "param": self.param, "line": self.line}
        return super().as_json() | {name: place for name, place in places.items() if place is not None}


class ExpressionError(NodeError):
    """An expression that cannot be read, or met data it cannot work with."""

    code = "node.expression"
    retryable = False


class MissingValue(ExpressionError):
    """An expression named a field, a position or a variable that is not there."""

    code = "node.expression.missing"


class CodeError(NodeError):
    """The author's code raised. `line` counts from 1 in the author's source."""

    code = "node.code"

    def __init__(
        self, message: str, *, line: int | None = None, item_index: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, item_index=item_index, hint=hint)
        self.line = line


class CodeLimitExceeded(CodeError):
    """The author's code took too long, too much memory, or gave too much."""

    code = "node.code_limit"
    retryable = False


class UpstreamError(NodeError):
    """A remote service answered with an error, or not at all. `status` is its HTTP status, if it gave one."""

    code = "node.upstream"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        item_index: int | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message, item_index=item_index, hint=hint, retryable=retryable)
        self.status = status


class AddressRefused(NodeError):
    """An address that HTTP nodes may not call."""

    code = "node.address_refused"
    retryable = False


class NodeTimeout(NodeError):
    """The node did not finish in its time."""

    code = "node.timeout"


class CredentialError(StudioError):
    """A credential is missing, of the wrong kind, or cannot be decrypted."""

    code = "credential"


class ExecutionCancelled(StudioError):
    """Stopped on request."""

    code = "cancelled"


class InternalError(StudioError):
    """Our bug or our infrastructure."""

    code = "internal"
    retryable = True


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, or None."""
    by_folded = {k.casefold(): k for k in known}
    found = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str] | Mapping[str, Any]) -> str:
    """A hint: the nearest known name, or the first dozen of them."""
    names = list(known)
    if near := nearest(name, names):
        return f"Did you mean {near!r}?"
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"Known here: {listed}." if names else "There are none here."
