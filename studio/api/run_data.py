"""Run data: outputs, page by page, sorted, filtered, searched; what their fields are like; where an item came from."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from engine.convert import loads
from engine.runtime.service import BadRequest, OriginView, OutputPage
from studio.api.requests import Door, StrictRoute, Who

router = APIRouter(prefix="/run-data", tags=["run data"], route_class=StrictRoute)

ORDERS = ("ascending", "descending")
NodeId = Annotated[str | None, Query(description="With an execution's id: the node.", max_length=200)]
Output = Annotated[str, Query(max_length=200)]
MOST = 20


class Origins(BaseModel):
    """The items that an item came from, by node; the nearest nodes first. There is no next part."""

    items: tuple[OriginView, ...]
    next: str | None = None


@router.get("/{of}")
def get_page(
    of: str,
    actor: Who,
    service: Door,
    node_id: NodeId = None,
    output: Output = "main",
    start: Annotated[int, Query(ge=0, le=2**53)] = 0,
    count: Annotated[int, Query(ge=0, le=1_000)] = 50,
    sort: Annotated[list[str], Query(description="Fields: `total`, `total:descending`.", max_length=MOST)] = [],  # noqa: B006
    filters: Annotated[
        str | None, Query(description='JSON: `[["total", "greater_than", 100]]`.', max_length=10_000)
    ] = None,
    search: Annotated[str | None, Query(description="Text in any field.", max_length=1_000)] = None,
    whole: Annotated[bool, Query(description="Long values are not cut.")] = False,
) -> OutputPage:
    """Rows of an output: of an execution's node run, or kept under a preview key."""
    return service.run_data.page(
        actor,
        of,
        node_id,
        output,
        start=start,
        count=count,
        sort=[_sort_key(one) for one in sort],
        filters=_filters(filters),
        search=search,
        whole=whole,
    )


@router.get("/{of}/profile")
def get_profile(of: str, actor: Who, service: Door, node_id: NodeId = None, output: Output = "main") -> dict[str, Any]:
    """What the values of each field are like."""
    return service.run_data.profile(actor, of, node_id, output)


@router.get("/{of}/lineage")
def get_lineage(
    of: str,
    actor: Who,
    service: Door,
    node_id: Annotated[str, Query(max_length=200)],
    output: Output = "main",
    index: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Origins:
    """The items of earlier nodes that an item came from."""
    return Origins(items=service.run_data.lineage(actor, of, node_id, output, index))


def _sort_key(text: str) -> Any:
    field, _, order = text.rpartition(":")
    return (field, order) if order in ORDERS else (text, "ascending")


def _filters(text: str | None) -> list[Any]:
    """The filters that JSON names. Raises BadRequest."""
    if text is None:
        return []
    try:
        found = loads(text.encode())
    except ValueError as exc:
        raise BadRequest(f"the filters are no JSON: {exc}") from exc
    is_list = isinstance(found, list) and len(found) <= MOST
    if not is_list or not all(
        isinstance(one, list) and 2 <= len(one) <= 3 and all(isinstance(part, str) for part in one[:2]) for one in found
    ):
        raise BadRequest("filters are a list of up to 20 like this: [field, test, value]")
    return found
