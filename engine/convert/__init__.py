"""Items from and to JSON, NDJSON, CSV and DataFrames. Nothing is changed on the way but what each function says."""

from engine.convert.csv_text import items_from_csv, items_to_csv
from engine.convert.frames import items_from_frame
from engine.convert.json_text import (
    STRICT,
    as_rows,
    dumps,
    items_from_json,
    items_from_ndjson,
    items_to_ndjson,
    loads,
    plain,
    type_name,
)

__all__ = [
    "STRICT",
    "as_rows",
    "dumps",
    "items_from_csv",
    "items_from_frame",
    "items_from_json",
    "items_from_ndjson",
    "items_to_csv",
    "items_to_ndjson",
    "loads",
    "plain",
    "type_name",
]
