"""The one door of the engine in production: every call takes the actor first, and permission is asked in one place."""

import threading
from collections.abc import Sequence

from engine.api import NodeType
from engine.runtime.bus import BusUnavailable
from engine.runtime.intake import Overloaded
from engine.runtime.parts import Parts
from engine.runtime.programs import Programs
from engine.runtime.retention import Rules
from engine.runtime.service.actions import Actions, EffectsAhead, NotPublished, RunResult, WrongStatus
from engine.runtime.service.actor import LOCAL_PROJECT, OWNER, Actor, NotAllowed, require
from engine.runtime.service.credentials import Credentials, CredentialView
from engine.runtime.service.drafts import BeingSent, Drafts, HeldBefore, Preview
from engine.runtime.service.edits import EditView
from engine.runtime.service.errors import BadRequest, EditConflict, InUse, NotFound, PathTaken, Taken
from engine.runtime.service.executions import Count, ExecutionDetail, Executions, ExecutionView
from engine.runtime.service.following import Following, Told
from engine.runtime.service.listing import Page
from engine.runtime.service.publishing import RevisionView
from engine.runtime.service.retention import RetentionRules
from engine.runtime.service.run_data import OriginView, OutputPage, RunData
from engine.runtime.service.storable import is_deeper
from engine.runtime.service.test_calls import TestIngress
from engine.runtime.service.variables import Variables, VariableView
from engine.runtime.service.workflows import ProblemView, WorkflowLine, Workflows, WorkflowView
from engine.runtime.store import StoreUnavailable

__all__ = [
    "LOCAL_PROJECT",
    "OWNER",
    "Actions",
    "Actor",
    "BadRequest",
    "BeingSent",
    "BusUnavailable",
    "Count",
    "CredentialView",
    "Credentials",
    "Drafts",
    "EditConflict",
    "EditView",
    "EffectsAhead",
    "ExecutionDetail",
    "ExecutionView",
    "Executions",
    "Following",
    "HeldBefore",
    "InUse",
    "NotAllowed",
    "NotFound",
    "NotPublished",
    "OriginView",
    "OutputPage",
    "Overloaded",
    "Page",
    "PathTaken",
    "Preview",
    "ProblemView",
    "RetentionRules",
    "RevisionView",
    "Rules",
    "RunData",
    "RunResult",
    "Service",
    "StoreUnavailable",
    "Taken",
    "Told",
    "VariableView",
    "Variables",
    "WorkflowLine",
    "WorkflowView",
    "Workflows",
    "WrongStatus",
    "is_deeper",
    "require",
]


class Service:
    """What people and programs may do, by noun. Called from threads."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.workflows = Workflows(parts)
        self.variables = Variables(parts)
        self.credentials = Credentials(parts)
        self.executions = Executions(parts)
        self.actions = Actions(parts, Programs(parts.store, parts.registry), self.executions)
        self.drafts = Drafts(parts, self.workflows)
        self.run_data = RunData(parts)
        self.following = Following(parts, self.executions)
        self.retention = RetentionRules(parts)
        self._catalogue = threading.Lock()

    def test_ingress(self) -> TestIngress:
        """What answers calls to test addresses. On the event loop it is to run on."""
        return TestIngress(self.parts, self.drafts, self.following)

    def node_types(self, actor: Actor) -> Sequence[NodeType]:
        """The installed node types, by name. The first call imports them all."""
        require(actor)
        with self._catalogue:
            return self.parts.registry.discover()
