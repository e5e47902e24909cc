"""What a running node may do: the Context given to it, over the services of whoever runs the workflow."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from engine.api import HttpRequests
from engine.errors import NodeError, StudioError
from engine.items import Items, Lineage

if TYPE_CHECKING:
    from engine.sandbox import CodeResult


class Services(Protocol):
    """The outside world, as the executor needs it. `flowleaf run` and the workers each bring their own."""

    @property
    def http(self) -> HttpRequests:
        """The HTTP client."""

    @property
    def vars(self) -> Mapping[str, Any]:
        """Values that expressions read as `vars.name`."""

    @property
    def now(self) -> str:
        """The start of the execution, ISO 8601 in UTC."""

    async def credential(self, name: str) -> Mapping[str, str]:
        """The kind and the fields of a credential: see `engine.api.Context.credential`. Raises CredentialError."""

    async def run_code(
        self,
        source: str,
        rows: list[dict[str, Any]],
        *,
        shape: Literal["items", "item"],
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        keep_going: bool,
        timeout_s: float | None,
        on_log: Callable[[str, int], None],
    ) -> "CodeResult":
        """The author's Python, run in the sandbox; `on_log` gets each line it logs, and the source line."""

    def open_file(self, path: str) -> BinaryIO:
        """A file below the allowed folders."""


class StepState:
    """What one node run gathers beside its outputs; shared by the contexts of its items.

    Attributes:
        execution_id: what idempotency keys are made of; of a retry, the execution that it retries.
        rejected: index of the input item -> why it was given up.
        stop: whether a rejected item fails the node.
        timeout_s: seconds that the node's author gives one attempt; None where nothing is said.
        log: takes a line for the node's log; set by who listens.
        response: the node's answer to the call that started the execution: status, headers, body.
    """

    __slots__ = (
        "cancelled", "execution_id", "log", "node_id", "now", "rejected", "response", "services", "stop", "timeout_s",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        *,
        execution_id: str,
        node_id: str,
        now: str,
        stop: bool,
        cancelled: Callable[[], bool],
        timeout_s: float | None = None,
    ) -> None:
        self.services = services
        self.execution_id = execution_id
        self.node_id = node_id
        self.now = now
        self.stop = stop
        self.timeout_s = timeout_s
        self.log: Callable[[str], None] = lambda message: None
        self.cancelled = cancelled
        self.rejected: dict[int, StudioError] = {}
        self.response: Mapping[str, Any] | None = None


class NodeContext:
    """The Context of one item (or, for nodes that take all at once, of the node run)."""

    __slots__ = ("_index", "_kept", "_rejected", "_state")

    def __init__(
        self,
        state: StepState,
        *,
        index: int | None = None,
        kept: Sequence[int] | None = None,
        rejected: dict[int, StudioError] | None = None,
    ) -> None:
        """
        Args:
            index: the item being run; None where all are run at once.
            kept: where the node was given only some of its items, their indexes.
        """
        self._state = state
        self._index = index
        self._kept = kept
        # Of this attempt: a thread that outlives its time writes where nobody looks.
        self._rejected = state.rejected if rejected is None else rejected

    @property
    def http(self) -> HttpRequests:
        return self._state.services.http

    @property
    def cancelled(self) -> bool:
        return self._state.cancelled()

    @property
    def now(self) -> str:
        return self._state.now

    @property
    def idempotency_key(self) -> str:
        text = f"{self._state.execution_id}/{self._state.node_id}/{self._index}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    async def credential(self, name: str) -> Mapping[str, str]:
        return await self._state.services.credential(name)

    async def run_code(
        self,
        source: str,
        items: Items,
        *,
        shape: Literal["items", "item"] = "items",
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        timeout_s: float | None = None,
    ) -> Items:
        result = await self._state.services.run_code(
            source,
            items.rows,
            shape=shape,
            inputs=inputs or {},
            keep_going=not self._state.stop,
            timeout_s=timeout_s or self._state.timeout_s,
            on_log=lambda text, line: self.log(text),
        )
        for index, error in sorted(result.errors.items()):
            self.reject(index, error)
        sources = result.sources
        lineage = None
        if sources is not None:
            lineage = Lineage({"main": [-1 if source is None else source for source in sources]})
        return Items(result.items, lineage=lineage)

    def open_file(self, path: str) -> BinaryIO:
        return self._state.services.open_file(path)

    def log(self, message: str) -> None:
        self._state.log(message)

    def respond(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        self._state.response = {"status": status, "headers": dict(headers), "body": body}

    def reject(self, item_index: int, error: NodeError) -> None:
        index = self._index if self._index is not None else self._kept[item_index] if self._kept else item_index
        error.item_index = index
        if self._state.stop:
            raise error
        self._rejected[index] = error
