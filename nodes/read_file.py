"""Reads files."""

from typing import Any, Literal

from engine.api import Context, Item, Items, NodeError, Params, field, node
from engine.convert import items_from_csv, items_from_json, items_from_ndjson

BY_ENDING = {"csv": "csv", "tsv": "csv", "json": "json", "ndjson": "ndjson", "jsonl": "ndjson"}


class ReadFileParams(Params):
    path: str = field(help="File below an allowed folder, or a shipped sample.", widget="file", min_length=1)
    format: Literal["auto", "csv", "json", "ndjson"] = field("auto", help="auto goes by the file's ending.")
    delimiter: Literal["auto", ",", ";", "\t", "|"] = field("auto", help="CSV: what stands between cells.")
    types: bool = field(True, help="CSV: make numbers of columns that hold only numbers.")
    encoding: str = field("utf-8", help="CSV: such as utf-8, cp1252, utf-16.")


@node(
    "core.read_file",
    group="files",
    effects="read",
    keywords=("csv", "json", "ndjson", "open", "load", "import", "data"),
)
def read_file(ctx: Context, item: Item, params: ReadFileParams) -> Items:
    """Read a CSV, JSON or NDJSON file; each row or object becomes an item.

    Example:
      params: {path: examples/cities.csv}
      main: [{}]
      gives: [{city: Bergen, inhabitants: 291940}, {city: Cork, inhabitants: 224004}]
    """
    kind = params.format
    if kind == "auto":
        ending = params.path.rpartition(".")[2].lower()
        if ending not in BY_ENDING:
            raise NodeError(
                f"{params.path}: its ending does not say what it holds",
                hint="Set format to csv, json or ndjson.",
                retryable=False,
            )
        kind = BY_ENDING[ending]  # type: ignore[assignment]
    with ctx.open_file(params.path) as file:
        data = file.read()
    try:
        return _items(kind, data, params)
    except NodeError as exc:
        exc.args = (f"{params.path}: {exc.message.removeprefix('the file: ')}",)
        exc.message = exc.args[0]
        raise


def _items(kind: str, data: bytes, params: ReadFileParams) -> Items:
    if kind == "json":
        return items_from_json(data)
    if kind == "ndjson":
        return items_from_ndjson(data)
    delimiter: Any = None if params.delimiter == "auto" else params.delimiter
    return items_from_csv(data, delimiter=delimiter, types=params.types, encoding=params.encoding)
