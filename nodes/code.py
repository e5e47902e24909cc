"""Runs the author's own Python."""

from typing import Any, Literal

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


@node(
    "core.code",
    group="code",
    effects="pure",
    keywords=("python", "script", "function", "pandas", "transform", "custom", "javascript"),
)
async def code(ctx: Context, items: Items, params: CodeParams) -> Items:
    """Change items with Python, walled in: no files, no network, a share of time and memory.

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
    return await ctx.run_code(
        params.source, items, shape="items", inputs={name: names[name].once(f"inputs.{name}") for name in names}
    )
