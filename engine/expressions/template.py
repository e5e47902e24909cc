"""A param's text as its parts: what stands between `{{` and `}}`, and the text around."""

import re
from collections.abc import Iterator, Mapping

from engine.expressions.failures import Refused
from engine.expressions.syntax import LENGTH_LIMIT, Braces, Lexeme, scan

_OPENING = re.compile(r"\{[{%]")


def has_braces(text: str) -> bool:
    """Whether the text is more than plain text."""
    return "{{" in text or "{%" in text


def split(text: str) -> list[str | Braces]:
    """Plain texts and braces in turn. Empty texts are left out; `{{-` and `-}}` have trimmed the text beside them.

    `{#` starts no comment, so that text outside braces always stays as it is.

    Raises:
        Refused: a statement (`{%`), or braces that cannot be read.
    """
    parts: list[str | Braces] = []
    position = inside = 0
    trim = False
    for braces in _braces(text):
        plain = text[position : braces.start]
        plain = plain.lstrip() if trim else plain
        plain = plain.rstrip() if braces.trim_before else plain
        parts += [plain, braces] if plain else [braces]
        position, trim = braces.end, braces.trim_after
        inside += braces.end - braces.start
        if inside > LENGTH_LIMIT:
            raise Refused(f"the expressions of this text are longer than {LENGTH_LIMIT:,} characters", braces.start)
    rest = text[position:].lstrip() if trim else text[position:]
    return [*parts, rest] if rest else parts


def _braces(text: str) -> Iterator[Braces]:
    position = 0
    while found := _OPENING.search(text, position):
        if found.group() == "{%":
            hint = 'For the characters themselves write {{ "{%" }}.'
            message = "statements are not allowed in a param; use an expression or a Code node"
            raise Refused(message, found.start(), hint)
        braces = scan(text, found.start())
        yield braces
        position = braces.end


def rename_labels(text: str, labels: Mapping[str, str]) -> str:
    """The text with the labels in `node("...")` replaced; every other character stays.

    A text that cannot be read is given back as it is.

    Args:
        labels: old label -> new label.
    """
    if "{{" not in text or "node" not in text:
        return text
    pieces: list[str] = []
    position = 0
    try:
        for braces in _braces(text):
            for start, end, label in _labels(braces.lexemes):
                if label in labels:
                    pieces += [text[position:start], _quoted(labels[label], text[start])]
                    position = end
    except Refused:
        return text
    return "".join([*pieces, text[position:]])


def _labels(lexemes: list[Lexeme]) -> Iterator[tuple[int, int, str]]:
    """Start, end and value of every literal that is the first argument of `node`."""
    before = ""
    for index, word in enumerate(lexemes):
        if word.value == "node" and word.type == "name" and before not in ("dot", "pipe"):
            opening = lexemes[index + 1 : index + 2]
            literals: list[Lexeme] = []
            # Literals side by side are one text.
            for argument in lexemes[index + 2 :] if opening and opening[0].type == "lparen" else ():
                if argument.type != "string":
                    break
                literals.append(argument)
            if literals:
                yield literals[0].start, literals[-1].end, "".join(word.value for word in literals)
        before = word.type


def _quoted(label: str, quote: str) -> str:
    escaped = label.replace("\\", "\\\\").replace(quote, "\\" + quote)
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return quote + escaped + quote
