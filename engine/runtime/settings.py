"""The environment's FLOWLEAF_* variables as one frozen object."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.errors import DefinitionError, did_you_mean

PREFIX = "FLOWLEAF_"


class Settings(BaseModel):
    """How this installation runs. Every field is the environment variable FLOWLEAF_ and its name in capitals."""

    # Inputs may be secrets: a mistyped FLOWLEAF_PASSWORD is an unknown variable with the password as its value.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    home: Path = Field(Path(".flowleaf"), description="Folder of all data.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65_535, description="Port to listen on.")
    url: str | None = Field(None, description="Public address, where it differs from host and port.")
    database_url: str | None = Field(None, repr=False, description="PostgreSQL; without it SQLite below home.")
    redis_url: str | None = Field(None, repr=False, description="Redis; without it an embedded one.")
    files: tuple[Path, ...] = Field((), description="Folders that file nodes may touch, ':' between; home/files.")
    http_allow: tuple[str, ...] = Field(
        (), description="Private hosts or networks that HTTP nodes may call, ',' between."
    )
    password: str | None = Field(None, repr=False, description="Needed to sign in; needed to listen beyond loopback.")
    key: str | None = Field(None, repr=False, description="Opens stored credentials: base64 or hex; home/key.")
    sandbox: str | None = Field(None, description="How code nodes are walled in.")
    log: str = Field("info", description="Level of the log.")
    hook_limit_mb: int = Field(16, ge=1, description="Largest body of a webhook call.")

    @field_validator("files", mode="before")
    @classmethod
    def _folders(cls, value: object) -> object:
        return tuple(Path(part) for part in value.split(":") if part) if isinstance(value, str) else value

    @field_validator("http_allow", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def file_folders(self) -> tuple[Path, ...]:
        """Folders that file nodes may touch."""
        return self.files or (self.home / "files",)


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of an environment; `.env` files are not read.

    Raises:
        DefinitionError: a value cannot be used, or a FLOWLEAF_ variable is not known; names all of them.
    """
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return Settings.model_validate({name: value for name, value in given.items() if value != ""})
    except ValidationError as exc:
        problems, hints = [], []
        for error in exc.errors(include_url=False):
            name = PREFIX + str(error["loc"][0]).upper()
            if error["type"] == "extra_forbidden":
                problems.append(f"{name} is no setting")
                hints.append(did_you_mean(name, [PREFIX + field.upper() for field in Settings.model_fields]))
            else:
                is_secret = not Settings.model_fields[str(error["loc"][0])].repr
                problems.append(f"{name}: {error['msg'].lower()}" + ("" if is_secret else f", not {error['input']!r}"))
        raise DefinitionError("; ".join(problems), hint=" ".join(hints) or None) from exc
