"""Documentation of the words that are no plain functions: names, and filters that take other filters or tests.

Each has a form, a group and a text like a function's docstring.
"""

from typing import NamedTuple


class Word(NamedTuple):
    """A documented word; `kind` is "name" or "filter"."""

    kind: str
    name: str
    signature: str
    group: str
    text: str


WORDS = (
    Word(
        "name",
        "item",
        "item.field",
        "names",
        """The current item: its fields. `json` is the same.

        >>> item.address.city
        "London"
        >>> item["name"]
        "Ada Lovelace"
        >>> item.tags[0]
        "new"
        """,
    ),
    Word(
        "name",
        "items",
        "items",
        "names",
        """All rows of this node's input, as a list.

        >>> items | length
        3
        >>> items[-1].name
        "Grace Hopper"
        """,
    ),
    Word(
        "name",
        "node",
        'node("Label").item',
        "names",
        """Rows of an earlier node: `.item` is the one this item came from, `.items` are all, and `.first` and `.last`.

        >>> node("New order").item.name
        "Ada Lovelace"
        >>> node("New order").items | sum("qty")
        6
        """,
    ),
    Word(
        "name",
        "vars",
        "vars.name",
        "names",
        """A variable, set beside the workflow.

        >>> vars.rate
        1.19
        """,
    ),
    Word(
        "name",
        "now",
        "now",
        "names",
        """The time of this run as ISO 8601 text, in the workflow's timezone.

        >>> now
        "2026-03-15T12:00:00+00:00"
        """,
    ),
    Word(
        "name",
        "workflow",
        "workflow.name",
        "names",
        """The workflow's name.

        >>> workflow.name
        "Orders"
        """,
    ),
    Word(
        "name",
        "execution",
        "execution.id",
        "names",
        """The id of this execution.

        >>> execution.id
        "e1"
        """,
    ),
    Word(
        "filter",
        "map",
        'list | map("filter", ...)',
        "list",
        """Another filter for every element, or one field of each: `map(attribute="address.city", default=none)`.

        >>> item.tags | map("upper")
        ["NEW", "VIP"]
        >>> items | map(attribute="name")
        ["Ada Lovelace", "Alan Turing", "Grace Hopper"]
        >>> items | map(attribute="address.city", default="?")
        ["London", "?", "?"]
        """,
    ),
    Word(
        "filter",
        "select",
        'list | select("test", ...)',
        "list",
        """The elements that pass a test; without one, those that count as true.

        >>> [1, 2, 3, 4] | select("even")
        [2, 4]
        >>> ["a", "", none] | select
        ["a"]
        """,
    ),
    Word(
        "filter",
        "reject",
        'list | reject("test", ...)',
        "list",
        """The elements that do not pass a test; without one, those that count as false.

        >>> [1, 2, 3, 4] | reject("even")
        [1, 3]
        """,
    ),
    Word(
        "filter",
        "selectattr",
        'list | selectattr("field", "test", ...)',
        "list",
        """The elements whose field passes a test; without one, those whose field counts as true.

        >>> items | selectattr("city", "==", "London") | map(attribute="name")
        ["Ada Lovelace", "Alan Turing"]
        >>> items | selectattr("address", "defined") | length
        1
        """,
    ),
    Word(
        "filter",
        "rejectattr",
        'list | rejectattr("field", "test", ...)',
        "list",
        """The elements whose field does not pass a test; without one, those whose field counts as false.

        >>> items | rejectattr("tags") | map(attribute="name")
        ["Alan Turing"]
        """,
    ),
)
