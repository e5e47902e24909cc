"""Filters, functions and methods beyond their examples: corners, and what they refuse."""

import pytest

from tests.support.expressions import error_of, value_of

ITEMS = [
    {"name": "b", "n": 2, "city": "Rome", "at": {"x": [10]}},
    {"name": "A", "n": 1, "city": "Oslo", "at": {"x": [20]}},
    {"name": "c", "n": None, "city": "Rome", "at": {"x": [30]}},
]


ODD = {"n": float("nan"), "i": [float("inf"), 2**64]}


def check(expression, value):
    found = value_of(
        "{{ " + expression + " }}", {"o": {"a": 1, "b": 2}, "t": "text", "n": 3, "z": None, "odd": ODD}, items=ITEMS
    )
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('"a-b-c" | replace("-", "+", 1)', "a+b-c"),
        ('"a-b" | replace("-", "+", count=-1)', "a+b"),
        ('"ab" | replace("", "-")', "-a-b-"),
        ('"a-b-c".split("-", 1)', ["a", "b-c"]),
        ('"" | split(",")', [""]),
        ('"" | lines', []),
        ('"a\\r\\nb\\rc" | lines', ["a", "b", "c"]),
        ('"a\\n\\nb" .splitlines()', ["a", "", "b"]),
        ('"xxaxx" | trim("x")', "a"),
        ('"abc".find("z")', -1),
        ('"abcabc".find("a", 1)', 3),
        ('"short" | truncate(10)', "short"),
        ('"The quick brown" | truncate(12)', "The quick..."),
        ('"The quick brown" | truncate(12, true)', "The quick..."),
        ('"The quickest" | truncate(11, killwords=true)', "The quic..."),
        ('"Thequickestfox" | truncate(8)', "Thequ..."),
        ('"one two three" | truncate(7, end="")', "one two"),
        ('"ab" | pad(5, side="both")', "  ab "),
        ('"abc" | pad(2)', "abc"),
        ('7 | pad(3, "0")', "007"),
        ('"-7".zfill(4)', "-007"),
        ('"" | slug', ""),
        ('"Straße & Café" | slug("_")', "strae_cafe"),
        ("\"<a b='c'>\" | e", "&lt;a b=&#39;c&#39;&gt;"),
        ('[1, none, "x"] | join("-")', "1--x"),
        ('", ".join([])', ""),
        ('["b", 2, [1]] | map("string") | join("|")', "b|2|[1]"),
        ("none | string", ""),
        ('"x".isalpha() and "1".isdigit() and "x1".isalnum() and " ".isspace()', True),
        ('"a.b".title()', "A.b"),
        ('"ab" | reverse', "ba"),
        ("item.t | length", 4),
        ("item.o | length", 2),
    ],
)
def test_texts(expression, value):
    check(expression, value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2.5 | round", 3),
        ("-2.5 | round", -3),
        ("2.675 | round(2)", 2.68),
        ("1234 | round(-2)", 1200),
        ("5 | round(2)", 5.0),
        ("2.61 | round(1, method='floor')", 2.6),
        ("2.61 | round(1, 'ceil')", 2.7),
        ("abs(-3)", 3),
        ("-2.5 | floor", -3),
        ("ceil(-2.5)", -2),
        ("2 | sqrt | round(3)", 1.414),
        ('" 42 " | int', 42),
        ('"-7" | int', -7),
        ('"1e3" | int', 1000),
        ("7.9 | int", 7),
        ("true | int", 1),
        ("none | int(0)", 0),
        ('"x" | int("?")', "?"),
        ('"0x1f" | int(base=16)', 31),
        ('"12" | float', 12.0),
        ("false | float", 0.0),
        ('"inf" | float(1)', 1),
        ("0 | number", "0.00"),
        ("-0.001 | number", "0.00"),
        ("-1234.567 | number(1)", "-1,234.6"),
        ("12345678901234567890 | number(0)", "12,345,678,901,234,567,890"),
        ("5 | money", "5.00"),
        ('1.5 | money("CHF", thousands=" ")', "1.50 CHF"),
        ('-1.5 | money("$")', "-$1.50"),
        ("range(0)", []),
        ("range(2, 5)", [2, 3, 4]),
        ("range(5, 2)", []),
        ("range(item.n)", [0, 1, 2]),
        ("range(2.0)", [0, 1]),
        ("random_int(3, 3)", 3),
        ("4 is even and 3 is odd and 9 is divisibleby 3", True),
        ("2.5 is odd", False),
        ("1.0 is integer", False),
    ],
)
def test_numbers(expression, value):
    check(expression, value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[3, 1, 2] | sort", [1, 2, 3]),
        ("[3, 1, none, 2] | sort(reverse=true)", [3, 2, 1, None]),
        ('["b", "A", "c"] | sort', ["A", "b", "c"]),
        ('["b", "A", "a"] | sort(case_sensitive=true)', ["A", "a", "b"]),
        ("[] | sort", []),
        ('items | sort(attribute="n") | map(attribute="name")', ["A", "b", "c"]),
        ('items | sort(attribute="name") | map(attribute="n")', [1, 2, None]),
        ('items | map(attribute="at.x.0")', [10, 20, 30]),
        ('items | map(attribute="at.x") | map("first")', [10, 20, 30]),
        ('items | map(attribute="n", default=0) | sum', 3),
        ('[{"a.b": 1, "a": {"b": 2}}] | map(attribute="a.b")', [1]),
        ("[[1, 2]] | map(attribute=0)", [1]),
        ('items | unique(attribute="city") | map(attribute="name")', ["b", "A"]),
        ("[1, true, 1.0, false, 0, none, none] | unique", [1, True, False, 0, None]),
        ('[{"a": 1, "b": 2}, {"b": 2, "a": 1}, [1], [1]] | unique', [{"a": 1, "b": 2}, [1]]),
        ('["a", "A"] | unique(true)', ["a", "A"]),
        ('items | groupby("city") | map(attribute="list") | map("length")', [2, 1]),
        ("[1, 2, 3] | average", 2.0),
        ("[1, 2] | avg", 1.5),
        ("[] | sum", 0),
        ("[1] | sum(start=10)", 11),
        ("[true, false] | max", True),
        ('items | map(attribute="name") | min', "A"),
        ("min(3, 1, 2)", 1),
        ("max([3, 1])", 3),
        ("min([2])", 2),
        ("[1, [2, [3, [4]]]] | flatten(9)", [1, 2, 3, 4]),
        ("[1, [2]] | flatten(0)", [1, [2]]),
        ("[1, 2, 3, 4] | batch(2)", [[1, 2], [3, 4]]),
        ("[] | batch(3, 0)", []),
        ("[1, 2, 1].count(1) + [1, 2].index(2)", 3),
        ("[[1], [2]].index([2])", 1),
        ("[1].index(2) | default(-1)", -1),
        ("[1, 2] | last", 2),
        ('"ab" | first', "a"),
        ("[0, 1, 2] | select", [1, 2]),
        ("[0, 1, 2] | reject", [0]),
        ('items | selectattr("n") | map(attribute="n")', [2, 1]),
        ('items | rejectattr("n") | map(attribute="name")', ["c"]),
        ('items | selectattr("nope", "undefined") | length', 3),
        ('items | rejectattr("n", "none") | length', 2),
        ('items | selectattr("name", "in", ["b", "c"]) | length', 2),
        ('items | selectattr("at.x.0", ">=", item.n * 5) | length', 2),
        ('[1, 2, 3] | select("divisibleby", divisor=3)', [3]),
        ('["ab", "b"] | select("matches", "^a")', ["ab"]),
        ('["a", "b"] | map("replace", "a", item.t)', ["text", "b"]),
        ('[none, 1] | map("default", 0)', [0, 1]),
        ('["a"] | list', ["a"]),
        ("item.o | list", ["a", "b"]),
        ("[] is iterable and [] is sequence and [] is empty and {} is empty", True),
    ],
)
def test_lists(expression, value):
    check(expression, value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("item.o | keys", ["a", "b"]),
        ("item.o.values()", [1, 2]),
        ("item.o | items", [["a", 1], ["b", 2]]),
        ('{"B": 1, "a": 2} | dictsort(reverse=true)', [["B", 1], ["a", 2]]),
        ('item.o | pick("b", "nope")', {"b": 2}),
        ('item.o | pick(["b", "a"])', {"b": 2, "a": 1}),
        ('item.o | omit("a", ["b"])', {}),
        ('item.o | merge({"c": 3}, {"a": 0})', {"a": 0, "b": 2, "c": 3}),
        ("item.o | tojson", '{"a":1,"b":2}'),
        ("item.o | tojson(2)", '{\n  "a": 1,\n  "b": 2\n}'),
        ("(2 ** 70) | to_json", "1180591620717411303424"),
        ("item.odd | tojson", '{"n":null,"i":[null,18446744073709551616]}'),
        ("item.odd | tojson(1)", '{\n "n": null,\n "i": [\n  null,\n  18446744073709551616\n ]\n}'),
        ('"[1, 2.5, null]" | from_json', [1, 2.5, None]),
        ('("x" | tojson) | fromjson', "x"),
        ('"a=b&c d/é" | url_encode', "a%3Db%26c%20d%2F%C3%A9"),
        ('"a/b" | url_encode("/")', "a/b"),
        ("5 | url_encode", "5"),
        ('"a+b%20c" | url_decode', "a+b c"),
        ('"a+b%20c" | url_decode(true)', "a b c"),
        ('[["a", 1], ["a", true]] | urlencode', "a=1&a=true"),
        ("{} | query_string", ""),
        (
            '("//u:p@h/p%20q?a=1&a=2&b=" | url_parse)',
            {
                "scheme": "",
                "host": "h",
                "port": None,
                "path": "/p q",
                "query": {"a": ["1", "2"], "b": ""},
                "fragment": "",
            },
        ),
        ('"key" | hmac_sha256("k", "base64") | length', 44),
        ('("é" | base64_encode) | base64_decode', "é"),
        ('">>>?" | base64_encode(url_safe=true)', "Pj4-Pw=="),
        ('"Pj4-Pw" | base64_decode', ">>>?"),
        ('"abc" | sha512 | length', 128),
        ('"ON" | bool', True),
        ('" no " | bool', False),
        ("0.0 | bool", False),
        ("none | bool", False),
        ("[1, 'a', true, none, [], {}] | map('type_of') | join(' ')", "number text boolean null list object"),
        ("1 is number and true is boolean and true is not number and none is none", True),
        ("1 is eq 1 and 1 is ne 2 and 1 is lt 2 and 2 is ge 2", True),
        ("1.5 is float and 1 is integer and 'a' is string and {} is mapping", True),
        ("true is true and false is false and 1 is not true", True),
        ("'A' is upper and 'a' is lower", True),
        ("'a' is in 'abc' and 'a' is in({'a': 1})", True),
    ],
)
def test_objects_json_addresses_hashes_and_logic(expression, value):
    check(expression, value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('"a1b22" | regex_find_all("(\\d)(\\d)?", 1)', ["1", "2"]),
        ('"a1" | regex_find_all("(\\d)(x)?", 2)', [None]),
        ('"key=value" | regex_find("(?P<k>\\w+)=(?P<v>\\w+)", "v")', "value"),
        ('"abc" | regex_find("z")', None),
        ('"a.b" | regex_replace("\\.", "\\\\\\\\")', "a\\b"),
        ('"John Smith" | regex_replace("(?P<a>\\w+) (?P<b>\\w+)", "\\g<b>, \\g<a>")', "Smith, John"),
        ('"abc" | regex_replace("", "-")', "-a-b-c-"),
        ('"xäx" | regex_replace("ä", "\\0")', "xäx"),
        ('"ABC" | matches("(?i)^abc$")', True),
        ('"abc" is matches("z")', False),
        ('"é1" is matches("^\\p{L}\\d$")', True),
    ],
)
def test_patterns(expression, value):
    check(expression, value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("item.n | upper", "upper needs text, but item.n is a number"),
        ("5 | upper", "upper needs text, but 5 is a number (column 8)"),
        ("item.z | upper", "upper needs text, but item.z is null"),
        ("item.n.upper()", "upper is a method of text, but item.n is a number"),
        ("item.n.count(1)", "count is a method of a list, but item.n is a number"),
        ('item.t | replace(item.n, "")', "replace needs text, but item.n is a number"),
        ('item.t | replace(item.o.a + 1, "")', "replace needs text, but old is a number"),
        ("range(2.5)", "range needs a whole number, but 2.5 is a number with a fraction (column 9)"),
        ("item.t | length + (item.n | length)", "length needs text or a list or an object, but item.n is a number"),
        ('"a" | split("")', "split needs a separator of at least one character"),
        ('"a" | pad(5, "xy")', "pad needs one character to fill with"),
        ('"a" | pad(5, side="top")', 'pad fills the side "left", "right" or "both"'),
        ('"abcdef" | truncate(2)', "truncate needs a length of at least 3: that of its end"),
        ('"x" | int', "int: this text is no number"),
        ("item.z | float", "float: null is no number"),
        ('"1" | int(base=1)', "int takes a base from 2 to 36"),
        ("1 | round(method='up')", 'round takes the method "common", "ceil" or "floor"'),
        ("1 | round(99)", "round takes at most 30 decimals"),
        ("-1 | sqrt", "a negative number has no square root"),
        ("1 | number(-1)", "number takes 0 to 30 decimals, and separators of up to 3 characters"),
        ("1 | money('x' | pad(30))", "money takes a currency of up to 20 characters"),
        ("range(1, 2, 0)", "range needs a step other than 0"),
        ("random_int(2, 1)", "random_int needs the lower number first"),
        ("[1, 'a'] | sort", "sort needs elements of one kind, numbers or texts, not a number and text"),
        ("[[1], [2]] | sort", "sort needs elements of one kind, numbers or texts, not a list"),
        ("[1, none] | max", "max needs elements of one kind, numbers or texts, not a number and null"),
        ("['1', '2'] | sum", "sum needs numbers, not text"),
        ("[] | average", "the list is empty, so it has no average"),
        ("[] | first", "a list is empty, so it has no first element"),
        ('"" | last', "text is empty, so it has no last element"),
        ("[1].index(2)", "no element of the list equals the value"),
        ("[1] | flatten(-1)", "flatten goes 0 to 100 levels deep"),
        ("[1] | batch(0)", "batch needs a size of at least 1"),
        ("item.n | map('upper')", "map needs a list, but item.n is a number"),
        ("[1] | map('upper')", "upper needs text, but an element is a number"),
        ('items | map(attribute="nam")', 'an element of the list has no field "nam"; did you mean "name"?'),
        ('items | selectattr("nam", ">", 1)', 'an element of the list has no field "nam"; did you mean "name"?'),
        ('items | selectattr("n", ">", 1)', "cannot compare null with a number by >"),
        ("item.o | pick(1)", "pick needs text or a list, but 1 is a number (column 13)"),
        ("item.o | pick([1])", "pick needs names of fields, not a number"),
        ("1 | tojson(99)", "tojson indents by 0 to 8 spaces"),
        ("'nope' | from_json", "this text is no JSON: line 1, column 1: invalid literal, expected 'null'"),
        ("[1] | urlencode", "urlencode needs a list of pairs of name and value"),
        ("'http://[' | url_parse", "this text is no address"),
        ("'http://h:99999/' | url_parse", "this text is no address"),
        ("'!' | base64_decode", "this text is no Base64, or what it holds is no text"),
        ("'/w' | base64_decode", "this text is no Base64, or what it holds is no text"),
        ("'a' | hmac_sha256('k', 'hax')", 'hmac_sha256 writes "hex" or "base64"'),
        ("'ja' | bool", "bool: this text is neither yes nor no"),
        ("'a' | matches('(')", "this pattern cannot be read: missing ): ("),
        ("'a' | regex_find('(?=a)')", "this pattern cannot be read: invalid perl operator: (?="),
        ("'a' | regex_find('a', 1)", "the pattern has no such group"),
        ("'a' | regex_replace('a', '\\\\2')", "the pattern has no such group"),
    ],
)
def test_what_functions_refuse(expression, message):
    item = {"o": {"a": 1}, "t": "text", "n": 3, "z": None}
    assert error_of("{{ " + expression + " }}", item, items=ITEMS).message == message


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("'a' | uper", "unknown filter 'uper' (column 10)", "Did you mean 'upper'?"),
        ("'a' | qqqqqq", "unknown filter 'qqqqqq' (column 10)", None),
        (
            "'%d' | format(1)",
            "unknown filter 'format' (column 11)",
            "Write value | number(2) for decimals, and join texts with `~`.",
        ),
        ("item | attr('x')", "unknown filter 'attr' (column 11)", 'Write item.name or item["name"].'),
        ("'a'.uper()", "unknown method 'uper' (column 12)", "Did you mean 'upper'?"),
        (
            "'a'.format(1)",
            "unknown method 'format' (column 14)",
            "Write value | number(2) for decimals, and join texts with `~`.",
        ),
        ("'a'.slug()", "slug is a filter (column 12)", "Write value | slug."),
        ("[1].append(2)", "unknown method 'append' (column 14)", "Write list + [value]."),
        ("lenn(1)", "unknown function 'lenn' (column 4)", "Did you mean 'len'?"),
        ("upper('a')", "upper is a filter (column 4)", "Write value | upper."),
        ("now()", "unknown function 'now' (column 4)", "Write now, without brackets."),
        ("1 is evenn", "unknown test 'evenn' (column 6)", "Did you mean 'even'?"),
        ("itm", "unknown name 'itm' (column 4)", "Did you mean 'item'? A field of the item is item.itm."),
        ("uuid", "uuid is a function (column 4)", "Write uuid(...)."),
        ("upper", "upper is a filter (column 4)", "Write value | upper."),
        ("null", "there is no null (column 4)", "Write none."),
        ("vars", "vars is no value by itself (column 4)", "Write vars.name."),
        ("vars[item.x]", "vars is no value by itself (column 8)", "Write vars.name."),
        ("vars.get('a')", "vars has no methods (column 12)", "Write vars.name | default(...)."),
        ("workflow", "workflow is no value by itself (column 4)", "Write workflow.name."),
        ("workflow.id", "workflow has no 'id' (column 12)", "There is workflow.name."),
        ("execution.name", "execution has no 'name' (column 13)", "There is execution.id."),
        ("node", "node is no value by itself (column 4)", 'Write node("Label").item, .items, .first or .last.'),
        ("node('A')", 'node("A") is no value by itself (column 8)', "Add .item, .items, .first or .last."),
        ("node('A').rows", 'node("A") has no such part (column 8)', "There are .item, .items, .first and .last."),
        ("node('A')[0]", 'node("A") has no such part (column 8)', "There are .item, .items, .first and .last."),
        ("node(item.x).first", "node(...) needs a label in quotes (column 8)", 'Write node("Label").item.'),
        ("node().first", "node(...) needs a label in quotes (column 8)", 'Write node("Label").item.'),
        ("'a' | replace('b')", "replace needs new (column 10)", "Its form is text | replace(old, new, count=none)."),
        ("'a' | upper(1)", "upper takes one argument, not 2 (column 10)", "Its form is text | upper."),
        ("uuid(1)", "uuid takes no argument, not 1 (column 8)", "Its form is uuid()."),
        (
            "range(1, 2, 3, 4)",
            "range takes at most 3 arguments, not 4 (column 9)",
            "Its form is range(start, stop=none, step=1).",
        ),
        ("1 | round(presision=2)", "round: the argument presision is unknown (column 8)", "Did you mean 'precision'?"),
        (
            "1 | round(1, precision=2)",
            "round: the argument precision is given twice (column 8)",
            "Did you mean 'precision'?",
        ),
        ("1 | round(precision=1, precision=2)", "the argument precision is given twice (column 8)", None),
        ("[1] | map", "map needs the name of a filter, in quotes (column 10)", None),
        ("[1] | map(item.f)", "map needs the name of a filter, in quotes (column 10)", None),
        ("[1] | map('uper')", "unknown filter 'uper' (column 10)", "Did you mean 'upper'?"),
        ("[1] | select('evn')", "unknown test 'evn' (column 10)", "Did you mean 'even'?"),
        ("[1] | map('map', 'upper')", "unknown filter 'map' (column 10)", "Did you mean 'max'?"),
        (
            "[1] | map(attribute=item.f)",
            "these arguments do not fit map (column 10)",
            'Its forms are map("filter", ...) and map(attribute="field", default=none).',
        ),
        (
            "[1] | selectattr",
            "selectattr needs the name of a field, in quotes (column 10)",
            'Write selectattr("field") or selectattr("field", "test", value).',
        ),
        ("uuid(*[1])", "arguments cannot be spread by * or ** (column 8)", None),
        ("item[1:2, 3]", "this is not allowed in an expression (column 9)", None),
        ("{1: 2}", "the names of an object's fields are texts (column 4)", 'Write {"name": value}.'),
        ("(item.a)(1)", "unknown method 'a' (column 12)", None),
        ("uuid()()", "only functions and methods can be called (column 10)", None),
        ("'a'('b')", "only functions and methods can be called (column 7)", None),
    ],
)
def test_what_is_not_on_offer_is_refused_before_it_runs(expression, message, hint):
    error = error_of("{{ " + expression + " }}")
    assert (error.message, error.hint) == (message, hint)
