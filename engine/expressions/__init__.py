"""`{{ ... }}` in params: Jinja2 syntax over plain JSON data, without Jinja2's engine.

A text is parsed once into closures and evaluated in one pass over all items. There is no way from an expression to
Python: it reads fields of data, and what `library` lists. Every result is bounded, and so is the work.
"""

from engine.expressions.expression import Expression, parse
from engine.expressions.reference import Entry, Example, documented, reference_page
from engine.expressions.scope import NodeView, Scope
from engine.expressions.template import rename_labels

__all__ = [
    "Entry",
    "Example",
    "Expression",
    "NodeView",
    "Scope",
    "documented",
    "parse",
    "reference_page",
    "rename_labels",
]
