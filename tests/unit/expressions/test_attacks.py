"""Ways out of the data that are known from other template and expression engines: none of them leads anywhere."""

import pytest

from engine.errors import ExpressionError
from engine.expressions import parse
from engine.expressions.library import FILTERS, FUNCTIONS, METHODS, TESTS
from tests.support.expressions import error_of, scope, value_of

ITEM = {"name": "Ada", "n": 1, "f": 1.5, "b": True, "z": None, "list": [1], "object": {"a": 1}}

ATTRIBUTES = [
    "__class__",
    "__init__",
    "__globals__",
    "__mro__",
    "__dict__",
    "__getitem__",
    "__reduce__",
    "_private",
    "mro",
]
METHODS_OF_PYTHON = [
    "format",
    "format_map",
    "encode",
    "translate",
    "expandtabs",
    "maketrans",
    "append",
    "extend",
    "insert",
    "pop",
    "clear",
    "remove",
    "setdefault",
    "update",
    "popitem",
    "sort",
    "reverse",
    "copy",
    "to_bytes",
    "from_bytes",
    "as_integer_ratio",
    "__class__",
    "__getattribute__",
    "__init__",
    "__subclasses__",
]


@pytest.mark.parametrize(
    "value", ["item", *(f"item.{name}" for name in ITEM), "items", "now", "vars.v", "1", "'t'", "[]", "{}"]
)
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_no_attribute_of_a_python_object_can_be_read(value, attribute):
    form = f"({value}).{attribute}", f'({value})["{attribute}"]', f'({value})["{attribute[:2]}" ~ "{attribute[2:]}"]'
    for expression in form:
        error = error_of(expression, ITEM, vars={"v": 1})
        assert "no field" in error.message


@pytest.mark.parametrize("value", [*(f"item.{name}" for name in ITEM), "item", "items", "'t'"])
@pytest.mark.parametrize("method", METHODS_OF_PYTHON)
def test_methods_that_change_escape_or_amplify_do_not_exist(value, method):
    assert "unknown method" in error_of(f"{value}.{method}()", ITEM).message or method in FILTERS


@pytest.mark.parametrize("value", [f"item.{name}" for name in ITEM])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_read_without_brackets_is_no_value(value, method):
    assert isinstance(error_of(f"{value}.{method}", ITEM), ExpressionError)


@pytest.mark.parametrize(
    "expression",
    [
        # names of Jinja and Python
        "self",
        "self._TemplateReference__context",
        "namespace(a=1)",
        "cycler('a')",
        "joiner()",
        "lipsum()",
        "dict(a=1)",
        "caller()",
        "loop.index",
        "varargs",
        "kwargs",
        "super()",
        "_",
        "__builtins__",
        "__import__('os')",
        "eval('1')",
        "exec('1')",
        "open('/etc/passwd')",
        "getattr(item, 'a')",
        "globals()",
        "locals()",
        "type(item)",
        "object",
        "str",
        "print(1)",
        "environ",
        "env",
        "process.env",
        "os",
        "sys.modules",
        "request",
        "config",
        "settings",
        "this",
        "window",
        "require('fs')",
        "constructor",
        "global",
        # filters and tests that Jinja has
        "item | attr('__class__')",
        "'%s' | format(item)",
        "item | pprint",
        "item | xmlattr",
        "'x' | urlize",
        "'x' | safe",
        "[1] | random",
        "items | map('attr', '__class__')",
        "items | map('format')",
        "items | select('callable')",
        "item is callable",
        "item is sameas item",
        "1 is filter",
        "item is escaped",
        # names by path
        "[item] | map(attribute='__class__') | list",
        "[item] | groupby('__class__')",
        "[item] | sum(attribute='__class__')",
        "[item] | map(attribute='name.__class__')",
        "[item] | sort(attribute='__class__')",
        "[item] | unique(attribute='x.y')",
        "[item] | selectattr('__class__', 'eq', 1)",
        "[item] | join(',', attribute='__class__')",
        "item | map(attribute='keys')",
        "[item] | map('get')",
        # calling what is no function
        "item()",
        "item.name()",
        "item.object.a()",
        "items()",
        "vars()",
        "vars.v()",
        "node('A')()",
        "'a'()",
        "(1)()",
        "uuid()()",
        "node",
        "node('A')",
        "node('A').__class__",
        "node('A')['__class__']",
        "node('A').first.__class__",
        "node('A').items.append(1)",
        "node(label)",
        "node('A' ~ 'B').first",
        "node(*['A']).first",
        "node(label='A').first",
        # spreading
        "uuid(*[1])",
        "range(**{'stop': 3})",
        "'a' | replace(*['a', 'b'])",
        "1 is divisibleby(*[1])",
        # assigning and statements
        "item.name = 1",
        "x := 1",
        "lambda: 1",
        "[x for x in items]",
        "yield",
        "import os",
        "(1 for x in items)",
    ],
)
def test_nothing_but_data_and_the_library_is_within_reach(expression):
    error_of("{{ " + expression + " }}", ITEM, items=[{"a": 1}], nodes={"A": [{"n": 1}]}, vars={"v": 1})


@pytest.mark.parametrize(
    "text",
    [
        "{% macro m() %}{{ m.__globals__ }}{% endmacro %}{{ m() }}",
        "{% set x = item.name %}{{ x }}",
        "{% for x in items %}{{ x }}{% endfor %}",
        "{% import 'os' as o %}",
        "{% extends 'x' %}",
        "{%- block b -%}{%- endblock -%}",
        "{% filter upper %}x{% endfilter %}",
        "{% do item.clear() %}",
        "{{ 1 }}{% raw %}",
        "{%",
    ],
)
def test_no_statement_gets_through(text):
    with pytest.raises(ExpressionError, match="statements are not allowed"):
        parse(text)


def test_the_library_holds_no_name_that_other_engines_were_broken_by():
    names = {*FILTERS, *FUNCTIONS, *METHODS, *TESTS}
    assert names.isdisjoint(
        {"attr", "format", "format_map", "eval", "exec", "open", "getattr", "xmlattr", "pprint", "urlize"}
    )
    assert not [name for name in names if name.startswith("_")]


def test_data_is_never_changed():
    item = {"list": [3, 1, 2], "object": {"b": 1, "a": [1]}}
    before = repr(item)
    for expression in (
        "item.list | sort",
        "item.list | reverse",
        "item.list + [4]",
        "item.object | merge({'c': 1})",
        "item | omit('list')",
        "item.list | batch(2, 0)",
        "[item.list] | flatten",
        "item.object | dictsort",
        "item.list | unique",
        "item | pick('list')",
    ):
        value_of(expression, item)
    assert repr(item) == before


def test_data_that_looks_like_code_stays_data():
    for text in ("{{ 1 + 1 }}", "{% set x = 1 %}", "__import__('os')", "[1,2]", "None", "1_000", "0x10", "True"):
        assert value_of("item.x", {"x": text}) == text
        assert value_of("<{{ item.x }}>", {"x": text}) == f"<{text}>"


def test_errors_show_no_python():
    for expression in (
        "item.upper",
        "item.name.upper",
        "item | upper",
        "items + 1",
        "item.list.count",
        "item.n.x",
        "item[item]",
    ):
        error = error_of(expression, ITEM)
        assert not any(
            word in error.message + str(error.hint)
            for word in ("<", "object at", "built-in", "'str'", "dict", "Traceback")
        )
        assert error.__cause__ is None
        assert error.__context__ is None or error.__suppress_context__


def test_a_value_with_its_own_ideas_of_equality_and_fields_is_not_asked():
    class Trap:
        def __getattr__(self, name):
            raise AssertionError(f"{name} was read")

        def __getitem__(self, key):
            raise AssertionError(f"{key} was read")

        def __len__(self):
            raise AssertionError("was measured")

        def __iter__(self):
            raise AssertionError("was walked")

        def __call__(self):
            raise AssertionError("was called")

    for expression in (
        "item.x.name",
        "item.x[0]",
        "item.x['a']",
        "item.x[1:]",
        "item.x()",
        "item.x.upper()",
        "item.x | length",
        "item.x + 1",
        "item.x < 1",
        "1 in item.x",
        "item.x | map('upper')",
        "item.x | sort",
        "item.x | upper",
        "item.x | first",
        "-item.x",
        "item.x ~ ''",
        "<{{ item.x }}>",
        "item.x | tojson",
        "item.x | keys",
        "[item.x] | sum",
        "item.x | int",
    ):
        error_of(expression, {"x": Trap()})


def test_patterns_take_time_that_grows_with_the_text_only():
    text = "a" * 50_000 + "!"
    for pattern in ("(a+)+$", "(a|a)*[bc]", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){12}$"):
        assert value_of("item.t | matches(vars.p)", {"t": text}, vars={"p": pattern}) is False


def test_a_pattern_that_would_fill_memory_is_refused():
    for pattern in ("((a{500}){500}){500}", "\\\\pL{900}", "a" * 3_000):
        error_of("'x' | matches(vars.p)", {}, vars={"p": pattern.replace("\\\\", "\\")})


def test_an_expression_is_only_ever_parsed_not_run_by_parse():
    parsed = parse("{{ node('A').first.x / 0 }}")
    assert parsed.labels == ("A",)
    with pytest.raises(ExpressionError):
        parsed.evaluate(scope(nodes={"A": [{"x": 1}]}))
