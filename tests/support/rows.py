"""Rows for every table, and a workflow with a published revision, put in without the service."""

from typing import Any

from sqlalchemy import Connection, insert

from engine.runtime.data.packed import pack_json
from engine.runtime.ids import new_id, now_ms
from engine.runtime.models import metadata
from engine.runtime.service.actor import LOCAL_PROJECT


def add(connection: Connection, table: str, **values: Any) -> dict[str, Any]:
    """Insert a row; columns that are not given get something that fits."""
    row = {column.name: values.get(column.name, _some(column)) for column in metadata.tables[table].columns}
    unknown = set(values) - set(row)
    assert not unknown, unknown
    connection.execute(insert(metadata.tables[table]), row)
    return row


def _some(column: Any) -> Any:
    if column.name == "project_id":
        return LOCAL_PROJECT
    if column.nullable:
        return None
    if column.name == "id" or column.name.endswith("_id"):
        return new_id()
    if column.name.endswith("_ms"):
        return now_ms()
    kind = column.type.python_type
    if kind is bytes:
        return pack_json({"some": ["bytes", 1]})
    return (
        1 if kind is int else "{}" if column.name in ("params", "value", "edit", "inverse") else f"some {column.name}"
    )


def add_schedule(connection: Connection, **values: Any) -> dict[str, Any]:
    """A schedule of a published workflow."""
    workflow = add(connection, "workflow")
    revision = add(connection, "revision", workflow_id=workflow["id"], slot="async", priority=1, limited=0)
    return add(
        connection,
        "schedule",
        **{
            "workflow_id": workflow["id"],
            "revision_id": revision["id"],
            "node_id": "clock",
            "timezone": "UTC",
            "missed": "once",
            "anchor_ms": 0,
            **values,
        },
    )
