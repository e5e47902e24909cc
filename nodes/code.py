"""Runs the author's own Python."""

from typing import Any, Literal

from pydantic import ValidationInfo, field_validator

from engine.api import Context, Items, Params, PerItem, field, node

STARTER = """\
# `items` is a list of dicts. Change them, or return a new list.
for item in items:
    item["checked"] = True
"""


class CodeParams(Params):
    language: Literal["python"] = field("python", help="The language of the code.", expressions=False)
    shape: Literal["items", "item"] = field(
        "items", help="Run once with all `items`, or once for each `item`.", expressions=False
    )
    source: str = field(
        STARTER, help="Return a list of dicts, one dict, or a DataFrame.", widget="code", expressions=False
    )
    inputs: dict[str, PerItem[Any]] = field({}, help="Values the code sees as `params`, such as {{ vars.rate }}.")

    @field_validator("inputs")
    @classmethod
    def _per_item(cls, inputs: dict[str, PerItem[Any]], info: ValidationInfo) -> dict[str, PerItem[Any]]:
        for name, value in inputs.items():
            if info.data.get("shape") == "items" and not value.constant:
                raise ValueError(
                    f"{name} differs from item to item, and the code runs once for all of them: "
                    "read the field in the code, or choose the shape item"
                )
        return inputs


@node(
    "core.code",
    group="code",
    effects="pure",
    keywords=("python", "script", "function", "pandas", "transform", "custom", "javascript"),
)
async def code(ctx: Context, items: Items, params: CodeParams) -> Items:
    """Change items with Python, walled in: no files, no network, a share of time and memory.

    With the shape `items`, the code sees a list of dicts: change them, or return a list of dicts, one dict, or a
    DataFrame; `df` is the items as a DataFrame. With the shape `item`, it runs for each item and sees `item`. What it
    prints goes to the node's log. It may take 30 s (or the node's `timeout_s`) and 512 MB.

    Items that are returned as they are or changed, and rows of `df`, keep their lineage; new dicts lose it.

    Example:
      params:
        source: |
          return [{"name": item["name"].upper()} for item in items if item["age"] >= 18]
      main: [{name: Ada, age: 36}, {name: Ben, age: 12}]
      gives: [{name: ADA}]
    """
    names = params.inputs
    if params.shape == "item":
        values = [{name: names[name][i] for name in names} for i in range(len(items))]
        return await ctx.run_code(params.source, items, shape="item", inputs=values)
    return await ctx.run_code(params.source, items, shape="items", inputs={n: names[n].once(n) for n in names})
