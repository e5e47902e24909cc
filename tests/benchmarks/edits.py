"""Edits a workflow again and again, ten times a second, and prints how long each commit took, in milliseconds.

python -m tests.benchmarks.edits WORKFLOW SECONDS
"""

import json
import sys
import time

from engine.edits import SetParam
from engine.runtime.parts import Parts
from engine.runtime.service import Service
from engine.runtime.service.actor import OWNER
from engine.runtime.settings import load_settings


def main() -> None:
    """Run from the command line."""
    workflow_id, seconds = sys.argv[1], float(sys.argv[2])
    service = Service(Parts(load_settings()))
    seq = service.workflows.get(OWNER, workflow_id).seq
    until, took = time.monotonic() + seconds, []
    while time.monotonic() < until:
        edit = SetParam(node_id="gross", path=("fields", "n"), value=len(took))
        began = time.perf_counter()
        seq = service.workflows.edit(OWNER, workflow_id, edit, seq).seq
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(0.1)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
