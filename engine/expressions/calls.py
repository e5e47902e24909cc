"""Filters, tests, functions and methods of a syntax tree, and those few that are more than a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import nodes

from engine.errors import ExpressionError, nearest
from engine.expressions import functions as functions  # fills the library
from engine.expressions.failures import NAME_LENGTH, Missing, Refused
from engine.expressions.functions.order import picker
from engine.expressions.library import (
    FILTERS,
    FUNCTIONS,
    METHODS,
    TESTS,
    Apply,
    Function,
    applied,
    bound,
    called,
)
from engine.expressions.scope import FREE_ELEMENT
from engine.expressions.terms import MISSING, Run, Term, described
from engine.expressions.values import kind_of

if TYPE_CHECKING:
    from engine.expressions.compiler import Compiler
    from engine.expressions.scope import Scope

CALL_STEPS = 4  # a function called for an element takes about as long as looking at so many

Args = tuple[list[Term], dict[str, Term]]

# Known elsewhere, and left out here: what to write instead.
_LEFT_OUT = {
    "format": "Write value | number(2) for decimals, and join texts with `~`.",
    "attr": 'Write item.name or item["name"].',
    "safe": "Nothing is escaped here, so it is not needed.",
    "forceescape": "Write | escape.",
    "xmlattr": "Write the attributes out, each value with | escape.",
    "urlize": "Use a Code node.",
    "pprint": "Write | tojson(indent=2).",
    "indent": "Use a Code node.",
    "wordwrap": "Use a Code node.",
    "filesizeformat": 'Write (size / 1000000) | number(1) ~ " MB".',
    "random": "Write values[random_int(0, len(values) - 1)].",
    "slice": "Write | batch(size), or values[0:10].",
    "center": 'Write | pad(width, side="both").',
    "append": "Write list + [value].",
    "update": "Write object | merge(other).",
    "toUpperCase": "Write | upper.",
    "toLowerCase": "Write | lower.",
    "includes": "Write value in list.",
    "toFixed": "Write | number(2), or | round(2).",
    "now": "Write now, without brackets.",
}


def _arguments(compiler: Compiler, node: nodes.Call | nodes.Filter | nodes.Test) -> Args:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise Refused("arguments cannot be spread by * or **", node.lineno)
    named: dict[str, Term] = {}
    for keyword in node.kwargs:
        pair: Any = keyword
        if pair.key in named:
            raise Refused(f"the argument {pair.key} is given twice", node.lineno)
        named[pair.key] = compiler.term(pair.value)
    return [compiler.term(argument) for argument in node.args], named


def _unknown(what: str, name: str, known: Sequence[str], offset: int) -> Refused:
    near = nearest(name, known) if len(name) <= NAME_LENGTH else None
    hint = _LEFT_OUT.get(name) or (near and f"Did you mean {near!r}?")
    return Refused(f"unknown {what} {name[:NAME_LENGTH]!r}", offset, hint)


def _made(compiler: Compiler, function: Function, terms: Sequence[Term], run: Run) -> Term:
    compiler.uses |= function.uses
    return Term(run, any(term.varies for term in terms) or "random" in function.uses)


# Filters


def filtered(compiler: Compiler, node: nodes.Filter) -> Term:
    """`value | name(...)`."""
    name = node.name
    # It is only ever None in a filter block, which is a statement.
    assert node.node is not None
    if name in ("default", "d"):
        return _default(compiler, node)
    if name in _OVER_ELEMENTS:
        return _over_elements(compiler, node)
    function = FILTERS.get(name)
    if function is None:
        raise _unknown("filter", name, [*FILTERS, *_OVER_ELEMENTS], node.lineno)
    value = compiler.term(node.node)
    given, named = _arguments(compiler, node)
    terms = bound(function, [value, *given], named, node.lineno)
    return _made(compiler, function, terms, called(function, terms))


def _default(compiler: Compiler, node: nodes.Filter) -> Term:
    assert node.node is not None
    value = compiler.term(node.node, soft=True)
    given, named = _arguments(compiler, node)
    _, instead, boolean = bound(FILTERS["default"], [Term(value.run), *given], named, node.lineno)
    look, other, also_false = value.run, instead.run, boolean.run

    def run(scope: Scope) -> Any:
        found = look(scope)
        if found is MISSING or found is None or (not found and also_false(scope)):
            return other(scope)
        return found

    return Term(run, value.varies or instead.varies or boolean.varies)


def _over_elements(compiler: Compiler, node: nodes.Filter) -> Term:
    """`map`, `select` and their kin: another filter or test, or one field, for each element of a list."""
    assert node.node is not None
    value = compiler.term(node.node)
    given, named = _arguments(compiler, node)
    make, varies = _OVER_ELEMENTS[node.name](compiler, node, given, named)
    inner, name, label = value.run, node.name, value.label

    def run(scope: Scope) -> Any:
        values = inner(scope)
        if type(values) is not list:
            what = label or "the value"
            raise ExpressionError(f"{name} needs a list, but {what} is {kind_of(values)}")
        scope.elements(len(values))
        return make(scope, values)

    return Term(run, value.varies or varies)


_Each = Callable[["Scope", list[Any]], list[Any]]


def _map(compiler: Compiler, node: nodes.Filter, given: list[Term], named: dict[str, Term]) -> tuple[_Each, bool]:
    if "attribute" in named:
        return _map_attribute(node, given, named)
    apply, varies = _applied_by_name(compiler, node, "filter", given, named)

    def applied_to_each(scope: Scope, values: list[Any]) -> list[Any]:
        scope.walk(CALL_STEPS * len(values))
        made = []
        for value in values:
            result = apply(scope, value)
            if type(result) is str and len(result) > FREE_ELEMENT:
                scope.text(len(result))
            made.append(result)
        return made

    return applied_to_each, varies


def _map_attribute(node: nodes.Filter, given: list[Term], named: dict[str, Term]) -> tuple[_Each, bool]:
    attribute = named.pop("attribute")
    default = named.pop("default", None)
    if given or named or type(attribute.value) not in (str, int):
        hint = 'Its forms are map("filter", ...) and map(attribute="field", default=none).'
        raise Refused("these arguments do not fit map", node.lineno, hint)
    pick = picker(str(attribute.value))
    if default is None:
        return (lambda scope, values: [pick(value) for value in values]), False
    instead = default.run

    def picked(scope: Scope, values: list[Any]) -> list[Any]:
        other = instead(scope)
        return [_soft(pick, value, other) for value in values]

    return picked, default.varies


def _soft(pick: Callable[[Any], Any], value: Any, other: Any) -> Any:
    try:
        found = pick(value)
    except Missing:
        return other
    return other if found is None else found


def _chosen(wanted: bool, by_attribute: bool) -> Callable[..., tuple[_Each, bool]]:
    """`select`, `reject` (not `wanted`), `selectattr` and `rejectattr` (by one field)."""

    def make(compiler: Compiler, node: nodes.Filter, given: list[Term], named: dict[str, Term]) -> tuple[_Each, bool]:
        attribute: str | None = None
        if by_attribute:
            if not given or type(given[0].value) is not str:
                hint = f'Write {node.name}("field") or {node.name}("field", "test", value).'
                raise Refused(f"{node.name} needs the name of a field, in quotes", node.lineno, hint)
            attribute = given.pop(0).value
        pick = picker(attribute)
        test = given[0].value if given else None
        if not given and not named:
            return (lambda scope, values: [v for v in values if bool(_soft(pick, v, None)) is wanted]), False
        if test in ("defined", "undefined"):
            found = wanted is (test == "defined")
            return (lambda scope, values: [v for v in values if _has(pick, v) is found]), False
        apply, varies = _applied_by_name(compiler, node, "test", given, named)

        def passing(scope: Scope, values: list[Any]) -> list[Any]:
            scope.walk(CALL_STEPS * len(values))
            return [value for value in values if apply(scope, pick(value)) is wanted]

        return passing, varies

    return make


def _has(pick: Callable[[Any], Any], value: Any) -> bool:
    try:
        pick(value)
    except Missing:
        return False
    return True


_OVER_ELEMENTS: dict[str, Callable[..., tuple[_Each, bool]]] = {
    "map": _map,
    "select": _chosen(wanted=True, by_attribute=False),
    "reject": _chosen(wanted=False, by_attribute=False),
    "selectattr": _chosen(wanted=True, by_attribute=True),
    "rejectattr": _chosen(wanted=False, by_attribute=True),
}


def _applied_by_name(
    compiler: Compiler, node: nodes.Filter, what: str, given: list[Term], named: dict[str, Term]
) -> tuple[Apply, bool]:
    if not given or type(given[0].value) is not str:
        raise Refused(f"{node.name} needs the name of a {what}, in quotes", node.lineno)
    name, rest = given[0].value, given[1:]
    table = FILTERS if what == "filter" else TESTS
    if name not in table:
        raise _unknown(what, name, list(table), node.lineno)
    function = table[name]
    element = Term(lambda scope: None, label="an element")
    terms = bound(function, [element, *rest], named, node.lineno)[1:]
    compiler.uses |= function.uses
    varies = any(term.varies for term in terms) or "random" in function.uses
    return applied(function, terms, "an element"), varies


# Tests


def tested(compiler: Compiler, node: nodes.Test) -> Term:
    """`value is name(...)`."""
    function = TESTS.get(node.name)
    if function is None:
        raise _unknown("test", node.name, list(TESTS), node.lineno)
    given, named = _arguments(compiler, node)
    soft = node.name in ("defined", "undefined")
    value = compiler.term(node.node, soft=soft)
    terms = bound(function, [value, *given], named, node.lineno)
    if soft:
        look, wanted = value.run, node.name == "defined"
        return Term(lambda scope: (look(scope) is not MISSING) is wanted, value.varies)
    return _made(compiler, function, terms, called(function, terms))


# Functions and methods


def call(compiler: Compiler, node: nodes.Call) -> Term:
    """`name(...)` or `value.name(...)`."""
    if isinstance(node.node, nodes.Getattr):
        return _method(compiler, node, node.node)
    if not isinstance(node.node, nodes.Name):
        raise Refused("only functions and methods can be called", node.lineno)
    name = node.node.name
    if name == "node":
        label = node_label(node)
        raise Refused(f'node("{label}") is no value by itself', node.lineno, "Add .item, .items, .first or .last.")
    function = FUNCTIONS.get(name)
    if function is None:
        raise _unknown_function(name, node.node.lineno)
    given, named = _arguments(compiler, node)
    if name == "coalesce":
        given = [compiler.term(argument, soft=True) for argument in node.args]
        terms = bound(function, given, named, node.lineno)
        return Term(_coalesced([term.run for term in terms]), any(term.varies for term in terms))
    terms = bound(function, given, named, node.lineno)
    return _made(compiler, function, terms, called(function, terms))


def _unknown_function(name: str, offset: int) -> Refused:
    if name in FILTERS:
        return Refused(f"{name} is a filter", offset, f"Write value | {name}.")
    return _unknown("function", name, ["node", *FUNCTIONS], offset)


def _coalesced(runs: Sequence[Run]) -> Run:
    def run(scope: Scope) -> Any:
        for look in runs:
            value = look(scope)
            if value is not MISSING and value is not None:
                return value
        return None

    return run


def node_label(node: nodes.Call) -> str:
    """The label in `node("Label")`, which must be a literal: what a node depends on is known before it runs."""
    fixed = len(node.args) == 1 and not node.kwargs and isinstance(node.args[0], nodes.Const)
    label = node.args[0].value if fixed else None  # type: ignore[attr-defined]
    if type(label) is not str or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise Refused("node(...) needs a label in quotes", node.lineno, 'Write node("Label").item.')
    return label


def _method(compiler: Compiler, node: nodes.Call, target: nodes.Getattr) -> Term:
    name = target.attr
    kinds = METHODS.get(name)
    if kinds is None:
        if name in FILTERS:
            raise Refused(f"{name} is a filter", node.lineno, f"Write value | {name}.")
        raise _unknown("method", name, list(METHODS), node.lineno)
    if isinstance(target.node, nodes.Name) and target.node.name == "vars" and name == "get":
        raise Refused("vars has no methods", node.lineno, "Write vars.name | default(...).")
    given, named = _arguments(compiler, node)
    owner = _owner(compiler, node, target, given)
    for function in kinds.values():
        compiler.uses |= function.uses
    appliers, varies = _appliers(kinds, owner, given, named, node.lineno)
    inner, label = owner.run, described(target.node) or "this value"

    def run(scope: Scope) -> Any:
        value = inner(scope)
        apply = appliers.get(type(value))
        if apply is None:
            wanted = " or ".join(sorted({kind_of_type(kind) for kind in appliers}))
            raise ExpressionError(f"{name} is a method of {wanted}, but {label} is {kind_of(value)}")
        return apply(scope, value)

    return Term(run, owner.varies or varies)


def _owner(compiler: Compiler, node: nodes.Call, target: nodes.Getattr, given: list[Term]) -> Term:
    """The value before the dot. `item.get("x")` reads one field of the item, not all."""
    whole = compiler.whole_item
    owner = compiler.term(target.node)
    is_item = isinstance(target.node, nodes.Name) and target.node.name in ("item", "json")
    if is_item and target.attr == "get" and given and type(given[0].value) is str:
        compiler.whole_item = whole
        compiler.use_item(given[0].value)
    return owner


def _appliers(
    kinds: dict[type, Function], owner: Term, given: list[Term], named: dict[str, Term], offset: int
) -> tuple[dict[type, Apply], bool]:
    """The method for each kind of value that has one with fitting arguments."""
    appliers: dict[type, Apply] = {}
    refusals: list[Refused] = []
    varies = False
    for kind, function in kinds.items():
        try:
            terms = bound(function, [owner, *given], named, offset)[1:]
        except Refused as exc:
            refusals.append(exc)
            continue
        appliers[kind] = applied(function, terms, owner.label)
        varies = varies or any(term.varies for term in terms)
    if not appliers:
        raise refusals[0]
    return appliers, varies


def kind_of_type(kind: type) -> str:
    """As `kind_of`, of a type."""
    return kind_of(kind())
