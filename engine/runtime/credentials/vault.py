"""Secrets sealed with AES-256-GCM, and the key that opens them."""

import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.errors import CredentialError

KEY_BYTES = 32
KEY_FILE = "key"
VARIABLE = "FLOWLEAF_KEY"

# A sealed row: version, id of the key, nonce, ciphertext with its tag.
VERSION = b"\x01"
KEY_ID_BYTES = 8
NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.2: 96 random bits are good for 2**32 rows under one key
TAG_BYTES = 16
HEAD_BYTES = len(VERSION) + KEY_ID_BYTES

ENTER_ANEW = "Bring back the key from a backup; without it the secrets are lost, so enter the credentials anew."


class Vault:
    """Seals and opens the fields of credentials with one key.

    `context` says whose they are, such as project and credential id: what was sealed for one opens for no other.
    """

    __slots__ = ("_cipher", "_head")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise CredentialError(f"a key has {KEY_BYTES} bytes, and this one has {len(key)}")
        self._cipher = AESGCM(key)
        self._head = VERSION + hashlib.sha256(b"flowleaf key id\0" + key).digest()[:KEY_ID_BYTES]

    def __repr__(self) -> str:
        return f"Vault(key_id={self.key_id!r})"

    @property
    def key_id(self) -> str:
        """Tells keys apart and says nothing about them: 16 hex characters."""
        return self._head[len(VERSION) :].hex()

    def seal(self, data: Mapping[str, Any], *, context: str) -> bytes:
        """The fields, encrypted and bound to the context: 37 bytes more than their JSON; never the same twice."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, orjson.dumps(dict(data)), self._bound(context))

    def open(self, sealed: bytes, *, context: str) -> dict[str, Any]:
        """The fields that were sealed.

        Raises:
            CredentialError: sealed with another key, by a newer release, for another context, or damaged.
        """
        if len(sealed) < HEAD_BYTES + NONCE_BYTES + TAG_BYTES:
            raise CredentialError("a stored credential is damaged: it is too short", hint=ENTER_ANEW)
        if sealed[: len(VERSION)] != VERSION:
            raise CredentialError(
                f"a stored credential has the form {sealed[0]}, which this release does not know",
                hint="Run the release that wrote it, or a newer one.",
            )
        if sealed[:HEAD_BYTES] != self._head:
            other = sealed[len(VERSION) : HEAD_BYTES].hex()
            raise CredentialError(
                f"a stored credential was sealed with the key {other}, and the key here is {self.key_id}",
                hint=ENTER_ANEW,
            )
        nonce, secret = sealed[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES], sealed[HEAD_BYTES + NONCE_BYTES :]
        try:
            data: dict[str, Any] = orjson.loads(self._cipher.decrypt(nonce, secret, self._bound(context)))
        except InvalidTag as exc:
            raise CredentialError(
                "a stored credential is damaged, or was moved here from another one",
                hint="Bring back the row from a backup, or enter the credential anew.",
            ) from exc
        return data

    def _bound(self, context: str) -> bytes:
        return self._head + context.encode()


def load_key(home: Path, given: str | None = None) -> bytes:
    """The key of this installation: the given one, else that of the file `home/key`, which is made on first use.

    Args:
        given: the value of FLOWLEAF_KEY: 32 bytes in base64 or hex. The file holds the same form.

    Raises:
        CredentialError: the key is malformed, or its file cannot be read or is open to others.
    """
    if given:
        return _parse(given, VARIABLE, "Give 32 random bytes in base64, as `openssl rand -base64 32` writes them.")
    path = home / KEY_FILE
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            _make(path)
            return _read(path)
    except OSError as exc:
        raise CredentialError(
            f"the key file {path} cannot be used: {exc.strerror}",
            hint=f"Let this user read and write it, or set {VARIABLE}.",
        ) from exc


def _read(path: Path) -> bytes:
    # Not to wait for the other end, should it be a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123  of a descriptor
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CredentialError(f"the key file {path} is no file", hint=f"Move it away, or set {VARIABLE}.")
        if found.st_mode & 0o077:
            raise CredentialError(
                f"the key file {path} is open to other users (mode {stat.S_IMODE(found.st_mode):o})",
                hint=f"chmod 600 {path}",
            )
        text = file.read(1024)
    hint = f"Bring it back from a backup; without it, move {path} away and enter the credentials anew."
    return _parse(text.decode("ascii", "replace"), f"the key file {path}", hint)


def _make(path: Path) -> None:
    """A new key at `path`, whole or not at all; the key of whoever was first where two make one at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  of a descriptor
            os.fchmod(descriptor, 0o600)
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        # Unlike a rename, a link never replaces a key that is there, and nobody sees half of one.
        path.hardlink_to(draft)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse(text: str, source: str, hint: str) -> bytes:
    text = text.strip()
    try:
        if re.fullmatch(r"[0-9a-fA-F]{64}", text):
            return bytes.fromhex(text)
        standard = text.rstrip("=").replace("-", "+").replace("_", "/")
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        # Not `from exc`: causes are printed, and this one is about the key.
        raise CredentialError(f"{source} holds no key: it is neither base64 nor hex", hint=hint) from None
    if len(key) != KEY_BYTES:
        raise CredentialError(f"{source} holds {len(key)} bytes, and a key has {KEY_BYTES}", hint=hint)
    return key
