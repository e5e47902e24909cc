"""A syntax tree as closures over plain data, compiled once for any number of items.

Nothing is rendered, and no Python is generated. What the tree may hold is a table at the end; all else is refused. The
only thing read by name are the fields of objects: no attribute of any Python object is ever looked up.
"""

from collections.abc import Callable
from typing import Any

from jinja2 import nodes

from engine.errors import ExpressionError, did_you_mean
from engine.expressions import calls, operators
from engine.expressions.failures import Missing, MissingField, Refused
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

# Every level of the tree is one or two Python calls deep when it is computed, three when it is compiled.
DEPTH_LIMIT = 100
NODES_LIMIT = 10_000
NAMES = ("item", "json", "items", "node", "vars", "workflow", "execution", "now")
_VIEWS = ("item", "items", "first", "last")


class Compiler:
    """Compiles the expressions of one text, and notes what they depend on.

    Attributes:
        uses: of item, items, node, vars, now, execution, workflow, random.
        labels: those in node("..."), in order of first use.
        vars: names read as vars.name.
        fields: top-level fields of the item that are read.
        whole_item: any field may be read, besides those in `fields`.
        node_item: some node("...").item is read.
    """

    def __init__(self) -> None:
        self.uses: set[str] = set()
        self.labels: dict[str, None] = {}
        self.vars: set[str] = set()
        self.fields: set[str] = set()
        self.whole_item = False
        self.node_item = False
        self._count = 0
        self._depth = 0

    def term(self, node: nodes.Expr, *, soft: bool = False) -> Term:
        """The term of a tree; a `soft` one gives MISSING where there is no value, and raises nothing for it.

        Raises:
            Refused: the tree holds something that is not allowed, or too much.
        """
        self._count += 1
        if self._count > NODES_LIMIT:
            raise Refused(f"the expression has more than {NODES_LIMIT:,} parts", node.lineno)
        if self._depth >= DEPTH_LIMIT:
            raise Refused(f"the expression is nested more than {DEPTH_LIMIT} deep", node.lineno)
        self._depth += 1
        try:
            if soft and type(node) in _SOFT:
                return _SOFT[type(node)](self, node)
            if type(node) not in _STRICT:
                raise Refused("this is not allowed in an expression", node.lineno)
            term = _STRICT[type(node)](self, node)
            return Term(softened(term.run), term.varies, term.label, term.value) if soft else term
        finally:
            self._depth -= 1

    def use_item(self, field: str | None) -> None:
        """Notes that the item is read: one field of it, or (None) any."""
        self.uses.add("item")
        if field is None:
            self.whole_item = True
        else:
            self.fields.add(field)


def _const(compiler: Compiler, node: nodes.Const) -> Term:
    value = node.value
    return literal(value, f'"{value}"' if type(value) is str and len(value) <= 20 else str(value)[:20])


def _name(compiler: Compiler, node: nodes.Name) -> Term:
    name = node.name
    if name in ("item", "json"):
        compiler.use_item(None)
        return Term(_current_item, varies=True, label=name)
    if name == "items":
        compiler.uses.add("items")
        return Term(_all_items, label=name)
    if name == "now":
        compiler.uses.add("now")
        return Term(lambda scope: scope.now, label=name)
    raise Refused(*_unknown_name(name, node.lineno))


def _unknown_name(name: str, offset: int) -> tuple[str, int, str]:
    whole = {
        "vars": "Write vars.name.",
        "workflow": "Write workflow.name.",
        "execution": "Write execution.id.",
        "node": 'Write node("Label").item, .items, .first or .last.',
    }
    if name in whole:
        return f"{name} is no value by itself", offset, whole[name]
    if name in FUNCTIONS:
        return f"{name} is a function", offset, f"Write {name}(...)."
    if name in FILTERS:
        return f"{name} is a filter", offset, f"Write value | {name}."
    if name in ("null", "undefined", "nil"):
        return f"there is no {name}", offset, "Write none."
    known = did_you_mean(name[:60], (*NAMES, *FUNCTIONS))
    return f"unknown name {name[:60]!r}", offset, f"{known} A field of the item is item.{name[:60]}."


def _current_item(scope: Scope) -> Any:
    if scope.item is None:
        raise Missing("there is no current item here", "`items` are all rows of the input.")
    return scope.item


def _all_items(scope: Scope) -> Any:
    rows = scope.items
    if type(rows) is not list:
        rows = scope.items = list(rows)
    return rows


def _attribute(compiler: Compiler, node: nodes.Getattr | nodes.Getitem, soft: bool = False) -> Term:
    """`target.name` and `target["name"]`: data only, so a field may have any name."""
    owner = node.node
    if isinstance(owner, nodes.Name) and owner.name in _OWNERS:
        key = _fixed_key(node)
        if key is None:
            raise Refused(*_unknown_name(owner.name, node.lineno))
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
        part = range(len(holder))[start:stop:step]
        scope.elements(len(part))
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


def _of_view(compiler: Compiler, call: nodes.Call, part: str | None, soft: bool) -> Term:
    """`node("Label").item` and the like; a view itself is never a value."""
    label = calls.node_label(call)
    if part not in _VIEWS:
        raise Refused(f'node("{label}") has no such part', call.lineno, "There are .item, .items, .first and .last.")
    compiler.uses.add("node")
    compiler.labels[label] = None
    source = f'node("{label}").{part}'
    view = once_per_pass(lambda scope: _view(scope, label))
    if part == "item":
        compiler.node_item = True
        run = _looked_up(lambda scope: view(scope).item(scope.index), source)
        return Term(softened(run) if soft else run, varies=True, label=source)
    read: dict[str, Callable[[NodeView], Any]] = {
        "items": lambda rows: rows.items if type(rows.items) is list else list(rows.items),
        "first": lambda rows: rows.first,
        "last": lambda rows: rows.last,
    }
    of = read[part]
    run = once_per_pass(_looked_up(lambda scope: of(view(scope)), source))
    return Term(softened(run) if soft else run, label=source)


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


def _call(compiler: Compiler, node: nodes.Call) -> Term:
    return _remembered(calls.call(compiler, node))


def _filter(compiler: Compiler, node: nodes.Filter) -> Term:
    return _remembered(calls.filtered(compiler, node))


def _test(compiler: Compiler, node: nodes.Test) -> Term:
    return calls.tested(compiler, node)


def _remembered(term: Term) -> Term:
    """What is the same for every row is computed once: `items | sum("price")` beside each item's own price."""
    return term if term.varies or term.constant else Term(once_per_pass(term.run), label=term.label)


def _binary(sign: str) -> Callable[[Compiler, nodes.BinExpr], Term]:
    def compile_(compiler: Compiler, node: nodes.BinExpr) -> Term:
        left, right = compiler.term(node.left), compiler.term(node.right)
        return Term(operators.arithmetic(sign, left, right), left.varies or right.varies)

    return compile_


def _logic(make: Callable[[Term, Term], Run]) -> Callable[[Compiler, nodes.BinExpr], Term]:
    def compile_(compiler: Compiler, node: nodes.BinExpr) -> Term:
        left, right = compiler.term(node.left), compiler.term(node.right)
        return Term(make(left, right), left.varies or right.varies)

    return compile_


def _signed(sign: str) -> Callable[[Compiler, nodes.UnaryExpr], Term]:
    def compile_(compiler: Compiler, node: nodes.UnaryExpr) -> Term:
        inner = compiler.term(node.node)
        if type(inner.value) in (int, float):
            return literal(-inner.value if sign == "-" else inner.value, f"{sign}{inner.label}")
        return Term(operators.negated(inner, sign), inner.varies)

    return compile_


def _not(compiler: Compiler, node: nodes.Not) -> Term:
    inner = compiler.term(node.node)
    run = inner.run
    return Term(lambda scope: not run(scope), inner.varies)


def _concat(compiler: Compiler, node: nodes.Concat) -> Term:
    terms = [compiler.term(part) for part in node.nodes]
    return Term(operators.joined(terms), any(term.varies for term in terms))


def _compare(compiler: Compiler, node: nodes.Compare) -> Term:
    first = compiler.term(node.expr)
    others = [(operand.op, compiler.term(operand.expr)) for operand in node.ops]
    return Term(operators.comparison(first, others), first.varies or any(term.varies for _, term in others))


def _choice(compiler: Compiler, node: nodes.CondExpr) -> Term:
    test, yes = compiler.term(node.test), compiler.term(node.expr1)
    no = literal(None) if node.expr2 is None else compiler.term(node.expr2)
    return Term(operators.choice(test, yes, no), test.varies or yes.varies or no.varies)


def _list(compiler: Compiler, node: nodes.List | nodes.Tuple) -> Term:
    terms = [compiler.term(part) for part in node.items]
    runs = [term.run for term in terms]

    def run(scope: Scope) -> list[Any]:
        scope.elements(len(runs))
        return [part(scope) for part in runs]

    return Term(run, any(term.varies for term in terms))


def _object(compiler: Compiler, node: nodes.Dict) -> Term:
    pairs = [(compiler.term(pair.key), compiler.term(pair.value)) for pair in node.items]
    for key, _ in pairs:
        if key.constant and type(key.value) is not str:
            raise Refused("the names of an object's fields are texts", node.lineno, 'Write {"name": value}.')
    runs = [(key.run, value.run) for key, value in pairs]

    def run(scope: Scope) -> dict[str, Any]:
        scope.elements(4 * len(runs))
        made = {}
        for key_of, value_of in runs:
            key = key_of(scope)
            if type(key) is not str:
                raise ExpressionError(f"the names of an object's fields are texts, not {kind_of(key)}")
            made[key] = value_of(scope)
        return made

    return Term(run, any(key.varies or value.varies for key, value in pairs))


_Compile = Callable[[Compiler, Any], Term]
_STRICT: dict[type[nodes.Node], _Compile] = {
    nodes.Const: _const,
    nodes.Name: _name,
    nodes.Getattr: _attribute,
    nodes.Getitem: _attribute,
    nodes.Call: _call,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Add: _binary("+"),
    nodes.Sub: _binary("-"),
    nodes.Mul: _binary("*"),
    nodes.Div: _binary("/"),
    nodes.FloorDiv: _binary("//"),
    nodes.Mod: _binary("%"),
    nodes.Pow: _binary("**"),
    nodes.Neg: _signed("-"),
    nodes.Pos: _signed("+"),
    nodes.Concat: _concat,
    nodes.Compare: _compare,
    nodes.And: _logic(operators.both),
    nodes.Or: _logic(operators.either),
    nodes.Not: _not,
    nodes.CondExpr: _choice,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _object,
}
_SOFT: dict[type[nodes.Node], _Compile] = {
    nodes.Getattr: lambda compiler, node: _attribute(compiler, node, soft=True),
    nodes.Getitem: lambda compiler, node: _attribute(compiler, node, soft=True),
}
