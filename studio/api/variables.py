"""Variables: what expressions read as `vars.name`."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from engine.runtime.service import Page, VariableView
from studio.api.requests import Cursor, Door, Limit, StrictRoute, Who

router = APIRouter(prefix="/vars", tags=["vars"], route_class=StrictRoute)


class VariableValue(BaseModel):
    """The value of a variable: any JSON."""

    model_config = ConfigDict(extra="forbid")

    value: Any


@router.get("")
def list_variables(actor: Who, service: Door, cursor: Cursor = None, limit: Limit = 50) -> Page[VariableView]:
    """The variables, by name."""
    return service.variables.list(actor, cursor=cursor, limit=limit)


@router.put("/{name}")
def set_variable(name: str, given: VariableValue, actor: Who, service: Door) -> VariableView:
    """Give a variable a value; one that is not there yet is made."""
    return service.variables.set(actor, name, given.value)


@router.delete("/{name}", status_code=204, response_model=None)
def delete_variable(name: str, actor: Who, service: Door) -> None:
    """Remove a variable."""
    service.variables.delete(actor, name)
