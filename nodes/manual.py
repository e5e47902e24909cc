"""Starts by hand."""

from engine.api import Context, Items, Params, Request, node


class ManualParams(Params):
    pass


@node("core.manual", group="trigger", effects="pure", keywords=("start", "run", "click", "test"))
def manual(ctx: Context, request: Request, params: ManualParams) -> Items:
    """Start when someone runs the workflow, with the items given or with one empty item.

    Example:
      params: {}
      request: [{name: Ada}]
      gives: [{name: Ada}]
    """
    return Items.of([{}] if request.items is None else request.items)
