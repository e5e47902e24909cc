"""Everything a node file may import. Stable: changed as a public library is, by semantic versioning.

A node type is one decorated function, one params model, one docstring. The form, the catalogue, the validation, the
docs page and the conformance test all come from those::

    class LimitParams(Params):
        count: int = field(10, help="How many items to keep.", ge=0)


    @node("core.limit", group="transform", effects="pure")
    def limit(ctx: Context, items: Items, params: LimitParams) -> Items:
        \"\"\"Keep the first items and drop the rest.\"\"\"
        return items[: params.count]
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Protocol

from engine.errors import (
    AddressRefused,
    CodeError,
    CodeLimitExceeded,
    CredentialError,
    DefinitionError,
    ExpressionError,
    InvalidParams,
    MissingValue,
    NodeError,
    RequestMissing,
    StudioError,
    UpstreamError,
    did_you_mean,
)
from engine.fields import Params, PerItem, PerItemOrMissing, field
from engine.items import FileRef, Groups, Item, Items, Lineage, Outputs
from engine.node_type import Effects, NodeType, node
from engine.values import column_of, equal, field_value, match_key, order_key

if typing.TYPE_CHECKING:
    import httpx

__all__ = [
    "AddressRefused",
    "CodeError",
    "CodeLimitExceeded",
    "Context",
    "CredentialError",
    "DefinitionError",
    "Effects",
    "ExpressionError",
    "FileRef",
    "Groups",
    "InvalidParams",
    "Item",
    "Items",
    "Lineage",
    "MissingValue",
    "NodeError",
    "NodeType",
    "Outputs",
    "Params",
    "PerItem",
    "PerItemOrMissing",
    "Request",
    "RequestMissing",
    "StudioError",
    "UpstreamError",
    "column_of",
    "did_you_mean",
    "equal",
    "field",
    "field_value",
    "match_key",
    "node",
    "order_key",
]


class HttpRequests(Protocol):
    """The one way out: every address is checked, every answer bounded."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        json: Any = ...,
        content: bytes | str | None = None,
        form: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        follow_redirects: bool = True,
    ) -> "httpx.Response":
        """The answer, body read. Raises AddressRefused, or UpstreamError when no answer came; a 404 is an answer."""


class Context(Protocol):
    """What a running node may do to the outside world."""

    @property
    def http(self) -> HttpRequests:
        """The HTTP client."""

    @property
    def cancelled(self) -> bool:
        """Whether the execution was stopped: work in a loop looks here now and then."""

    @property
    def idempotency_key(self) -> str:
        """The same for each attempt at this item of this node run, and for no other: for services that take one."""

    @property
    def now(self) -> str:
        """The start of the execution, ISO 8601 with the workflow's time zone."""

    async def credential(self, name: str) -> Mapping[str, str]:
        """A credential by its name: its kind and its fields, all of them text, some of them secret.

        `{"kind": "header", "name", "value"}`, `{"kind": "bearer", "token"}`, `{"kind": "basic", "user", "password"}`,
        or `{"kind": "hmac", "secret", ...}`, which is for calls that come in. What is secret never goes into items,
        logs or errors: services may send back what they were sent.

        Raises:
            CredentialError: there is none of this name, or it cannot be opened.
        """

    async def run_code(
        self,
        source: str,
        items: Items,
        *,
        shape: Literal["items", "item"] = "items",
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        timeout_s: float | None = None,
    ) -> Items:
        """What the author's Python makes of the items, inside the sandbox. Raises CodeError, CodeLimitExceeded."""

    def open_file(self, path: str) -> BinaryIO:
        """A file below the allowed folders, opened to read. Raises NodeError, naming the setting."""

    def log(self, message: str) -> None:
        """A line for the node's log."""

    def respond(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        """Answer the call that started the execution, once this node has succeeded; of several answers the last counts.

        `body` is plain data: a text is sent as it is, anything else as JSON.
        """

    def reject(self, item_index: int, error: NodeError) -> None:
        """Give up one item. Raises `error` unless the node's author lets failing items go on or aside."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a trigger is started with: the items of the call, or None when it is started by hand without any."""

    items: Sequence[Mapping[str, Any]] | None = None
