"""The folders that file nodes may touch, and nothing outside them."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from engine.errors import NodeError

SETTING = "FLOWLEAF_FILES"


class Folders:
    """Files below some folders. A relative path is looked for in each of them in turn."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [folder.resolve() for folder in folders]

    def find(self, path: str) -> Path:
        """Where the file lies, symbolic links followed.

        Raises:
            NodeError: it lies outside the folders (also by way of `..` or a link), is not there, or is no file.
        """
        if "\0" in path or not path.strip():
            raise NodeError(f"{path!r} is no file name", retryable=False)
        try:
            return self._find(path)
        except (OSError, RuntimeError, ValueError) as exc:  # too long, a link that leads to itself, half a surrogate
            raise NodeError(f"{path[:100]!r} is no file that can be found", retryable=False) from exc

    def _find(self, path: str) -> Path:
        """As `find`; what the system refuses to look for is an OSError, RuntimeError or ValueError."""
        inside = False
        for folder in self.folders:
            # An absolute path replaces the folder here, and is then checked like any other.
            found = (folder / path).resolve()
            if not any(found.is_relative_to(allowed) for allowed in self.folders):
                continue
            inside = True
            if found.is_dir():
                raise NodeError(f"{path} is a folder, not a file", hint="Name a file in it.", retryable=False)
            if found.is_file():
                return found
            if found.exists():  # to open a pipe would wait for ever
                raise NodeError(f"{path} is no ordinary file", retryable=False)
        if not inside:
            raise NodeError(
                f"{path} lies outside the folders that file nodes may read",
                hint=f"Move it there, or add its folder to {SETTING}.",
                retryable=False,
            )
        looked = ", ".join(map(str, self.folders))
        raise NodeError(
            f"there is no file {path}", hint=f"Looked in: {looked}. {SETTING} names more folders.", retryable=False
        )

    def open(self, path: str) -> BinaryIO:
        """The file, opened to read. Raises NodeError."""
        found = self.find(path)
        try:
            return found.open("rb")
        except OSError as exc:
            raise NodeError(f"{path} cannot be read: {exc.strerror}") from exc

    def stamp(self, path: str) -> str | None:
        """Size and time of the last change: another stamp means other contents. None where there is no such file."""
        try:
            found = self.find(path).stat()
        except (NodeError, OSError):
            return None
        return f"{found.st_size}-{found.st_mtime_ns}"
