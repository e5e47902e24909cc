"""A param's text as an expression: parsed once, evaluated for any number of items."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jinja2 import nodes

from engine.errors import ExpressionError
from engine.expressions.compiler import Compiler
from engine.expressions.failures import Refused, failure
from engine.expressions.scope import FREE_TEXT, KEPT_LIMIT, KEPT_PER_ROW, Scope, as_text
from engine.expressions.syntax import place, read
from engine.expressions.template import has_braces, split
from engine.expressions.terms import Run, Term
from engine.expressions.values import size_of

# Longer texts are parsed anew each time, so that the cache stays small.
CACHED_LENGTH = 64 * 1024

_VOLATILE = frozenset(("now", "execution", "random"))
_LARGE = frozenset((str, list, dict))

Evaluated = tuple[list[Any], dict[int, ExpressionError]]


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A text with `{{ ... }}`, ready to be computed.

    Attributes:
        single: the whole text is one `{{ }}`, whose value keeps its type; else the result is text.
        uses: of item, items, node, vars, now, execution, workflow (its name or its timezone), random.
        labels: labels in node("..."), in order of first use.
        node_item: some node("...").item is read, which depends on the current item.
        vars: names read as vars.name.
        fields: top-level fields of the item that are read; None if it may be any.
        path: for one plain `{{ item.a.b[0] }}`: ("a", "b", 0); else None.
        per_item: may differ from item to item.
        volatile: may differ from run to run with the same data.
    """

    text: str
    single: bool
    uses: frozenset[str]
    labels: tuple[str, ...]
    node_item: bool
    vars: frozenset[str]
    fields: frozenset[str] | None
    path: tuple[str | int, ...] | None
    per_item: bool
    volatile: bool
    _run: Run = field(repr=False)

    def evaluate(self, scope: Scope) -> Any:
        """The value for the scope's item.

        Raises:
            ExpressionError: the data does not fit, or the result would be too large.
        """
        scope.begin()
        try:
            value = self._run(scope)
            if self.path is None and _weight(value, KEPT_LIMIT) > KEPT_LIMIT:
                raise _too_much()
        except Exception as exc:  # noqa: BLE001 - here, and below, all that can go wrong becomes ours
            raise failure(exc) from None
        return value

    def evaluate_all(self, scope: Scope, rows: Sequence[dict[str, Any]]) -> Evaluated:
        """The value for each row, and the errors by index; a row with an error has the value None.

        Sets the scope's `item` and `index` for each row. What does not depend on the row is computed once.
        """
        scope.begin(len(rows))
        if not self.per_item and "random" not in self.uses:
            return self._once(scope, len(rows))
        if self.path is not None and len(self.path) == 1:
            name: Any = self.path[0]
            try:
                return [row[name] for row in rows], {}
            except KeyError:
                # Below it turns out which rows lack it.
                pass
        return self._each(scope, rows)

    def _each(self, scope: Scope, rows: Sequence[dict[str, Any]]) -> Evaluated:
        run = self._run
        values: list[Any] = []
        errors: dict[int, ExpressionError] = {}
        # A plain path gives the row's own data: nothing is made.
        large = _LARGE if self.path is None else ()
        kept, limit = 0, KEPT_LIMIT + KEPT_PER_ROW * len(rows)
        last, weight = None, 0
        for index, row in enumerate(rows):
            scope.item = row
            scope.index = index
            scope.made = 0
            try:
                value = run(scope)
                if type(value) in large:
                    # Many rows may share one large value: it is measured once.
                    weight = weight if value is last else _weight(value, limit - kept)
                    last = value
                    kept += weight
                    if kept > limit:
                        raise _too_much()
            except Exception as exc:  # noqa: BLE001 - as above
                errors[index] = failure(exc, index)
                value = None
            values.append(value)
        return values, errors

    def _once(self, scope: Scope, count: int) -> Evaluated:
        try:
            value = self._run(scope) if count else None
            if _weight(value, KEPT_LIMIT) * count > KEPT_LIMIT + KEPT_PER_ROW * count:
                raise _too_much()
        except Exception as exc:  # noqa: BLE001 - as above
            return [None] * count, {index: failure(exc, index) for index in range(count)}
        return [value] * count, {}


def _weight(value: Any, limit: int) -> int:
    """Bytes of a result; small texts and single values weigh nothing."""
    kind = type(value)
    if kind is str:
        return len(value) if len(value) > FREE_TEXT else 0
    return size_of(value, max(limit, 0)) if kind is list or kind is dict else 0


def _too_much() -> ExpressionError:
    return ExpressionError(
        f"the results of this expression are larger than {KEPT_LIMIT // 1_000_000} MB together",
        hint="Use fewer items, or smaller parts of them.",
    )


def parse(text: str) -> Expression | None:
    """The expression in a text, or None for plain text.

    Raises:
        ExpressionError: it cannot be read; the message names the column, the hint the nearest known name.
    """
    if not has_braces(text):
        return None
    return _parsed(text) if len(text) <= CACHED_LENGTH else _parsed.__wrapped__(text)


@lru_cache(maxsize=2_048)
def _parsed(text: str) -> Expression:
    try:
        return _compiled(text)
    except Refused as exc:
        raise ExpressionError(f"{exc.message} ({place(text, exc.offset)})", hint=exc.hint) from None
    except RecursionError:
        raise ExpressionError("the expression is nested too deeply") from None


# `{{ item.a.b }}`, most of what people write: its tree is made without the parser, in 15 us instead of 50.
_FIELD = re.compile(r"\{\{ *item((?:\.[A-Za-z_][A-Za-z0-9_]{0,99}){1,9}) *\}\}")


def _field(text: str) -> nodes.Expr | None:
    """The tree that the parser would make of a text which is one field of the item; None for any other text."""
    found = _FIELD.fullmatch(text)
    if found is None:
        return None
    tree: nodes.Expr = nodes.Name("item", "load", lineno=text.index("item"))
    for name in found[1].split(".")[1:]:
        tree = nodes.Getattr(tree, name, "load", lineno=tree.lineno)
    return tree


def _compiled(text: str) -> Expression:
    compiler = Compiler()
    terms: list[str | Term] = []
    tree: nodes.Expr | None = _field(text)
    if tree is not None:
        terms.append(compiler.term(tree))
    for part in split(text) if tree is None else ():
        if isinstance(part, str):
            terms.append(part)
        else:
            tree = read(part.lexemes, part.start)
            terms.append(compiler.term(tree))
    single = terms[0] if len(terms) == 1 else None
    is_single = isinstance(single, Term)
    return Expression(
        text=text,
        single=is_single,
        uses=frozenset(compiler.uses),
        labels=tuple(compiler.labels),
        node_item=compiler.node_item,
        vars=frozenset(compiler.vars),
        fields=None if compiler.whole_item else frozenset(compiler.fields),
        path=_path(tree) if is_single else None,
        per_item="item" in compiler.uses or compiler.node_item,
        volatile=not _VOLATILE.isdisjoint(compiler.uses),
        _run=single.run if isinstance(single, Term) else _mixed(terms),
    )


def _path(tree: nodes.Node | None) -> tuple[str | int, ...] | None:
    """The way to one field of the item; None if the tree is anything else."""
    path: list[str | int] = []
    while not isinstance(tree, nodes.Name):
        if isinstance(tree, nodes.Getattr):
            path.append(tree.attr)
        elif (
            isinstance(tree, nodes.Getitem) and isinstance(tree.arg, nodes.Const) and type(tree.arg.value) in (str, int)
        ):
            path.append(tree.arg.value)
        else:
            return None
        tree = tree.node
    return tuple(reversed(path)) if tree.name in ("item", "json") and path else None


def _mixed(terms: Sequence[str | Term]) -> Run:
    runs = [term if isinstance(term, str) else term.run for term in terms]

    def run(scope: Scope) -> str:
        texts = [part if isinstance(part, str) else as_text(part(scope), scope) for part in runs]
        length = sum(map(len, texts))
        if length > FREE_TEXT:
            scope.text(length)
        return "".join(texts)

    return run
