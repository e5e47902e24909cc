"""The limits that a child process puts on itself, before it is given anything of the user's.

What the system cannot do (macOS has no limit on address space) is left out; on Linux all of it must succeed.
"""

import ctypes
import math
import resource
import signal
import sys
import time
from pathlib import Path

OPEN_FILES = 16

# prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


def confine(memory_bytes: int, cpu_s: float) -> None:
    """Limit this process for good.

    Args:
        memory_bytes: address space above what the process has now.
        cpu_s: seconds of processor time from now.
    """
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
        _control(PR_SET_PDEATHSIG, signal.SIGKILL)  # the host's end is ours
        _control(PR_SET_NO_NEW_PRIVS, 1)
        _control(PR_SET_DUMPABLE, 0)  # no ptrace, no core
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NPROC, 0)  # does not bind root
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for stop in (signal.SIGPROF, signal.SIGXCPU):
        signal.signal(stop, signal.SIG_DFL)
    # The timer is exact, the limit counts in whole seconds: it is there for the case that the timer fails.
    signal.setitimer(signal.ITIMER_PROF, max(cpu_s, 0.001))
    _lower(resource.RLIMIT_CPU, math.ceil(time.process_time() + cpu_s) + 1)


def _lower(which: int, value: int) -> None:
    _, most = resource.getrlimit(which)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(which, (value, value))


def _control(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) was refused")
