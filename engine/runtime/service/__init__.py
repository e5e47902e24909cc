"""The one door of the engine in production: every call takes the actor first, and permission is asked in one place."""

from engine.runtime.parts import Parts
from engine.runtime.service.actor import LOCAL_PROJECT, OWNER, Actor, NotAllowed, require
from engine.runtime.service.credentials import Credentials, CredentialView
from engine.runtime.service.errors import BadRequest, EditConflict, InUse, NotFound, PathTaken, Taken
from engine.runtime.service.listing import Page
from engine.runtime.service.publishing import RevisionView
from engine.runtime.service.variables import Variables, VariableView
from engine.runtime.service.workflows import Workflows, WorkflowView

__all__ = [
    "LOCAL_PROJECT",
    "OWNER",
    "Actor",
    "BadRequest",
    "CredentialView",
    "Credentials",
    "EditConflict",
    "InUse",
    "NotAllowed",
    "NotFound",
    "Page",
    "PathTaken",
    "RevisionView",
    "Service",
    "Taken",
    "VariableView",
    "Variables",
    "WorkflowView",
    "Workflows",
    "require",
]


class Service:
    """What people and programs may do, by noun. Called from threads."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.workflows = Workflows(parts)
        self.variables = Variables(parts)
        self.credentials = Credentials(parts)
