"""Reads files."""

import asyncio
from pathlib import PurePath
from typing import Literal

from engine.api import Context, Item, Items, NodeError, Params, field, node
from engine.convert import items_from_csv, items_from_json, items_from_ndjson

BY_ENDING = {"csv": "csv", "tsv": "csv", "json": "json", "ndjson": "ndjson", "jsonl": "ndjson"}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ReadFileParams(Params):
    path: str = field(help="File below an allowed folder, or a shipped sample.", widget="file", min_length=1)
    format: Literal["auto", "csv", "json", "ndjson"] = field("auto", help="auto goes by the file's ending.")
    delimiter: Literal["auto", ",", ";", "\t", "|"] = field("auto", help="CSV: what stands between cells.")
    types: bool = field(True, help="CSV: make numbers of columns that hold only numbers.")
    encoding: str = field("utf-8", help="CSV: such as utf-8, cp1252, utf-16. JSON is always UTF-8.")


@node(
    "core.read_file",
    group="files",
    effects="read",
    keywords=("csv", "json", "ndjson", "open", "load", "import", "data"),
)
async def read_file(ctx: Context, item: Item, params: ReadFileParams) -> Items:
    """Read a CSV, JSON or NDJSON file; each row or object becomes an item.

    FLOWLEAF_FILES names the folders that files are read from.

    Example:
      params: {path: examples/cities.csv}
      main: [{}]
      gives: [{city: Bergen, inhabitants: 291940}, {city: Cork, inhabitants: 224004}]
    """
    # In a thread: a large file takes its time, and the other branches go on.
    return await asyncio.to_thread(_read, ctx, params)


def _read(ctx: Context, params: ReadFileParams) -> Items:
    form = params.format if params.format != "auto" else BY_ENDING.get(PurePath(params.path).suffix[1:].lower())
    if form is None:
        raise NodeError(
            f"{params.path}: its ending does not say what it holds",
            hint="Set format to csv, json or ndjson.",
            retryable=False,
        )
    with ctx.open_file(params.path) as file:
        data = file.read()
    if form == "csv":
        delimiter = None if params.delimiter == "auto" else params.delimiter
        return items_from_csv(data, delimiter=delimiter, types=params.types, encoding=params.encoding, what=params.path)
    try:
        data = data.removeprefix(BYTE_ORDER_MARK)
        return items_from_json(data) if form == "json" else items_from_ndjson(data)
    except NodeError as exc:
        raise NodeError(f"{params.path}: {exc.message}", hint=exc.hint, retryable=False) from exc
