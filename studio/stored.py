"""What commands do with what is stored: import and export, upgrade, backup and restore."""

import os
import sys
from pathlib import Path

from engine.runtime.backups.backup import backup as write_backup
from engine.runtime.backups.restore import restore as read_backup
from engine.runtime.embedded import SOCKET
from engine.runtime.locks import UP, FileLock
from engine.runtime.parts import Parts
from engine.runtime.processes import prepare
from engine.runtime.service import OWNER, Service
from engine.runtime.settings import load_settings
from engine.workflow import save
from studio.local import read_text
from studio.place import make_home
from studio.process import open_parts


def import_file(file: Path, *, publish: bool) -> str:
    """Store a workflow file, and publish it; gives its id."""
    text = read_text(file)
    workflows = Service(_parts("import")).workflows
    made = workflows.create(OWNER, text)
    for problem in made.problems or ():
        print(f"- {problem.message}", file=sys.stderr)
    if publish:
        try:
            workflows.publish(OWNER, made.id)
        except Exception:
            print(f"It is stored as {made.id}, and not published.", file=sys.stderr)
            raise
    return made.id


def export_file(workflow_id: str, *, pins: bool) -> str:
    """A stored workflow as the text of a file."""
    return save(Service(_parts("export")).workflows.file(OWNER, workflow_id, pins=pins))


def upgrade() -> str:
    """Bring the schema up to date; what was done."""
    settings = load_settings()
    make_home(settings)
    return prepare(Parts(settings))


def backup(file: Path) -> str:
    """Write a backup; what is in it."""
    made = write_backup(_parts("backup"), file.absolute())
    return (
        f"{file}: {sum(made.rows.values()):,} rows, {made.payloads:,} payload files, {made.size_bytes / 2**20:.1f} MB"
    )


def restore(file: Path, *, force: bool) -> str:
    """Bring back a backup; what was in it."""
    settings = load_settings()
    make_home(settings)
    lock = FileLock(settings.home / UP, about=f"flowleaf restore (process {os.getpid()})")
    try:
        done = read_backup(Parts(settings), file.absolute(), force=force)
    finally:
        lock.release()
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return f"{sum(done.rows.values()):,} rows and {done.payloads:,} payload files are there again."


def _parts(name: str) -> Parts:
    """The parts of the installation; the embedded Redis of an `up` that runs is told what changed."""
    settings = load_settings()
    socket = settings.home.absolute() / "redis" / SOCKET
    if settings.redis_url is None and socket.exists():
        settings = settings.model_copy(update={"redis_url": f"unix://{socket}"})
    return open_parts(name, settings)
