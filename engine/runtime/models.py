"""The tables. Rows that are written thousands of times a second are narrow; what is large lies compressed beside them.

Ids: see `ids.py`. Times are milliseconds since 1970, UTC. Every row belongs to a project.
"""

from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, MetaData, SmallInteger, String, Text, text
from sqlmodel import Field, SQLModel

# Compared byte by byte: on PostgreSQL the language of the database would decide otherwise.
ID = String(32).with_variant(String(32, collation="C"), "postgresql")
MS = BigInteger

# `queued` rows are claimed in this order; a workflow's settings choose.
PRIORITIES = {"high": 0, "default": 1, "low": 2}
SLOTS = ("async", "code", "heavy", "draft")
UNUSUAL = ("failed", "needs_decision", "cancelled", "skipped", "waiting")

SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
metadata: MetaData = SQLModel.metadata


def _id(**more: Any) -> Any:
    return Field(sa_type=ID, **more)


def _ms(**more: Any) -> Any:
    return Field(sa_type=MS, **more)


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Project(SQLModel, table=True):
    """What everything belongs to."""

    id: str = _id(primary_key=True)
    name: str
    created_ms: int = _ms()


class WorkflowRow(SQLModel, table=True):
    """A workflow with its draft, as edited now.

    Attributes:
        draft: the workflow file, packed (`records.pack_json`).
        draft_seq: number of the last edit.
        revision_id: the published revision; None while nothing is.
        max_running, when_full: of the published revision's settings.
    """

    __tablename__ = "workflow"
    __table_args__ = (Index("ix_workflow_project", "project_id", "id"),)

    id: str = _id(primary_key=True)
    project_id: str = _id()
    name: str
    draft: bytes = Field(sa_type=LargeBinary)
    draft_seq: int = Field(default=0, sa_type=BigInteger)
    revision_id: str | None = _id(default=None, nullable=True)
    tags: str = Field(default="[]", sa_type=Text)
    max_running: int | None = None
    when_full: str = "queue"
    created_ms: int = _ms()
    updated_ms: int = _ms()
    deleted_ms: int | None = _ms(default=None, nullable=True)


class EditRow(SQLModel, table=True):
    """One change of a draft, appended.

    Attributes:
        edit, inverse: JSON of `engine.edits`.
        touches: JSON list of the paths it changed: what later edits conflict with.
    """

    __tablename__ = "edit"

    workflow_id: str = _id(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    project_id: str = _id()
    actor: str
    client: str = ""
    edit: str = Field(sa_type=Text)
    inverse: str = Field(sa_type=Text)
    touches: str = Field(sa_type=Text)
    at_ms: int = _ms()


class Revision(SQLModel, table=True):
    """A state of a workflow kept by publishing or naming it; never changed.

    Attributes:
        slot, priority, limited: what its executions' rows have.
    """

    __table_args__ = (Index("ix_revision_workflow", "workflow_id", "number", unique=True),)

    id: str = _id(primary_key=True)
    project_id: str = _id()
    workflow_id: str = _id()
    number: int
    name: str = ""
    note: str = Field(default="", sa_type=Text)
    slot: str = "async"
    priority: int = Field(default=1, sa_type=SmallInteger)
    limited: int = Field(default=0, sa_type=SmallInteger)
    workflow: bytes = Field(sa_type=LargeBinary)
    created_by: str
    created_ms: int = _ms()
    published_ms: int | None = _ms(default=None, nullable=True)


class Webhook(SQLModel, table=True):
    """A path that starts a workflow: of the published revision, or (`draft`) of the draft.

    Attributes:
        shape: the path with its names left out (`shops/:/orders`): one published workflow has it.
        params: JSON of the trigger's params.
    """

    __table_args__ = (
        _partial("uq_webhook_shape", "shape", where="draft = 0", unique=True),
        Index("ix_webhook_workflow", "workflow_id"),
    )

    id: str = _id(primary_key=True)
    project_id: str = _id()
    workflow_id: str = _id()
    revision_id: str | None = _id(default=None, nullable=True)
    node_id: str
    draft: int = Field(default=0, sa_type=SmallInteger)
    shape: str
    path: str
    params: str = Field(sa_type=Text)
    updated_ms: int = _ms()


class Schedule(SQLModel, table=True):
    """A time that starts a published workflow.

    Attributes:
        next_ms: when it is due next. Moved on in the transaction that inserts the execution: so each due time fires
            once, however many schedulers there are.
    """

    __table_args__ = (Index("ix_schedule_next", "next_ms"), Index("ix_schedule_workflow", "workflow_id"))

    id: str = _id(primary_key=True)
    project_id: str = _id()
    workflow_id: str = _id()
    revision_id: str = _id()
    node_id: str
    cron: str | None = None
    every_s: int | None = None
    timezone: str = "UTC"
    missed: str = "once"
    anchor_ms: int = _ms()
    next_ms: int = _ms()
    last_ms: int | None = _ms(default=None, nullable=True)


class Execution(SQLModel, table=True):
    """One run. Statuses and the moves between them: `engine.events`.

    Attributes:
        kind: published (of a revision), test (of the draft, by its test address) or draft (for the editor's panes).
        source: webhook, schedule, manual, api, retry, replay, preview.
        slot: what it takes a worker's slot of: async, code, heavy, draft.
        limited: 1 where its workflow limits how many run at a time: claimed apart from the others.
        worker_id, fence: whose it is, and the number of that claim; only the bearer of both may write.
        attempts: how often it was claimed.
        reply_to: the process that waits for its answer.
        origin_id, from_node: of a retry or replay: the execution it repeats, and the node it begins at.
        parent_id, iteration, waiting, resume_ms: of sub-workflows, loops and waits.
    """

    __table_args__ = (
        _partial(
            "ix_execution_queued", "slot", "project_id", "priority", "id", where="status = 'queued' AND limited = 0"
        ),
        _partial("ix_execution_limited", "workflow_id", "priority", "id", where="status = 'queued' AND limited = 1"),
        _partial("ix_execution_running", "worker_id", "workflow_id", where="status = 'running'"),
        _partial("ix_execution_resume", "resume_ms", where="status = 'waiting'"),
        _partial(
            "ix_execution_unusual",
            "project_id",
            "status",
            "id",
            where="status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting')",
        ),
        Index("ix_execution_workflow", "workflow_id", "id"),
        Index("ix_execution_project", "project_id", "id"),
    )

    id: str = _id(primary_key=True)
    project_id: str = _id()
    workflow_id: str = _id()
    revision_id: str | None = _id(default=None, nullable=True)
    kind: str
    source: str
    trigger_id: str | None = None
    slot: str
    priority: int = Field(default=1, sa_type=SmallInteger)
    limited: int = Field(default=0, sa_type=SmallInteger)
    status: str = "queued"
    fence: int = Field(default=0)
    attempts: int = Field(default=0, sa_type=SmallInteger)
    worker_id: str | None = _id(default=None, nullable=True)
    cancel: int = Field(default=0, sa_type=SmallInteger)
    reply_to: str | None = None
    origin_id: str | None = _id(default=None, nullable=True)
    from_node: str | None = None
    parent_id: str | None = _id(default=None, nullable=True)
    iteration: str | None = None
    waiting: str | None = Field(default=None, sa_type=Text)
    resume_ms: int | None = _ms(default=None, nullable=True)
    created_ms: int = _ms()
    started_ms: int | None = _ms(default=None, nullable=True)
    finished_ms: int | None = _ms(default=None, nullable=True)
    error: str | None = Field(default=None, sa_type=Text)


class Record(SQLModel, table=True):
    """What belongs to an execution, packed. Part 0 is what it was started with, parts 1 and on what its nodes gave."""

    execution_id: str = _id(primary_key=True)
    part: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    data: bytes = Field(sa_type=LargeBinary)


class RunData(SQLModel, table=True):
    """Results by preview key, written by draft runs only."""

    __tablename__ = "run_data"
    __table_args__ = (Index("ix_run_data_used", "used_ms"),)

    project_id: str = _id(primary_key=True)
    key: str = Field(primary_key=True, max_length=40)
    workflow_id: str = _id()
    data: bytes = Field(sa_type=LargeBinary)
    used_ms: int = _ms()


class PayloadUse(SQLModel, table=True):
    """Who needs a payload file: an execution, or a preview key. A file that nobody needs is removed after a while."""

    __tablename__ = "payload_use"
    __table_args__ = (Index("ix_payload_use_owner", "owner"),)

    hash: str = Field(primary_key=True, max_length=64)
    owner: str = Field(primary_key=True, max_length=80)
    project_id: str = _id()


class Seen(SQLModel, table=True):
    """Keys of calls that are not to start a second execution: for dedupe, and against replayed signatures."""

    __table_args__ = (Index("ix_seen_until", "until_ms"),)

    scope: str = Field(primary_key=True, max_length=120)
    key: str = Field(primary_key=True, max_length=80)
    project_id: str = _id()
    execution_id: str = _id()
    until_ms: int = _ms()


class Variable(SQLModel, table=True):
    """A value that expressions read as `vars.name`."""

    project_id: str = _id(primary_key=True)
    name: str = Field(primary_key=True, max_length=100)
    value: str = Field(sa_type=Text)
    updated_ms: int = _ms()


class Credential(SQLModel, table=True):
    """A secret by name. `sealed` is opened by the vault only; `revision` is new with every change."""

    __table_args__ = (Index("uq_credential_name", "project_id", "name", unique=True),)

    id: str = _id(primary_key=True)
    project_id: str = _id()
    name: str
    kind: str
    shown: str = Field(default="{}", sa_type=Text)
    sealed: bytes = Field(sa_type=LargeBinary)
    revision: str = _id()
    created_ms: int = _ms()
    updated_ms: int = _ms()


class WorkerRow(SQLModel, table=True):
    """A worker process. What it runs is its own while its lease lasts."""

    __tablename__ = "worker"

    id: str = _id(primary_key=True)
    host: str
    pid: int
    started_ms: int = _ms()
    lease_until_ms: int = _ms()


class Confirmed(SQLModel, table=True):
    """A node that reads from outside and that a person has run here: it may run by itself from then on."""

    workflow_id: str = _id(primary_key=True)
    node_id: str = Field(primary_key=True, max_length=200)
    project_id: str = _id()


class Sample(SQLModel, table=True):
    """The last test request of a trigger: what previews start with."""

    workflow_id: str = _id(primary_key=True)
    node_id: str = Field(primary_key=True, max_length=200)
    project_id: str = _id()
    data: bytes = Field(sa_type=LargeBinary)
    at_ms: int = _ms()


class Setting(SQLModel, table=True):
    """A setting of a project that people change while it runs, such as how long executions are kept. JSON."""

    project_id: str = _id(primary_key=True)
    name: str = Field(primary_key=True, max_length=100)
    value: str = Field(sa_type=Text)
