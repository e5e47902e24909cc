"""The first tables."""

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "confirmed",
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("node_id", sa.String(200), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "node_id", name=op.f("pk_confirmed")),
    )
    op.create_table(
        "credential",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("revision", ID, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential")),
    )
    op.create_index("uq_credential_name", "credential", ["project_id", "name"], unique=True)
    op.create_table(
        "edit",
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("edit", sa.Text(), nullable=False),
        sa.Column("inverse", sa.Text(), nullable=False),
        sa.Column("touches", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "seq", name=op.f("pk_edit")),
    )
    op.create_table(
        "execution",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("revision_id", ID, nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("trigger_id", sa.String(), nullable=True),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("limited", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("worker_id", ID, nullable=True),
        sa.Column("cancel", sa.SmallInteger(), nullable=False),
        sa.Column("reply_to", sa.String(), nullable=True),
        sa.Column("origin_id", ID, nullable=True),
        sa.Column("from_node", sa.String(), nullable=True),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("iteration", sa.String(), nullable=True),
        sa.Column("waiting", sa.Text(), nullable=True),
        sa.Column("resume_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_execution")),
    )
    op.create_index(
        "ix_execution_limited",
        "execution",
        ["workflow_id", "priority", "id"],
        unique=False,
        sqlite_where=sa.text("status = 'queued' AND limited = 1"),
        postgresql_where=sa.text("status = 'queued' AND limited = 1"),
    )
    op.create_index("ix_execution_project", "execution", ["project_id", "id"], unique=False)
    op.create_index(
        "ix_execution_queued",
        "execution",
        ["slot", "project_id", "priority", "id"],
        unique=False,
        sqlite_where=sa.text("status = 'queued' AND limited = 0"),
        postgresql_where=sa.text("status = 'queued' AND limited = 0"),
    )
    op.create_index(
        "ix_execution_resume",
        "execution",
        ["resume_ms"],
        unique=False,
        sqlite_where=sa.text("status = 'waiting'"),
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "ix_execution_running",
        "execution",
        ["worker_id", "workflow_id"],
        unique=False,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_execution_unusual",
        "execution",
        ["project_id", "status", "id"],
        unique=False,
        sqlite_where=sa.text("status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting')"),
        postgresql_where=sa.text("status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting')"),
    )
    op.create_index("ix_execution_workflow", "execution", ["workflow_id", "id"], unique=False)
    op.create_table(
        "payload_use",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("hash", "owner", name=op.f("pk_payload_use")),
    )
    op.create_index("ix_payload_use_owner", "payload_use", ["owner"], unique=False)
    op.create_table(
        "project",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
    )
    op.create_table(
        "record",
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "part", name=op.f("pk_record")),
    )
    op.create_table(
        "revision",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("limited", sa.SmallInteger(), nullable=False),
        sa.Column("workflow", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("published_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revision")),
    )
    op.create_index("ix_revision_workflow", "revision", ["workflow_id", "number"], unique=True)
    op.create_table(
        "run_data",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "key", name=op.f("pk_run_data")),
    )
    op.create_index("ix_run_data_used", "run_data", ["used_ms"], unique=False)
    op.create_table(
        "sample",
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("node_id", sa.String(200), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "node_id", name=op.f("pk_sample")),
    )
    op.create_table(
        "schedule",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("revision_id", ID, nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("cron", sa.String(), nullable=True),
        sa.Column("every_s", sa.Integer(), nullable=True),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("missed", sa.String(), nullable=False),
        sa.Column("anchor_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
    )
    op.create_index("ix_schedule_next", "schedule", ["next_ms"], unique=False)
    op.create_index("ix_schedule_workflow", "schedule", ["workflow_id"], unique=False)
    op.create_table(
        "seen",
        sa.Column("scope", sa.String(120), nullable=False),
        sa.Column("key", sa.String(80), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_seen")),
    )
    op.create_index("ix_seen_until", "seen", ["until_ms"], unique=False)
    op.create_table(
        "setting",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_setting")),
    )
    op.create_table(
        "variable",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_variable")),
    )
    op.create_table(
        "webhook",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("workflow_id", ID, nullable=False),
        sa.Column("revision_id", ID, nullable=True),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("draft", sa.SmallInteger(), nullable=False),
        sa.Column("shape", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_index("ix_webhook_workflow", "webhook", ["workflow_id"], unique=False)
    op.create_index(
        "uq_webhook_shape",
        "webhook",
        ["shape"],
        unique=True,
        sqlite_where=sa.text("draft = 0"),
        postgresql_where=sa.text("draft = 0"),
    )
    op.create_table(
        "worker",
        sa.Column("id", ID, nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_table(
        "workflow",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("draft", sa.LargeBinary(), nullable=False),
        sa.Column("draft_seq", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", ID, nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("when_full", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow")),
    )
    op.create_index("ix_workflow_project", "workflow", ["project_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_workflow_project", table_name="workflow")
    op.drop_table("workflow")
    op.drop_table("worker")
    op.drop_index(
        "uq_webhook_shape",
        table_name="webhook",
        sqlite_where=sa.text("draft = 0"),
        postgresql_where=sa.text("draft = 0"),
    )
    op.drop_index("ix_webhook_workflow", table_name="webhook")
    op.drop_table("webhook")
    op.drop_table("variable")
    op.drop_table("setting")
    op.drop_index("ix_seen_until", table_name="seen")
    op.drop_table("seen")
    op.drop_index("ix_schedule_workflow", table_name="schedule")
    op.drop_index("ix_schedule_next", table_name="schedule")
    op.drop_table("schedule")
    op.drop_table("sample")
    op.drop_index("ix_run_data_used", table_name="run_data")
    op.drop_table("run_data")
    op.drop_index("ix_revision_workflow", table_name="revision")
    op.drop_table("revision")
    op.drop_table("record")
    op.drop_table("project")
    op.drop_index("ix_payload_use_owner", table_name="payload_use")
    op.drop_table("payload_use")
    op.drop_index("ix_execution_workflow", table_name="execution")
    op.drop_index(
        "ix_execution_unusual",
        table_name="execution",
        sqlite_where=sa.text("status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting')"),
        postgresql_where=sa.text("status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting')"),
    )
    op.drop_index(
        "ix_execution_running",
        table_name="execution",
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(
        "ix_execution_resume",
        table_name="execution",
        sqlite_where=sa.text("status = 'waiting'"),
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.drop_index(
        "ix_execution_queued",
        table_name="execution",
        sqlite_where=sa.text("status = 'queued' AND limited = 0"),
        postgresql_where=sa.text("status = 'queued' AND limited = 0"),
    )
    op.drop_index("ix_execution_project", table_name="execution")
    op.drop_index(
        "ix_execution_limited",
        table_name="execution",
        sqlite_where=sa.text("status = 'queued' AND limited = 1"),
        postgresql_where=sa.text("status = 'queued' AND limited = 1"),
    )
    op.drop_table("execution")
    op.drop_table("edit")
    op.drop_index("uq_credential_name", table_name="credential")
    op.drop_table("credential")
    op.drop_table("confirmed")
