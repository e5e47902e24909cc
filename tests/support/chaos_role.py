"""One process of an installation, by its environment: `python -m tests.support.chaos_role worker`."""

import sys

from engine.runtime.settings import load_settings
from studio.process import run_hooks, run_scheduler, run_web, run_worker

if __name__ == "__main__":
    run = {"hooks": run_hooks, "web": run_web, "worker": run_worker, "scheduler": run_scheduler}[sys.argv[1]]
    run(load_settings(), pulse=None)
