"""The catalogue of node types."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from studio.api.requests import Door, StrictRoute, Who
from studio.catalogue import catalogue

router = APIRouter(prefix="/nodes", tags=["nodes"], route_class=StrictRoute)


class NodeTypeLine(BaseModel):
    """A node type. `params` is the JSON Schema of its params."""

    type: str
    version: int
    label: str
    group: str
    effects: str
    inputs: list[str]
    outputs: list[str]
    summary: str
    keywords: list[str]
    params: dict[str, Any]


class Catalogue(BaseModel):
    """All that are installed: there is no next part."""

    items: list[NodeTypeLine]
    next: str | None = None


@router.get("", response_model=Catalogue)
def list_node_types(actor: Who, service: Door) -> Any:
    """The installed node types, by name."""
    return {"items": catalogue(service.node_types(actor))}
