"""Reads what stands between `{{` and `}}`: characters to lexemes, lexemes to Jinja2's syntax tree.

Jinja2's own parser builds the tree. The lexemes are cut here, by Jinja2's patterns, because its lexer knows lines but
not columns, changes line ends, and reads "\\d" in a text as a mistake.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import Token, TokenStream, float_re, integer_re, operator_re, operators, string_re
from jinja2.parser import Parser

from engine.expressions.failures import Refused

# Deeper source would exhaust Python's stack in Jinja2's parser, at about 14 calls for one pair of brackets.
DEPTH_LIMIT = 30
LENGTH_LIMIT = 64 * 1024  # characters inside braces, in one text

_LEXEME = re.compile(
    "|".join(
        (
            r"(?P<space>\s+)",
            rf"(?P<float>(?xi:{float_re.pattern}))",
            rf"(?P<integer>(?xi:{integer_re.pattern}))",
            # Anything but spaces and ASCII signs; what is no name is refused later. Jinja2's own pattern is private.
            r"(?P<name>[^\s\x00-/:-@\[-^`{-\x7f]+)",
            rf"(?P<string>(?s:{string_re.pattern}))",
            rf"(?P<operator>{operator_re.pattern})",
        )
    )
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ESCAPE = re.compile(r"""\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[\\'"nrt])""")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_ENVIRONMENT = Environment()  # noqa: S701 - nothing is ever rendered

# What people bring from other languages, and what to write here.
_FOREIGN = {
    "$json": "Write `item` for `$json`.",
    "$node": 'Write node("Label").item for $node["Label"].json.',
    "$input": "Write `item`, or `items` for all of them.",
    "$item": "Write `item`.",
    "$items": "Write `items`.",
    "$now": "Write `now`.",
    "$today": "Write today().",
    "$vars": "Write vars.name.",
    "$env": "Write vars.name; the environment cannot be read.",
    "$workflow": "Write workflow.name.",
    "$execution": "Write execution.id.",
    "$": "Names have no `$` here: `item`, `items`, node(...).",
    "&": "Write `and`.",
    "!": "Write `not`.",
    "?": "Write `a if b else c`, and `| default(...)` for what may be missing.",
    "`": 'Write texts in quotes, joined by `~`: "Hello " ~ item.name.',
    "'": "The text is never closed: a quote is missing.",
    '"': "The text is never closed: a quote is missing.",
}


class Lexeme(NamedTuple):
    """A word of an expression; `start` and `end` are offsets in the whole text."""

    start: int
    end: int
    type: str
    value: Any


class Braces(NamedTuple):
    """One `{{ ... }}` of a text, from `start` to `end`, with the `-` marks that trim the text beside it."""

    start: int
    end: int
    lexemes: list[Lexeme]
    trim_before: bool
    trim_after: bool


def scan(text: str, start: int) -> Braces:
    """The braces that open at `start`, cut into lexemes.

    Raises:
        Refused: never closed, too long, too deep, or something that is no word of the language.
    """
    lexemes: list[Lexeme] = []
    awaited: list[str] = []
    position = start + 2
    trim_before = text.startswith("-", position)
    # Jinja2 reads a sign right after the braces as a mark: `{{-1}}` is 1.
    position += text.startswith(("-", "+"), position)
    while True:
        if not awaited and text.startswith(("}}", "-}}"), position):
            dash = text.startswith("-", position)
            return Braces(start, position + 2 + dash, lexemes, trim_before, dash)
        found = _LEXEME.match(text, position)
        if found is None:
            raise _unreadable(text, start, position)
        kind, word, position = str(found.lastgroup), found.group(), found.end()
        if position - start > LENGTH_LIMIT:
            raise Refused(f"the expression is longer than {LENGTH_LIMIT:,} characters", start)
        if kind == "operator":
            _balance(word, awaited, found.start())
        if kind != "space":
            lexemes.append(_lexeme(kind, word, found.start()))


def _unreadable(text: str, start: int, position: int) -> Refused:
    if position >= len(text):
        return Refused("`{{` is never closed", start, 'For the braces themselves write {{ "{{" }}.')
    found = re.compile(r"\$\w*").match(text, position)
    word = found.group() if found else text[position]
    hint = _FOREIGN.get(word) or _FOREIGN.get(word[0])
    return Refused(
        f"{word[:40]!r} has no meaning here" if word not in "'\"" else "a text is never closed", position, hint
    )


def _balance(word: str, awaited: list[str], offset: int) -> None:
    if word in _CLOSING:
        awaited.append(_CLOSING[word])
        if len(awaited) > DEPTH_LIMIT:
            raise Refused(f"brackets are nested more than {DEPTH_LIMIT} deep", offset)
    elif word in (")", "]", "}"):
        if not awaited:
            raise Refused(f"this {word!r} closes nothing", offset)
        if awaited[-1] != word:
            raise Refused(f"{awaited[-1]!r} is missing before this {word!r}", offset)
        awaited.pop()


def _lexeme(kind: str, word: str, start: int) -> Lexeme:
    value: Any = word
    if kind == "operator":
        kind = operators[word]
    elif kind == "string":
        value = _unescaped(word[1:-1], start)
    elif kind in ("integer", "float"):
        value = _number(kind, word.replace("_", ""), start)
    elif not word.isidentifier():
        raise Refused(f"{word[:40]!r} is no name", start)
    return Lexeme(start, start + len(word), kind, value)


def _number(kind: str, word: str, start: int) -> int | float:
    try:
        value = int(word, 0) if kind == "integer" else float(word)
    except ValueError:
        # Python refuses decimals of more than 4,300 digits.
        value = math.inf
    if not -1e308 < value < 1e308:
        raise Refused("this number is too large", start)
    return value


def _unescaped(raw: str, start: int) -> str:
    r"""The text meant by a literal. Only \\ \' \" \n \r \t \x \u \U are escapes: "\d" and "\1" stay, for patterns."""
    if "\\" not in raw:
        return raw

    def character(found: re.Match[str]) -> str:
        code = found.group(1)
        return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)

    try:
        # Two \u of a pair, as JSON writes them, are one character; half a pair is none.
        return _ESCAPE.sub(character, raw).encode("utf-16", "surrogatepass").decode("utf-16")
    except (ValueError, OverflowError):
        raise Refused("an escape in this text is no character", start) from None


def read(lexemes: Sequence[Lexeme], start: int) -> nodes.Expr:
    """The syntax tree. Its `lineno` are offsets in the whole text.

    Raises:
        Refused: the words do not make an expression.
    """
    if not lexemes:
        raise Refused("there is nothing between {{ and }}", start)
    parser = Parser(_ENVIRONMENT, "", state="variable")
    try:
        parser.stream = TokenStream((Token(w.start, w.type, w.value) for w in lexemes), None, None)
        tree = parser.parse_tuple()
        if not parser.stream.eos:
            word = parser.stream.current
            raise Refused(f"{str(word.value)[:40]!r} is not expected here", word.lineno, _leftover_hint(lexemes, word))
    except TemplateSyntaxError as exc:
        message = (exc.message or "").replace("end of template", "end of the expression").rstrip(".")
        raise Refused(message[:1].lower() + message[1:200], exc.lineno) from None
    except RecursionError:
        raise Refused("the expression is nested too deeply", start) from None
    return tree


def _leftover_hint(lexemes: Sequence[Lexeme], word: Token) -> str | None:
    if word.type == "assign":
        return "To compare write `==`; values cannot be assigned here."
    if word.type in ("name", "string", "integer", "float") and word.lineno > lexemes[0].start:
        return "An operator is missing before it; `~` joins values as text."
    return None


def place(text: str, offset: int) -> str:
    """Where `offset` is, for people: `column 5`, or `line 2, column 5`; both count from 1."""
    line_start = text.rfind("\n", 0, offset) + 1
    column = f"column {offset - line_start + 1}"
    return column if "\n" not in text else f"line {text.count(chr(10), 0, offset) + 1}, {column}"
