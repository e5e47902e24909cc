"""A syntax tree as closures over plain data, compiled once for any number of items.

Nothing is rendered, and no Python is generated. What the tree may hold is a table at the end; all else is refused. The
only thing read by name are the fields of objects: no attribute of any Python object is ever looked up.
"""

from collections.abc import Callable
from typing import Any

from jinja2 import nodes

from engine.errors import ExpressionError
from engine.expressions import calls, operators, paths
from engine.expressions.failures import Refused
from engine.expressions.scope import Scope
from engine.expressions.terms import Run, Term, literal, once_per_pass, softened
from engine.expressions.values import FIELD_BYTES, as_json, kind_of

# Every level of the tree is one or two Python calls deep when it is computed, three when it is compiled.
DEPTH_LIMIT = 100
NODES_LIMIT = 10_000
LABEL_LENGTH = 20  # of a literal that messages show


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
    label = "none" if node.value is None else as_json(node.value)
    return literal(node.value, label if len(label) <= LABEL_LENGTH else "")


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
        scope.elements(len(runs), FIELD_BYTES)
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
    nodes.Name: paths.name,
    nodes.Getattr: paths.part,
    nodes.Getitem: paths.part,
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
    nodes.Getattr: lambda compiler, node: paths.part(compiler, node, soft=True),
    nodes.Getitem: lambda compiler, node: paths.part(compiler, node, soft=True),
}
