"""A term: one part of an expression, ready to be computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import nodes

from engine.errors import MissingValue
from engine.expressions.failures import Missing, MissingField
from engine.expressions.scope import Scope

Run = Callable[[Scope], Any]


class _Marker:
    __slots__ = ()


MISSING: Final = _Marker()  # what a soft term gives where there is no value
_UNKNOWN: Final = _Marker()
NOT_CONSTANT: Final = _Marker()


@dataclass(frozen=True, slots=True)
class Term:
    """One part of an expression.

    Attributes:
        run: computes the value.
        varies: may differ from row to row; what does not is computed once in a pass.
        label: the source, where it is short enough for a message; else empty.
        value: of a literal; else NOT_CONSTANT.
    """

    run: Run
    varies: bool = False
    label: str = ""
    value: Any = NOT_CONSTANT

    @property
    def constant(self) -> bool:
        """Whether this is a literal."""
        return self.value is not NOT_CONSTANT


def literal(value: Any, label: str = "") -> Term:
    """The term of a fixed value."""
    return Term(lambda scope: value, label=label, value=value)


@dataclass(frozen=True, slots=True)
class _Raised:
    exc: Exception


def once_per_pass(run: Run) -> Run:
    """The same, computed for the first row only; its error, too, is kept."""
    key = object()

    def remembered(scope: Scope) -> Any:
        found = scope.memo.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            made = scope.made
            try:
                found = run(scope)
                scope.hold(scope.made - made)
            except Exception as exc:  # noqa: BLE001 - raised again below, for every row
                found = _Raised(exc)
            scope.memo[key] = found
        if type(found) is _Raised:
            raise found.exc.with_traceback(None)
        return found

    return remembered


def softened(run: Run) -> Run:
    """The same, with MISSING where there is no value."""

    def soft(scope: Scope) -> Any:
        try:
            return run(scope)
        except (Missing, MissingValue):
            return MISSING

    return soft


def part_of(holder: Any, key: Any, label: str) -> Any:
    """A field of an object, or a position of a list or text.

    Raises:
        Missing: there is none.
    """
    found = soft_part_of(holder, key)
    if found is MISSING:
        raise MissingField(label, holder, key)
    return found


def soft_part_of(holder: Any, key: Any) -> Any:
    """As `part_of`, but MISSING where there is none. Only data is looked into: no attribute of any object is read."""
    kind = type(holder)
    if kind is dict:
        return holder.get(key, MISSING) if type(key) is str else MISSING
    if (kind is list or kind is str) and type(key) is int and -len(holder) <= key < len(holder):
        return holder[key]
    return MISSING


def described(node: nodes.Node, length: int = 60) -> str:
    """The source of a path such as `item.address.city`; empty for anything else or longer."""
    parts: list[str] = []
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            parts.append(f".{node.attr}")
        elif (
            isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and type(node.arg.value) in (int, str)
        ):
            parts.append(f'["{node.arg.value}"]' if type(node.arg.value) is str else f"[{node.arg.value}]")
        elif _is_view(node):
            parts.append(f'node("{node.args[0].value}")')  # type: ignore[attr-defined]
            break
        else:
            return ""
        node = node.node
    else:
        parts.append(node.name)
    label = "".join(reversed(parts))
    return label if len(label) <= length else ""


def _is_view(node: nodes.Node) -> bool:
    if not (isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "node"):
        return False
    return len(node.args) == 1 and isinstance(node.args[0], nodes.Const)
