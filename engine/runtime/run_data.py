"""Results by preview key: written by draft runs only, reused by them, shown in the panes of the editor."""

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection, bindparam, text

from engine.errors import InternalError
from engine.events import NodeResult
from engine.planner import digest
from engine.runtime.claims import Claim
from engine.runtime.data.payloads import Payloads
from engine.runtime.data.records import Bundle, StoredRun, packed, unpack
from engine.runtime.ids import now_ms
from engine.runtime.store import Store, chunks

KEEP = text(
    "INSERT INTO run_data (project_id, key, workflow_id, data, used_ms) "
    "VALUES (:project_id, :key, :workflow_id, :data, :used_ms) "
    "ON CONFLICT (project_id, key) DO UPDATE SET data = excluded.data, used_ms = excluded.used_ms, "
    "workflow_id = excluded.workflow_id"
)
USE = text(
    "INSERT INTO payload_use (hash, owner, project_id) VALUES (:hash, :owner, :project_id) ON CONFLICT DO NOTHING"
)
KEYS = text("SELECT key FROM run_data WHERE project_id = :project AND key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)
DATA = text("SELECT key, data FROM run_data WHERE project_id = :project AND key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)
MANY = 500


def owner_of(project_id: str, key: str) -> str:
    """The name under which a kept result needs its payload files."""
    return f"{project_id}/{key}"


def held_key(key: str) -> str:
    """Where it is kept what a held node would do: apart from what it gives once it has run."""
    return digest(["held", key])


def keep(claim: Claim, runs: Sequence[StoredRun], payloads: Payloads) -> Callable[[Connection], None]:
    """Packs results now; the function it gives writes them, within a transaction."""
    now = now_ms()
    rows, uses = [], []
    for run in runs:
        made = packed(Bundle((run,)), payloads)
        who = {"project_id": claim.project_id, "key": run.key}
        rows.append({**who, "workflow_id": claim.workflow_id, "data": made.data, "used_ms": now})
        owner = owner_of(claim.project_id, run.key or "")
        uses += [{"hash": hash_, "owner": owner, "project_id": claim.project_id} for hash_ in made.hashes]

    def write(connection: Connection) -> None:
        connection.execute(KEEP, rows)
        if uses:
            connection.execute(USE, uses)

    return write


def kept_keys(store: Store, project_id: str, keys: Sequence[str]) -> Collection[str]:
    """Those of the keys under which a result is kept."""
    found: set[str] = set()
    with store.read() as connection:
        for some in chunks(keys, MANY):
            found.update(connection.execute(KEYS, {"project": project_id, "keys": list(some)}).scalars())
    return found


def load_kept(
    store: Store, payloads: Payloads, project_id: str, keys: Sequence[str], *, outputs: bool = True
) -> dict[str, NodeResult]:
    """Preview key -> the result kept under it. One whose payload file is gone is left out: it runs again."""
    return {key: run.result for key, run in load_runs(store, payloads, project_id, keys, outputs=outputs).items()}


def load_runs(
    store: Store, payloads: Payloads, project_id: str, keys: Sequence[str], *, outputs: bool = True
) -> dict[str, StoredRun]:
    """As `load_kept`, with the whole node run."""
    found: dict[str, StoredRun] = {}
    with store.read() as connection:
        rows = [
            (key, bytes(data))
            for some in chunks(keys, MANY)
            for key, data in connection.execute(DATA, {"project": project_id, "keys": list(some)})
        ]
    for key, data in rows:
        try:
            found[key] = unpack(data, payloads, outputs=outputs).runs[0]
        except InternalError:  # its hint: run the node again
            continue
    return found
