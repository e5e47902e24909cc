"""How the migrations are run. The connection is given by `engine.runtime.schema`; this folder has no __init__.py."""

from alembic import context
from engine.runtime.models import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Run the migrations by: flowleaf db upgrade")
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
