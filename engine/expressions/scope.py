"""What an expression can see, and what it may still use up."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from engine.errors import ExpressionError
from engine.expressions.values import ELEMENT_BYTES, as_json, size_of

TEXT_LIMIT = 10_000_000  # characters of one text
LIST_LIMIT = 1_000_000  # elements of one list, fields of one object, that an expression makes
MADE_LIMIT = 256_000_000  # bytes made for one value, those of steps in between included
STEPS_LIMIT = 50_000_000  # elements walked in one pass; 32 characters count as one ...
STEPS_PER_ROW = 500  # ... and this many more for every row
KEPT_LIMIT = 256_000_000  # bytes of all results of one pass together ...
KEPT_PER_ROW = 1_024  # ... and this much more for every row
FREE_TEXT = 1_024  # texts up to this length cost nothing ...
FREE_ELEMENT = 64  # ... unless they are elements of a list that is made

_NO_VARS: Mapping[str, Any] = MappingProxyType({})


class NodeView(Protocol):
    """What `node("Label")` gives: the rows of an earlier node.

    Any of these may raise ExpressionError; a LookupError counts as a missing value, which `default` answers.
    """

    @property
    def items(self) -> Sequence[dict[str, Any]]: ...
    @property
    def first(self) -> dict[str, Any]: ...
    @property
    def last(self) -> dict[str, Any]: ...
    def item(self, index: int) -> dict[str, Any]:
        """The row that the item at `index` came from."""
        ...


class Scope:
    """The names of an expression, and its budget. One per thread: it changes while expressions are computed.

    Attributes:
        item: fields of the current item; None where there is none.
        now: ISO 8601 text in the workflow's timezone.
        timezone: name from the IANA database, for times that carry none.
        made, steps, held: used up so far, see the limits of this module; held is for what the memo keeps.
        memo: what does not change from row to row, by the place in the expression.
    """

    __slots__ = (
        "execution_id",
        "held",
        "index",
        "item",
        "items",
        "made",
        "memo",
        "node",
        "now",
        "steps",
        "timezone",
        "vars",
        "workflow_name",
    )

    def __init__(
        self,
        *,
        item: dict[str, Any] | None = None,
        index: int = 0,
        items: Sequence[dict[str, Any]] = (),
        node: Callable[[str], NodeView] | None = None,
        vars: Mapping[str, Any] = _NO_VARS,
        workflow_name: str = "",
        execution_id: str = "",
        now: str = "",
        timezone: str = "UTC",
    ) -> None:
        self.item = item
        self.index = index
        self.items = items
        self.node = node
        self.vars = vars
        self.workflow_name = workflow_name
        self.execution_id = execution_id
        self.now = now
        self.timezone = timezone
        self.begin()

    def begin(self, rows: int = 1) -> None:
        """A new pass over so many rows: the whole budget, and nothing remembered."""
        self.made = 0
        self.held = 0
        self.steps = -STEPS_PER_ROW * rows
        self.memo: dict[object, Any] = {}

    def text(self, length: int) -> None:
        """Pays for a text about to be made, so that one too long is never begun."""
        if length > TEXT_LIMIT:
            raise ExpressionError(f"a text of {length:,} characters is too long: the limit is {TEXT_LIMIT:,}")
        # Twice: a character takes one to four bytes.
        self._make(2 * length)
        self.walk(length >> 5)

    def elements(self, count: int, each: int = ELEMENT_BYTES) -> None:
        """Pays for a list or object about to be made, of `each` bytes for an element."""
        if count > LIST_LIMIT:
            raise ExpressionError(f"a list of {count:,} elements is too long: the limit is {LIST_LIMIT:,}")
        self._make(each * count)
        self.walk(count)

    def read(self, length: int) -> None:
        """Pays for reading through a text."""
        self.walk(length >> 5)

    def walk(self, count: int) -> None:
        """Pays for walking through so many elements."""
        self.steps += count
        if self.steps > STEPS_LIMIT:
            raise ExpressionError(
                f"the expression walks through more than {STEPS_LIMIT:,} elements for all items together",
                hint="Compute it once in a node of its own, or use a Code node.",
            )

    def hold(self, size: int) -> None:
        """Pays for what is kept until the end of the pass."""
        self.held += size
        if self.held > MADE_LIMIT:
            raise _too_much_made()

    def _make(self, size: int) -> None:
        self.made += size
        if self.made > MADE_LIMIT:
            raise _too_much_made()


def _too_much_made() -> ExpressionError:
    return ExpressionError(f"the expression makes more than {MADE_LIMIT // 1_000_000} MB for one value")


def as_text(value: Any, scope: Scope) -> str:
    """The value inside a text: null is empty; numbers, booleans, lists and objects are compact JSON."""
    kind = type(value)
    if kind is str:
        text: str = value
        return text
    if value is None:
        return ""
    if kind is int:
        digits = str(value)
        if len(digits) > FREE_ELEMENT:
            scope.text(len(digits))
        return digits
    if kind is list or kind is dict:
        return written(value, scope)
    return as_json(value)


def written(value: Any, scope: Scope, indent: int = 0) -> str:
    """The value as JSON; paid for before it is written."""
    scope.text(size_of(value, TEXT_LIMIT, indent=indent))
    return as_json(value, indent=indent)
