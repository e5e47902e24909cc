"""Asks a service about many people at once. Its function has a parameter called `items`: it gets them all."""

from engine.api import Context, Items, Params, PerItem, UpstreamError, field, node


class LookUpParams(Params):
    url: str = field(help="The service: it is sent the names, and answers with an object of name and nickname.")
    name: PerItem[str] = field(help="Who is looked up, such as {{ item.name }}; may differ from item to item.")


# Asked by POST, since there may be many names: still, it changes nothing there.
@node("greetings.look_up", group="input", effects="read", keywords=("nickname", "service", "enrich"))
async def run(ctx: Context, items: Items, params: LookUpParams) -> Items:
    """Add the nickname that a service knows for each name; one call for all items."""
    names = params.name.values(len(items))
    answer = await ctx.http.request("POST", params.url, json=sorted(set(names)))
    if answer.is_error:
        raise UpstreamError(f"{answer.url.host} answered {answer.status_code}", status=answer.status_code)
    nicknames = answer.json()
    ctx.log(f"{answer.url.host} knows {len(nicknames)} of {len(set(names))} names")
    # A list of as many items in the same order: each keeps its files, and what it came from.
    return items.with_rows(
        [{**row, "nickname": nicknames.get(name)} for row, name in zip(items.rows, names, strict=True)]
    )
