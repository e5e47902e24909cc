"""A disk that can be full: a small file system of its own for root, a limit on the size of files for others."""

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.installation import Process

SIZE_MB = 64


class Disk:
    """The disk of a folder."""

    def __init__(self, folder: Path, is_mounted: bool) -> None:
        self.folder = folder
        self._is_mounted = is_mounted

    def fill(self, processes: Sequence[Process]) -> None:
        """From now on these processes can write nothing more to it."""
        if not self._is_mounted:
            self._limit(processes, 0)
            return
        file = os.open(self.folder / "filling", os.O_WRONLY | os.O_CREAT)
        try:
            for size_bytes in (2**20, 4096, 1):
                try:
                    while True:
                        os.write(file, bytes(size_bytes))
                except OSError:
                    continue
        finally:
            os.close(file)

    def free(self, processes: Sequence[Process]) -> None:
        """There is room again."""
        if self._is_mounted:
            (self.folder / "filling").unlink()
        else:
            self._limit(processes, resource.RLIM_INFINITY)

    def _limit(self, processes: Sequence[Process], size_bytes: int) -> None:
        for process in processes:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path, *, mount: bool) -> Iterator[Disk]:
    """A disk at a folder. `mount` takes a root that may mount."""
    folder.mkdir()
    if mount:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield Disk(folder, mount)
    finally:
        if mount:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount(folder: Path) -> bool:
    """Whether this process may mount file systems."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", str(folder)], check=True)
    return done.returncode == 0
