"""The data of a text that people write: JSON, or YAML held to the types of JSON."""

import json
import re
from math import isfinite
from typing import Any


def parse(text: str) -> Any:
    """The data of a JSON or YAML text; what does not start like JSON is read as YAML.

    Raises:
        ValueError: `place: message`, the place being `line 3, column 14` or `the file`.
    """
    text = text.removeprefix("\ufeff")
    return _json(text) if text.lstrip()[:1] in ("{", "[") else _yaml(text)


def _json(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_number, parse_int=_whole_number
        )
    except json.JSONDecodeError as exc:
        raise ValueError(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except RecursionError:
        raise ValueError("the file: it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the file: the key {twice!r} stands twice in one object")
    return made


def _no_number(name: str) -> None:
    raise ValueError(f"the file: {name} is no JSON number")


def _number(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"the file: the number {digits[:30]} is too large")
    return number


def _whole_number(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python reads 4,300 digits
        raise ValueError(f"the file: the number {digits[:30]}... is too large") from None


# What a plain word of YAML is, where it is not text. Only what JSON has (YAML 1.2, 10.2): in YAML 1.1, which PyYAML
# reads otherwise, NO is false, 12:30 is 750, 010 is 8, and a date is a date.
WORDS = {
    "null": r"null|~|",
    "bool": r"true|false",
    "int": r"-?(0|[1-9][0-9]*)",
    "float": r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?",
}


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415  20 ms, and most files are JSON

    class Loader(yaml.SafeLoader):
        """YAML's JSON types only. No aliases, which blow up when written out, and no tags."""

        yaml_implicit_resolvers = {
            None: [(f"tag:yaml.org,2002:{name}", re.compile(f"^({word})$")) for name, word in WORDS.items()]
        }

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if self.check_event(yaml.AliasEvent):
                raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=event.start_mark)
            if getattr(event, "tag", None):
                raise yaml.MarkedYAMLError(problem="tags (!name) are not allowed", problem_mark=event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """The object; its keys are text as they are written."""
            made: dict[Any, Any] = {}
            for key, value in node.value:
                name = str(self.construct_scalar(key))
                if name in made:
                    problem = f"the key {name!r} stands twice in one object"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                made[name] = self.construct_object(value, deep=deep)
            return made

    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _number(node.value))
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _whole_number(node.value))
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506  derived from SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        raise ValueError(f"{place}: {exc.problem}") from exc
    except yaml.YAMLError as exc:
        raise ValueError(f"the file: {str(exc).splitlines()[0]}") from exc
    except RecursionError:
        raise ValueError("the file: it is nested too deeply") from None
