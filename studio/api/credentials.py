"""Credentials: written, never read back."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from engine.runtime.service import CredentialView, Page
from studio.api.requests import Cursor, Door, Limit, StrictRoute, Who

router = APIRouter(prefix="/credentials", tags=["credentials"], route_class=StrictRoute)
Force = Annotated[bool, Query(description="Though a published workflow asks for it.")]


class NewCredential(BaseModel):
    """A credential with its secret.

    header: name, value. bearer: token. basic: user, password. hmac: secret, and a preset or the form of the signature.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=200)
    kind: str = Field(max_length=50, examples=["bearer"])
    fields: dict[str, Any] = Field(json_schema_extra={"writeOnly": True})


class CredentialChange(BaseModel):
    """What becomes different; fields that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str | None = Field(None, min_length=1, max_length=200)
    fields: dict[str, Any] | None = Field(None, json_schema_extra={"writeOnly": True})


@router.get("")
def list_credentials(actor: Who, service: Door, cursor: Cursor = None, limit: Limit = 50) -> Page[CredentialView]:
    """The credentials, the oldest first, without their secrets."""
    return service.credentials.list(actor, cursor=cursor, limit=limit)


@router.post("", status_code=201)
def create_credential(given: NewCredential, actor: Who, service: Door) -> CredentialView:
    """Keep a secret under a name."""
    return service.credentials.create(actor, given.name, given.kind, given.fields)


@router.get("/{credential_id}")
def get_credential(credential_id: str, actor: Who, service: Door) -> CredentialView:
    """A credential, without its secret."""
    return service.credentials.get(actor, credential_id)


@router.patch("/{credential_id}")
def change_credential(
    credential_id: str, given: CredentialChange, actor: Who, service: Door, force: Force = False
) -> CredentialView:
    """Change a credential's name or fields."""
    return service.credentials.update(actor, credential_id, name=given.name, fields=given.fields, force=force)


@router.delete("/{credential_id}", status_code=204, response_model=None)
def delete_credential(credential_id: str, actor: Who, service: Door, force: Force = False) -> None:
    """Forget a secret."""
    service.credentials.delete(actor, credential_id, force=force)
