"""A node's params, compiled once: its expressions found and parsed, the rest validated; then filled in per run."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, ValidationError

from engine.api import NodeType, Params, PerItem
from engine.errors import ExpressionError, InvalidParams, MissingValue, NodeError, Problem
from engine.expressions import Expression, Scope, parse
from engine.items import Items
from engine.workflow import dotted, humane, model_in, validation_problems

Path = tuple[str | int, ...]
SYNTAX_HINT = "An expression looks like {{ item.price * 1.2 }} or {{ item.name | upper }}."
LATER = "this is worked out outside of a run, where only `item` is known"
LATER_HINT = "Read fields of item, such as {{ item.body.id }}."
PER_ITEM_HINT = "Use items[0], node(...).first or vars; or put a Set node before this one."


class Leaf(NamedTuple):
    """One expression within params, and where it stands."""

    path: Path
    expression: Expression

    @property
    def dotted(self) -> str:
        """The place as people write it, such as `conditions[0].value`."""
        return dotted(self.path)


class Template:
    """The params of one node, ready to be filled in.

    Attributes:
        leaves: its expressions.
        problems: all that is wrong with it, without place and node id; the checks add them.
        static: the params, where no expression is among them.
        outputs: names of the node's outputs.
        uses_items: some expression reads `items`.
    """

    __slots__ = (
        "_bind", "_bound", "_build", "_columns", "_may_miss", "_unread", "leaves", "node_type", "outputs", "per_item",
        "problems", "raw", "static", "uses_items", "volatile",
    )  # fmt: skip

    def __init__(self, node_type: NodeType, params: Mapping[str, Any], version: int) -> None:
        self.node_type = node_type
        self.problems: list[Problem] = []
        self.leaves: list[Leaf] = []
        self.static: Params | None = None
        self.raw: dict[str, Any] = {}
        self._unread: set[Path] = set()  # places of expressions that cannot be read
        try:
            self.raw = node_type.upgraded(params, version)
        except InvalidParams as exc:
            self.problems.append(Problem(exc.code, exc.message, exc.hint, node_id=None))
        self.leaves += self._expressions(self.raw, ())
        self.per_item = any(_varies(leaf.expression) for leaf in self.leaves)
        self.volatile = any(leaf.expression.volatile for leaf in self.leaves)
        self.uses_items = any("items" in leaf.expression.uses for leaf in self.leaves)
        # Places whose fields take the error of a missing value for a value.
        self._may_miss: frozenset[Path] = frozenset()
        # Places that are given a value per item, in nodes that take all items at once.
        self._columns: frozenset[Path] = frozenset()
        # Params that were validated once, with columns to put in: a run need not validate again, at 1.5 us for 6.
        self._bound: tuple[Params, list[PerItem[Any]]] | None = None
        self._bind: Callable[[Sequence[Any]], Params] | None = None
        self._build = _builder(self.raw, {leaf.path: i for i, leaf in enumerate(self.leaves)})
        if len(self.problems) == len(self._unread):
            self._validate()
        self.outputs = self._outputs()

    def _outputs(self) -> tuple[str, ...]:
        try:
            return self.node_type.outputs(self.raw)
        except Exception as exc:  # noqa: BLE001  of a package, on params that may be anything
            if not self.problems:
                self.problems.append(Problem(InvalidParams.code, f"they do not say what its outputs are: {exc!r}"))
            return ("main",)

    def _expressions(self, value: Any, path: Path) -> Iterator[Leaf]:
        """The expressions inside `value`, which stands at `path`."""
        if isinstance(value, str):
            if "{" in value and (taken := _takes_expressions(self.node_type.params, path)):
                try:
                    expression = parse(value)
                except ExpressionError as exc:
                    self.problems.append(Problem(exc.code, exc.message, exc.hint or SYNTAX_HINT, field=dotted(path)))
                    self._unread.add(path)
                    return
                if expression is not None and taken is True:
                    yield Leaf(path, expression)
                elif expression is not None and not expression.uses <= {"item"}:
                    self.problems.append(Problem("node.expression", LATER, LATER_HINT, field=dotted(path)))
                    self._unread.add(path)
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from self._expressions(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield from self._expressions(inner, (*path, index))

    def _validate(self) -> None:
        """Check what is known before a run: all but the values of expressions."""
        if not self.leaves and not self._unread:
            try:
                self.static = self.node_type.params.model_validate(self.raw)
            except ValidationError as exc:
                self.problems += validation_problems(exc, place="", model=self.node_type.params)
            return
        batch = self.node_type.shape in ("items", "inputs", "frame")
        # Stands for the values that a field would have per item; a field that takes them marks it as accepted.
        markers: dict[Path, PerItem[Any]] = {
            leaf.path: PerItem([], constant=False) for leaf in self.leaves if batch and _varies(leaf.expression)
        }
        filled = self._build([markers.get(leaf.path, leaf.expression.text) for leaf in self.leaves])
        unknown: set[Path] = {leaf.path for leaf in self.leaves} | self._unread
        refused: list[Path] = []
        try:
            params = self.node_type.params.model_validate(filled)
        except ValidationError as exc:
            for error, problem in zip(
                exc.errors(include_url=False),
                validation_problems(exc, place="", model=self.node_type.params),
                strict=True,
            ):
                path = _resolve(error["loc"], filled)
                if path not in unknown or error["type"] == "extra_forbidden":
                    self.problems.append(problem)
                    refused.append(path)
        else:
            if len(markers) == len(self.leaves):
                self._bound = (params, [markers[leaf.path] for leaf in self.leaves])
        self._may_miss = frozenset(path for path, marker in markers.items() if marker.keeps_missing)
        takes_columns = self.node_type.shape == "items"
        self._columns = frozenset(path for path, marker in markers.items() if marker.accepted and takes_columns)
        needs_item = {leaf.path for leaf in self.leaves if leaf.expression.per_item}
        for path in markers:
            if any(path[: len(place)] == place for place in refused):
                continue
            if path not in self._columns and path in needs_item:
                message = "`item` differs from item to item, but this field is read once for all of them"
                self.problems.append(Problem("node.expression", message, PER_ITEM_HINT, field=dotted(path)))

    def once(
        self, scope: Scope, items: Items | None, *, drop: bool = False
    ) -> tuple[Params, dict[int, NodeError], Sequence[int] | None]:
        """The params for a run over all items at once, fields per item bound to them.

        Also the items for which an expression failed (index -> error) and, with `drop`, the indexes of the others:
        the fields per item then hold values for those only.

        Raises:
            ExpressionError: an expression that holds for all items failed, or gave what its field cannot take.
        """
        if self.static is not None:
            return self.static, {}, None
        values: list[Any] = []
        errors: dict[int, NodeError] = {}
        for path, expression in self.leaves:
            try:
                if path in self._columns and items is not None:
                    column, failed = evaluate_column(expression, scope, items)
                    values.append(PerItem(column, constant=False))
                    for index, error in failed.items():
                        error.param = dotted(path)
                        column[index] = error
                        if not (path in self._may_miss and isinstance(error, MissingValue)):
                            errors.setdefault(index, error)
                else:
                    values.append(expression.evaluate(scope))
            except ExpressionError as exc:
                exc.param = exc.param or dotted(path)
                raise
        kept = _keep(values, range(len(items)), errors) if errors and drop and items is not None else None
        if self._bound is not None:  # at the first run: who only checks a workflow needs it not
            self._bind, self._bound = _binder(*self._bound), None
        if self._bind and items is not None:
            return self._bind(values), errors, kept
        params = self._checked(self._build(values))
        if items is not None and (refused := self._refused(values)):
            places = range(len(items)) if kept is None else kept
            for index, refusal in refused.items():
                refusal.item_index = places[index]
                errors.setdefault(places[index], refusal)
            if drop:
                kept = _keep(values, places, {places[index] for index in refused})
                params = self._checked(self._build(values))
        return params, errors, kept

    def _refused(self, values: Sequence[Any]) -> dict[int, NodeError]:
        """The items for which a field cannot take the value of its expression."""
        found: dict[int, NodeError] = {}
        for leaf, value in zip(self.leaves, values, strict=True):
            for index, exc in value.refused.items() if isinstance(value, PerItem) else ():
                found.setdefault(index, _not_taken(leaf.path, leaf, exc))
        return found

    def each(self, scope: Scope, items: Items) -> tuple[Sequence[Params | None], dict[int, NodeError]]:
        """The params for each item, and the items for which they could not be made: index -> error."""
        if self.static is not None:
            return [self.static] * len(items), {}
        if not self.per_item:
            return [self.once(scope, None)[0]] * len(items), {}
        columns: list[Sequence[Any]] = []
        errors: dict[int, NodeError] = {}
        for path, expression in self.leaves:
            column, failed = evaluate_column(expression, scope, items)
            columns.append(column)
            for index, error in failed.items():
                error.param = dotted(path)
                errors.setdefault(index, error)
        made: list[Params | None] = []
        for index, values in enumerate(zip(*columns, strict=True)):
            params = None
            if index not in errors:
                try:
                    params = self._checked(self._build(values))
                except ExpressionError as exc:
                    exc.item_index = index
                    errors[index] = exc
            made.append(params)
        return made, errors

    def _checked(self, filled: dict[str, Any]) -> Params:
        try:
            return self.node_type.params.model_validate(filled)
        except ValidationError as exc:
            path = _resolve(exc.errors(include_url=False)[0]["loc"], filled)
            leaf = next((leaf for leaf in self.leaves if leaf.path == path[: len(leaf.path)]), None)
            raise _not_taken(path, leaf, exc) from exc


def _not_taken(path: Path, leaf: Leaf | None, exc: ValidationError) -> ExpressionError:
    """The error of a field that cannot take the value of an expression."""
    source = f" ({leaf.expression.text[:60]})" if leaf else ""
    error = ExpressionError(f"{dotted(path) or 'params'}{source} {humane(exc.errors(include_url=False)[0])}")
    error.param = dotted(path)
    return error


def _keep(values: Sequence[Any], places: Sequence[int], gone: Container[int]) -> list[int]:
    """Of the items at `places`, for which `values` are, those that are not `gone`; the values of the others go."""
    kept = [index for index, place in enumerate(places) if place not in gone]
    for value in values:
        if isinstance(value, PerItem):
            value.keep(kept)
    return [places[index] for index in kept]


def _varies(expression: Expression) -> bool:
    """Whether its value may differ from item to item: it reads the item, or is drawn anew for each."""
    return expression.per_item or "random" in expression.uses


def evaluate_column(expression: Expression, scope: Scope, items: Items) -> tuple[list[Any], dict[int, ExpressionError]]:
    """The expression's value for every item, and the items for which it failed.

    Items held as a table give only the columns that the expression reads: rows are not made for it.
    """
    fields = expression.fields
    if items.is_table and fields is not None and fields <= set(items.fields):
        if expression.path is not None and len(expression.path) == 1:
            return items.column(str(expression.path[0])), {}
        names = sorted(fields)
        columns = [items.column(name) for name in names]
        if not names:
            return expression.evaluate_all(scope, [{}] * len(items))
        return expression.evaluate_all(scope, [dict(zip(names, v, strict=True)) for v in zip(*columns, strict=True)])
    return expression.evaluate_all(scope, items.rows)


def _takes_expressions(model: Any, path: Path) -> bool | str:
    """False where a field on the way to `path` says that `{{` means nothing there, or "later"; else True."""
    for part in path:
        known = model.model_fields.get(part) if model is not None and isinstance(part, str) else None
        if known is None:
            continue  # a place in a list, or a key of an object: what it holds is of the same class
        if isinstance(known.json_schema_extra, dict) and "expressions" in known.json_schema_extra:
            return cast(bool | str, known.json_schema_extra["expressions"])
        model = model_in(known.annotation)
    return True


def _resolve(loc: Sequence[str | int], raw: Any) -> Path:
    """The part of pydantic's `loc` that leads through `raw`; it also holds names of union members."""
    path: list[str | int] = []
    current = raw
    for part in loc:
        try:
            current = current[part]
        except (LookupError, TypeError):
            continue
        path.append(part)
    return tuple(path)


def _binder(params: Params, markers: Sequence[PerItem[Any]]) -> Callable[[Sequence[Any]], Params] | None:
    """A function that gives `params` with columns in place of `markers`, in their order.

    None where they cannot just be put there: a marker was not taken as it is, since its field checks values.
    """
    places = {id(marker): index for index, marker in enumerate(markers) if marker.takes_any}
    found: set[int] = set()

    def bind(value: Any) -> Callable[[Sequence[Any]], Any] | None:
        if (index := places.get(id(value))) is not None:
            found.add(index)
            return lambda columns: columns[index]
        if isinstance(value, BaseModel):
            fields = {name: part for name, inner in value.__dict__.items() if (part := bind(inner))}
            if not fields:
                return None
            return lambda columns: _twin(value, {name: part(columns) for name, part in fields.items()})
        if isinstance(value, dict):
            parts = {key: bind(inner) for key, inner in value.items()}
            if not any(parts.values()):
                return None
            return lambda columns: {key: part(columns) if part else value[key] for key, part in parts.items()}
        if isinstance(value, list):
            elements = [bind(inner) for inner in value]
            if not any(elements):
                return None
            return lambda columns: [part(columns) if part else value[i] for i, part in enumerate(elements)]
        return None

    whole = bind(params)
    return whole if len(found) == len(markers) else None


def _twin(model: BaseModel, changes: Mapping[str, Any]) -> BaseModel:
    """The model with other values, which are known to be valid: pydantic's own `model_copy` takes 5 us for its 1 us."""
    twin = model.__class__.__new__(model.__class__)
    object.__setattr__(twin, "__dict__", {**model.__dict__, **changes})
    object.__setattr__(twin, "__pydantic_fields_set__", model.__pydantic_fields_set__)
    object.__setattr__(twin, "__pydantic_extra__", None)
    object.__setattr__(twin, "__pydantic_private__", None)
    return twin


def _builder(raw: Any, leaves: Mapping[Path, int]) -> Callable[[Sequence[Any]], Any]:
    """A function that gives `raw` with the values of its expressions, which come in the order of `leaves`."""

    if not leaves:
        return lambda values: raw

    def build(value: Any, path: Path) -> Callable[[Sequence[Any]], Any]:
        if path in leaves:
            index = leaves[path]
            return lambda values: values[index]
        inside = [p for p in leaves if p[: len(path)] == path]
        if not inside:
            return lambda values: value
        if isinstance(value, dict):
            parts = {key: build(inner, (*path, key)) for key, inner in value.items()}
            return lambda values: {key: part(values) for key, part in parts.items()}
        elements = [build(inner, (*path, i)) for i, inner in enumerate(value)]
        return lambda values: [element(values) for element in elements]

    return build(raw, ())
