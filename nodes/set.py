"""Sets fields."""

from typing import Any

from pydantic import ValidationInfo, field_validator

from engine.api import Context, Items, Params, PerItem, field, node


class SetParams(Params):
    fields: dict[str, PerItem[Any]] = field({}, help="Fields to set: name and value, such as {{ item.price * 1.2 }}.")
    remove: list[str] = field([], help="Fields to remove; one that is not there is passed over.")
    keep_others: bool = field(True, help="Whether the other fields stay.")

    @field_validator("fields")
    @classmethod
    def _names(cls, fields: dict[str, PerItem[Any]]) -> dict[str, PerItem[Any]]:
        for name in fields:
            if "{{" in name:
                raise ValueError(f"the name of a field cannot be an expression: {name}")
        return fields

    @field_validator("remove")
    @classmethod
    def _not_set(cls, remove: list[str], info: ValidationInfo) -> list[str]:
        for name in remove:
            if name in info.data.get("fields", ()):
                raise ValueError(f"{name!r} is set and removed: leave one out")
        return remove


@node("core.set", group="transform", effects="pure", keywords=("edit", "fields", "add", "rename", "map", "assign"))
def set_fields(ctx: Context, items: Items, params: SetParams) -> Items:
    """Add, change and remove fields of each item.

    Every value is made from the item as it came in. To rename a field, set the new one and remove the old one.

    Example:
      params: {fields: {gross: "{{ item.net * 1.2 }}", currency: EUR}, remove: [net]}
      main: [{net: 10}]
      gives: [{gross: 12.0, currency: EUR}]
    """
    names = list(params.fields)
    columns = [column.values(len(items)) for column in params.fields.values()]
    new = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] if names else []
    if not params.keep_others:
        return items.with_rows(new or [{} for _ in range(len(items))])
    rows = [{**row, **fields} for row, fields in zip(items.rows, new, strict=True)] if new else items.rows
    if params.remove:
        gone = set(params.remove)
        rows = [{name: value for name, value in row.items() if name not in gone} for row in rows]
    return items.with_rows(rows)
