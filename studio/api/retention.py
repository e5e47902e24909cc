"""Retention: how long what runs leave behind is kept."""

from typing import Any

from fastapi import APIRouter, Body

from engine.runtime.service import Rules
from studio.api.requests import Door, StrictRoute, Who

router = APIRouter(prefix="/retention", tags=["retention"], route_class=StrictRoute)


@router.get("")
def get_retention(actor: Who, service: Door) -> Rules:
    """The rules as they are now."""
    return service.retention.get(actor)


@router.patch("")
def change_retention(actor: Who, service: Door, changes: dict[str, Any] = Body()) -> Rules:  # noqa: B008
    """Change some of the rules; they hold from the scheduler's next turn on."""
    return service.retention.change(actor, changes)
