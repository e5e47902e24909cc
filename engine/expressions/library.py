"""The table of filters, functions, methods and tests, and how their arguments are checked.

One Python function, decorated, may be offered in several forms: `value | upper`, `value.upper()`. Its annotations say
which values it takes, its docstring is its documentation. A first parameter called `scope` is not an argument: it is
there for what must pay before it makes something large.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

from engine.errors import ExpressionError, did_you_mean
from engine.expressions.failures import FILTER_NAMES, METHOD_NAMES, Refused
from engine.expressions.scope import FREE_TEXT, Scope
from engine.expressions.terms import Run, Term, literal
from engine.expressions.values import FIELD_BYTES, as_json, kind_of

Form = Literal["filter", "function", "method", "test"]
Apply = Callable[[Scope, Any], Any]
_F = TypeVar("_F", bound=Callable[..., Any])

REQUIRED: Final = inspect.Parameter.empty
_WANTED: dict[type, str] = {
    str: "text",
    float: "a number",
    int: "a whole number",
    bool: "a boolean",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: the kinds it takes (None: any), its default, and whether it takes all that follow."""

    name: str
    kinds: frozenset[type] | None
    default: Any
    many: bool

    def take(self, value: Any, function: str, label: str = "") -> Any:
        """The value, if it is of a kind that this argument takes.

        Raises:
            ExpressionError: it is not.
        """
        if self.kinds is None or type(value) in self.kinds:
            return value
        if int in self.kinds and type(value) is float and value.is_integer():
            return int(value)
        wanted = " or ".join(text for kind, text in _WANTED.items() if kind in self.kinds and self._named(kind))
        given = kind_of(value) if type(value) is not float or float in self.kinds else "a number with a fraction"
        hint = "`| default(...)` gives a value where there is none." if value is None else None
        raise ExpressionError(f"{function} needs {wanted}, but {label or self.name} is {given}", hint=hint)

    def _named(self, kind: type) -> bool:
        return kind is not int or float not in (self.kinds or ())


@dataclass(frozen=True, slots=True)
class Function:
    """One entry of the library.

    Attributes:
        scoped: the Python function gets the scope before its arguments.
        uses: what the result depends on besides the arguments, such as "now" or "random".
        cost: steps that one call takes, where it is much slower than a look at an element.
        aliases: other names for the same.
    """

    name: str
    group: str
    forms: tuple[Form, ...]
    call: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    scoped: bool
    uses: frozenset[str]
    cost: int
    aliases: tuple[str, ...]


FILTERS: dict[str, Function] = {}
FUNCTIONS: dict[str, Function] = {}
TESTS: dict[str, Function] = {}
METHODS: dict[str, dict[type, Function]] = {}  # name -> kind of the value -> function
_TABLES: dict[str, dict[str, Function]] = {"filter": FILTERS, "function": FUNCTIONS, "test": TESTS}


def offered(group: str, cost: int = 0) -> Callable[..., Callable[[_F], _F]]:
    """A decorator that adds functions of one group to the library.

    The decorator's arguments: the forms; `name` where it is not the Python function's (less an underscore at the end);
    `aliases`; `uses`.
    """

    def decorate(
        *forms: Form, name: str = "", aliases: tuple[str, ...] = (), uses: tuple[str, ...] = ()
    ) -> Callable[[_F], _F]:
        def add(call: _F) -> _F:
            parameters = list(inspect.signature(call).parameters.values())
            scoped = bool(parameters) and parameters[0].name == "scope"
            taken = tuple(map(_parameter, parameters[scoped:]))
            known_as = name or call.__name__.rstrip("_")
            function = Function(known_as, group, forms, call, taken, scoped, frozenset(uses), cost, aliases)
            for key in (known_as, *aliases):
                for form in forms:
                    if form in ("method", "filter"):
                        (METHOD_NAMES if form == "method" else FILTER_NAMES).add(key)
                    if form == "method":
                        METHODS.setdefault(key, {}).update(dict.fromkeys(taken[0].kinds or (), function))
                    else:
                        _TABLES[form][key] = function
            return call

        return add

    return decorate


def _parameter(parameter: inspect.Parameter) -> Parameter:
    many = parameter.kind is inspect.Parameter.VAR_POSITIONAL
    return Parameter(parameter.name.rstrip("_"), _kinds(parameter.annotation), parameter.default, many)


def _kinds(annotation: Any) -> frozenset[type] | None:
    if annotation is Any:
        return None
    choices = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = {NoneType if kind is None else get_origin(kind) or kind for kind in choices}
    return frozenset(kinds | {int}) if float in kinds else frozenset(kinds)


def bound(function: Function, given: Sequence[Term], named: Mapping[str, Term], offset: int) -> list[Term]:
    """The arguments in the function's order, its defaults filled in.

    Raises:
        Refused: too many, too few, an unknown name, or a literal of a wrong kind.
    """
    fixed = [p for p in function.parameters if not p.many]
    many = len(fixed) < len(function.parameters)
    if len(given) > len(fixed) and not many:
        raise Refused(
            f"{function.name} takes {_count(len(fixed))}, not {len(given)}", offset, _signature_hint(function)
        )
    names = [p.name for p in fixed]
    for name in named:
        if name not in names[len(given) :]:
            what = "is given twice" if name in names else "is unknown"
            raise Refused(f"{function.name}: the argument {name} {what}", offset, did_you_mean(name, names))
    terms = list(given)
    for parameter in fixed[len(given) :]:
        if parameter.name in named:
            terms.append(named[parameter.name])
        elif parameter.default is REQUIRED:
            raise Refused(f"{function.name} needs {parameter.name}", offset, _signature_hint(function))
        else:
            terms.append(literal(parameter.default))
    for parameter, term in zip(_repeated(function, len(terms)), terms, strict=True):
        if term.constant and term.value is not parameter.default:
            _check_literal(function, parameter, term, offset)
    return terms


def _check_literal(function: Function, parameter: Parameter, term: Term, offset: int) -> None:
    try:
        parameter.take(term.value, function.name, term.label)
    except ExpressionError as exc:
        raise Refused(exc.message, offset, exc.hint) from None


def _repeated(function: Function, count: int) -> list[Parameter]:
    parameters = list(function.parameters[:count])
    return parameters + list(function.parameters[-1:]) * (count - len(parameters))


def _count(number: int) -> str:
    return "no argument" if number == 0 else "one argument" if number == 1 else f"at most {number} arguments"


def _signature_hint(function: Function) -> str:
    return f"Its form is {signature(function, function.forms[0])}."


def signature(function: Function, form: Form) -> str:
    """How it is written: `value | replace(old, new, count=none)`."""
    receiver = [] if form == "function" else [function.parameters[0].name]
    shown = [_shown(p) for p in function.parameters[len(receiver) :]]
    inside = ", ".join(shown)
    call = f"{function.name}({inside})" if shown or form in ("function", "method") else function.name
    joint = {"filter": " | ", "method": ".", "test": " is ", "function": ""}[form]
    return "".join([*receiver, joint, call])


def _shown(parameter: Parameter) -> str:
    if parameter.many:
        return f"{parameter.name}..."
    if parameter.default is REQUIRED:
        return parameter.name
    return f"{parameter.name}={'none' if parameter.default is None else as_json(parameter.default)}"


def applied(function: Function, rest: Sequence[Term], label: str = "") -> Apply:
    """The function over its first argument, the others being bound; checks kinds, and pays for what is large."""
    call, name, first = function.call, function.name, function.parameters[0]
    others = _repeated(function, len(rest) + 1)[1:]
    kinds, scoped, cost = first.kinds, function.scoped, function.cost
    if all(term.constant for term in rest):
        fixed = tuple(
            term.value if term.value is p.default else p.take(term.value, name)
            for p, term in zip(others, rest, strict=True)
        )

        def with_literals(scope: Scope, value: Any) -> Any:
            if kinds is not None and type(value) not in kinds:
                value = first.take(value, name, label)
            _pay_for_reading(scope, value, cost)
            return _paid(scope, call(scope, value, *fixed) if scoped else call(value, *fixed))

        return with_literals
    pairs = [
        (p, term.run, term.label, term.constant and term.value is p.default)
        for p, term in zip(others, rest, strict=True)
    ]

    def apply(scope: Scope, value: Any) -> Any:
        value = first.take(value, name, label)
        _pay_for_reading(scope, value, cost)
        arguments = [run(scope) if default else p.take(run(scope), name, source) for p, run, source, default in pairs]
        return _paid(scope, call(scope, value, *arguments) if scoped else call(value, *arguments))

    return apply


def called(function: Function, terms: Sequence[Term]) -> Run:
    """The function over its arguments."""
    if terms:
        apply, first = applied(function, terms[1:], terms[0].label), terms[0].run
        return lambda scope: apply(scope, first(scope))
    call, scoped = function.call, function.scoped
    return lambda scope: call(scope) if scoped else call()


def _pay_for_reading(scope: Scope, value: Any, cost: int) -> None:
    if cost:
        scope.walk(cost)
    kind = type(value)
    if kind is str:
        if len(value) > FREE_TEXT:
            scope.read(len(value))
    elif kind is list or kind is dict:
        scope.walk(len(value))


def _paid(scope: Scope, result: Any) -> Any:
    kind = type(result)
    if kind is str:
        if len(result) > FREE_TEXT:
            scope.text(len(result))
    elif kind is list:
        scope.elements(len(result))
    elif kind is dict:
        scope.elements(len(result), FIELD_BYTES)
    return result
