"""Who acts. Every call of the service takes an actor first, and permission is asked here."""

from dataclasses import dataclass

from engine.errors import StudioError

# There is one project and one person for now; every row names its project all the same.
LOCAL_PROJECT = "0" * 31 + "1"


class NotAllowed(StudioError):
    """The actor may not do this."""

    code = "actor.not_allowed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and in which project.

    Attributes:
        name: as it is shown beside edits and runs.
        client: the tab or program that it acts through; two tabs of one person are two clients.
    """

    name: str
    project_id: str = LOCAL_PROJECT
    client: str = ""


OWNER = Actor("owner")


def require(actor: object) -> Actor:
    """The actor. Raises NotAllowed where there is none."""
    if not isinstance(actor, Actor):
        raise NotAllowed("nobody is signed in", hint="Sign in first.")
    return actor
