"""Reading data by name: the item and its fields, rows, earlier nodes, variables.

Most readers come in two kinds. A strict one raises Missing where there is no value; a soft one gives MISSING, for
`default`, `coalesce` and `is defined`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import nodes

from engine.errors import ExpressionError, did_you_mean
from engine.expressions.calls import node_label
from engine.expressions.failures import NAME_LENGTH, Missing, MissingField, Refused
from engine.expressions.library import FILTERS, FUNCTIONS
from engine.expressions.scope import NodeView, Scope
from engine.expressions.terms import (
    MISSING,
    Run,
    Term,
    described,
    literal,
    once_per_pass,
    part_of,
    soft_part_of,
    softened,
)
from engine.expressions.values import kind_of

if TYPE_CHECKING:
    from engine.expressions.compiler import Compiler

NAMES = ("item", "json", "items", "node", "vars", "workflow", "execution", "now")
_VIEWS = ("item", "items", "first", "last")


def name(compiler: Compiler, node: nodes.Name) -> Term:
    """`item`, `items` or `now`; the other names are no values by themselves."""
    if node.name in ("item", "json"):
        compiler.use_item(None)
        return Term(_current_item, varies=True, label=node.name)
    if node.name == "items":
        compiler.uses.add("items")
        return Term(_all_items, label="items")
    if node.name == "now":
        compiler.uses.add("now")
        return Term(lambda scope: scope.now, label="now")
    raise _unknown_name(node.name, node.lineno)


def _unknown_name(name: str, offset: int) -> Refused:
    if name in _WHOLE:
        return Refused(f"{name} is no value by itself", offset, _WHOLE[name])
    if name in FUNCTIONS:
        return Refused(f"{name} is a function", offset, f"Write {name}(...).")
    if name in FILTERS:
        return Refused(f"{name} is a filter", offset, f"Write value | {name}.")
    if name in ("null", "undefined", "nil"):
        return Refused(f"there is no {name}", offset, "Write none.")
    name = name[:NAME_LENGTH]
    hint = f"{did_you_mean(name, NAMES)} A field of the item is item.{name}."
    return Refused(f"unknown name {name!r}", offset, hint)


_WHOLE = {
    "vars": "Write vars.name.",
    "workflow": "Write workflow.name.",
    "execution": "Write execution.id.",
    "node": 'Write node("Label").item, .items, .first or .last.',
}


def _current_item(scope: Scope) -> Any:
    if scope.item is None:
        raise Missing("there is no current item here", "`items` are all rows of the input.")
    return scope.item


def _all_items(scope: Scope) -> Any:
    rows = scope.items = _as_list(scope.items)
    return rows


def part(compiler: Compiler, node: nodes.Getattr | nodes.Getitem, soft: bool = False) -> Term:
    """`target.name` and `target["name"]`: data only, so a field may have any name."""
    owner = node.node
    if isinstance(owner, nodes.Name) and owner.name in _OWNERS:
        key = _fixed_key(node)
        if key is None:
            raise _unknown_name(owner.name, node.lineno)
        return _OWNERS[owner.name](compiler, key, node.lineno, soft)
    if isinstance(owner, nodes.Call) and isinstance(owner.node, nodes.Name) and owner.node.name == "node":
        return _of_view(compiler, owner, _fixed_key(node), soft)
    if isinstance(owner, nodes.Name) and owner.name in ("item", "json") and (field := _fixed_key(node)) is not None:
        compiler.use_item(field)
        return Term(_field_of_item(field, owner.name, soft), varies=True, label=described(node))
    if isinstance(node, nodes.Getattr):
        target = compiler.term(owner, soft=soft)
        return Term(_fixed_part(target, node.attr, described(owner), soft), target.varies, described(node))
    return _item(compiler, node, soft)


def _fixed_key(node: nodes.Getattr | nodes.Getitem) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    fixed = isinstance(node.arg, nodes.Const) and type(node.arg.value) is str
    return str(node.arg.value) if fixed else None  # type: ignore[attr-defined]


def _field_of_item(field: str, label: str, soft: bool) -> Run:
    if soft:
        return lambda scope: soft_part_of(scope.item, field)

    def run(scope: Scope) -> Any:
        try:
            return scope.item[field]  # type: ignore[index]
        except (KeyError, TypeError):
            raise MissingField(label, _current_item(scope), field) from None

    return run


def _fixed_part(target: Term, key: Any, label: str, soft: bool) -> Run:
    inner = target.run
    if soft:
        return lambda scope: soft_part_of(inner(scope), key)

    def run(scope: Scope) -> Any:
        holder = inner(scope)
        if type(holder) is dict and key in holder:
            return holder[key]
        return part_of(holder, key, label)

    return run


def _item(compiler: Compiler, node: nodes.Getitem, soft: bool) -> Term:
    target = compiler.term(node.node, soft=soft)
    label = described(node.node)
    if isinstance(node.arg, nodes.Slice):
        return _slice(compiler, target, node.arg, label, soft)
    key = compiler.term(node.arg)
    if key.constant:
        return Term(_fixed_part(target, key.value, label, soft), target.varies, described(node))
    inner, key_of, look = target.run, key.run, soft_part_of

    def run(scope: Scope) -> Any:
        holder = inner(scope)
        return look(holder, key_of(scope)) if soft else part_of(holder, key_of(scope), label)

    return Term(run, target.varies or key.varies)


def _slice(compiler: Compiler, target: Term, node: nodes.Slice, label: str, soft: bool) -> Term:
    bounds = [literal(None) if part is None else compiler.term(part) for part in (node.start, node.stop, node.step)]
    inner, runs = target.run, [bound.run for bound in bounds]

    def run(scope: Scope) -> Any:
        holder = inner(scope)
        if soft and (holder is MISSING or holder is None):
            return MISSING
        start, stop, step = (bound(scope) for bound in runs)
        if any(bound is not None and type(bound) is not int for bound in (start, stop, step)) or step == 0:
            raise ExpressionError("a slice has whole numbers, and a step other than 0")
        if type(holder) is str:
            scope.read(len(holder))
            return holder[start:stop:step]
        if type(holder) is not list:
            raise ExpressionError(f"{label or 'this value'} is {kind_of(holder)}: only lists and texts can be sliced")
        scope.elements(len(range(len(holder))[start:stop:step]))
        return holder[start:stop:step]

    return Term(run, target.varies or any(bound.varies for bound in bounds))


def _variable(compiler: Compiler, name: str, offset: int, soft: bool) -> Term:
    compiler.uses.add("vars")
    compiler.vars.add(name)

    def run(scope: Scope) -> Any:
        if name in scope.vars:
            return scope.vars[name]
        if soft:
            return MISSING
        raise MissingField("vars", dict(scope.vars), name)

    return Term(run, label=f"vars.{name}")


def _workflow(compiler: Compiler, name: str, offset: int, soft: bool) -> Term:
    if name != "name":
        raise Refused(f"workflow has no {name!r}", offset, "There is workflow.name.")
    compiler.uses.add("workflow")
    return Term(lambda scope: scope.workflow_name, label="workflow.name")


def _execution(compiler: Compiler, name: str, offset: int, soft: bool) -> Term:
    if name != "id":
        raise Refused(f"execution has no {name!r}", offset, "There is execution.id.")
    compiler.uses.add("execution")
    return Term(lambda scope: scope.execution_id, label="execution.id")


_OWNERS: dict[str, Callable[[Compiler, str, int, bool], Term]] = {
    "vars": _variable,
    "workflow": _workflow,
    "execution": _execution,
}


def _of_view(compiler: Compiler, call: nodes.Call, which: str | None, soft: bool) -> Term:
    """`node("Label").item` and the like; a view itself is never a value."""
    label = node_label(call)
    if which not in _VIEWS:
        raise Refused(f'node("{label}") has no such part', call.lineno, "There are .item, .items, .first and .last.")
    compiler.uses.add("node")
    compiler.labels[label] = None
    source = f'node("{label}").{which}'
    view = once_per_pass(lambda scope: _view(scope, label))
    if which == "item":
        compiler.node_item = True
        run = _looked_up(lambda scope: view(scope).item(scope.index), source)
        return Term(softened(run) if soft else run, varies=True, label=source)
    read: dict[str, Callable[[NodeView], Any]] = {
        "items": lambda rows: _as_list(rows.items),
        "first": lambda rows: rows.first,
        "last": lambda rows: rows.last,
    }
    of = read[which]
    run = once_per_pass(_looked_up(lambda scope: of(view(scope)), source))
    return Term(softened(run) if soft else run, label=source)


def _as_list(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows if type(rows) is list else list(rows)


def _view(scope: Scope, label: str) -> Any:
    if scope.node is None:
        raise ExpressionError(f'node("{label}") cannot be read here')
    return scope.node(label)


def _looked_up(run: Run, source: str) -> Run:
    def look(scope: Scope) -> Any:
        try:
            return run(scope)
        except LookupError:
            raise Missing(f"there is no {source}", "Where it may be missing, write ... | default(...).") from None

    return look
