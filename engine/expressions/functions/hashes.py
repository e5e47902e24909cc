"""Hashes, signatures and encodings of texts, as UTF-8."""

import base64
import binascii
import hashlib
import hmac
import uuid as unique

from engine.errors import ExpressionError
from engine.expressions.library import offered

offer = offered("hash", cost=10)


@offer("filter")
def md5(text: str) -> str:
    """The MD5 hash in hexadecimal. For checksums only: it protects nothing.

    >>> "hello" | md5
    "5d41402abc4b2a76b9719d911017c592"
    """
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@offer("filter")
def sha1(text: str) -> str:
    """The SHA-1 hash in hexadecimal. For old services only: it protects nothing.

    >>> "hello" | sha1
    "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
    """
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@offer("filter")
def sha256(text: str) -> str:
    """The SHA-256 hash in hexadecimal.

    >>> ("hello" | sha256)[:12]
    "2cf24dba5fb0"
    """
    return hashlib.sha256(text.encode()).hexdigest()


@offer("filter")
def sha512(text: str) -> str:
    """The SHA-512 hash in hexadecimal.

    >>> ("hello" | sha512)[:12]
    "9b71d224bd62"
    """
    return hashlib.sha512(text.encode()).hexdigest()


@offer("filter")
def hmac_sha256(text: str, key: str, encoding: str = "hex") -> str:
    """The signature of the text with a key (HMAC, SHA-256), as "hex" or "base64".

    >>> ("payload" | hmac_sha256("key"))[:12]
    "5d98b45c90a2"
    """
    digest = hmac.digest(key.encode(), text.encode(), "sha256")
    if encoding == "hex":
        return digest.hex()
    if encoding == "base64":
        return base64.b64encode(digest).decode()
    raise ExpressionError('hmac_sha256 writes "hex" or "base64"')


@offer("filter")
def base64_encode(text: str, url_safe: bool = False) -> str:
    """The text in Base64; `url_safe` writes - and _ for + and /.

    >>> "user:secret" | base64_encode
    "dXNlcjpzZWNyZXQ="
    """
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return encode(text.encode()).decode()


@offer("filter")
def base64_decode(text: str) -> str:
    """The text that was written in Base64, of either alphabet, with or without = at the end.

    >>> "SGVsbG8" | base64_decode
    "Hello"
    """
    plain = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise ExpressionError("this text is no Base64, or what it holds is no text") from None


@offer("function", uses=("random",))
def uuid() -> str:
    """A new unique id by chance (UUID, version 4).

    >>> uuid() | length
    36
    """
    return str(unique.uuid4())
