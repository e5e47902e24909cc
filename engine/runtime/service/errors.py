"""What callers of the service are refused for. Others come from below: see `engine/errors.py`.

NotFound                  no such row in the actor's project
Taken                     a name that another row has
  PathTaken                 a webhook's path that another published webhook has
InUse                     it cannot go while something needs it
EditConflict              what an edit changes was changed meanwhile
BadRequest                a cursor, a name or another argument that cannot be used
"""

from engine.errors import StudioError, did_you_mean


class NotFound(StudioError):
    """There is no such row in the actor's project."""

    code = "not_found"

    def __init__(self, noun: str, id_: str) -> None:
        super().__init__(f"there is no {noun} {id_[:100]!r}", hint="It may have been deleted.")


class Taken(StudioError):
    """Another row has this name."""

    code = "taken"


class PathTaken(Taken):
    """Another published webhook has this path; the message names its workflow."""

    code = "webhook.path_taken"


class InUse(StudioError):
    """It cannot go while something needs it; the message names what."""

    code = "in_use"


class EditConflict(StudioError):
    """What an edit changes was changed meanwhile; the message names who did.

    Args:
        actor: who changed it.
        seq: number of the edit that did.
        touches: the paths that both change.
    """

    code = "edit.conflict"

    def __init__(self, actor: str, seq: int, touches: list[str]) -> None:
        super().__init__(
            f"{actor} changed this meanwhile: {', '.join(touches[:5])}", hint="Look at the change, then edit again."
        )
        self.actor = actor
        self.seq = seq


class BadRequest(StudioError):
    """An argument that cannot be used as it is."""

    code = "request"


def one_of(value: str, known: tuple[str, ...], what: str) -> str:
    """The value. Raises BadRequest where it is none of the known ones."""
    if value not in known:
        raise BadRequest(f"{value[:100]!r} is no {what}", hint=did_you_mean(value[:100], known))
    return value
