"""Signs of life from a process to the supervisor that started it, through a pipe."""

import os
import signal
import threading

PULSE_S = 1.0
READY, ALIVE = b"r", b"."


class Pulse:
    """Tells the supervisor that this process has started, then that it is alive; ends it when the supervisor is gone.

    Args:
        descriptor: the pipe's end for writing; None: started by hand, with nobody to tell.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
            os.set_blocking(descriptor, False)

    def ready(self) -> None:
        """Say that the process does its work now, and go on saying so; from a thread, whatever the others do."""
        if self._descriptor is not None:
            threading.Thread(target=self._beat, args=(self._descriptor,), name="pulse", daemon=True).start()

    def _beat(self, descriptor: int) -> None:
        sign, never = READY, threading.Event()
        while True:
            try:
                os.write(descriptor, sign)
                sign = ALIVE
            except BlockingIOError:
                pass  # a supervisor that was stopped for a while finds the pipe full of them
            except OSError:
                # Where the system does not end children with their parent, this does.
                os.kill(os.getpid(), signal.SIGKILL)
            never.wait(PULSE_S)
