"""Where an installation is: its data folder and the address it listens on, looked at before anything starts."""

import os
from ipaddress import ip_address

from engine.errors import DefinitionError
from engine.runtime.settings import Settings, load_settings


def settings_with(host: str | None, port: int | None) -> Settings:
    """The settings of the environment, with what the command line says instead."""
    given = {"FLOWLEAF_HOST": host, "FLOWLEAF_PORT": str(port) if port is not None else None}
    return load_settings({**os.environ, **{name: value for name, value in given.items() if value is not None}})


def require_password(settings: Settings) -> None:
    """Raises DefinitionError where others could reach the studio and no password stands in their way."""
    if not is_loopback(settings.host) and not settings.password:
        raise DefinitionError(
            f"others on the network can reach {settings.host}, and no password is set",
            hint="Set FLOWLEAF_PASSWORD, or listen on 127.0.0.1.",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_home(settings: Settings) -> None:
    """Make the data folder, for this user only. Raises DefinitionError where that cannot be."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise DefinitionError(
            f"the data folder {settings.home} cannot be made: {exc.strerror}",
            hint="Set FLOWLEAF_HOME to a folder that this user may write.",
        ) from exc
