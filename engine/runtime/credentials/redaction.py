"""Text and data with the secrets taken out: known ones by value, unknown ones by the name they stand under."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
# Shorter ones are left: a mask for each "a" hides nothing and makes the rest unreadable.
SHORTEST = 4


class Redactor:
    """Puts *** where one of the secrets stands, also where it was escaped for JSON or for an address.

    Secrets of fewer than four characters are passed over. Where two overlap, both go.
    """

    __slots__ = ("_bytes", "_digits", "_forms")

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._bytes = tuple(form.encode("utf-8", "surrogatepass") for form in self._forms)
        # A secret of digits may come back as a number.
        self._digits = any(re.fullmatch(r"-?[0-9.]+", form) for form in self._forms)

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._forms)

    def text(self, text: str) -> str:
        """The text without the secrets; the same object where there were none."""
        if not any(form in text for form in self._forms):
            return text
        parts, end = [], 0
        for start, stop in _spans(text, self._forms):
            parts += [text[end:start], MASK]
            end = stop
        return "".join([*parts, text[end:]])

    def data(self, data: bytes) -> bytes:
        """Bytes of UTF-8, such as JSON that is written already, without the secrets."""
        if not any(form in data for form in self._bytes):
            return data
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def value(self, value: Any) -> Any:
        """JSON data without the secrets, in keys too; the same object where there were none."""
        return self._value(value) if self._forms else value

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            changed = {self.text(str(key)): self._value(inner) for key, inner in value.items()}
            same = all(new is old for new, old in zip(changed.values(), value.values(), strict=False))
            return value if same and list(changed) == list(value) else changed
        if isinstance(value, list | tuple):
            elements = [self._value(inner) for inner in value]
            return value if all(new is old for new, old in zip(elements, value, strict=True)) else elements
        if self._digits and isinstance(value, int | float):
            text = str(value)
            return value if self.text(text) is text else MASK
        return value


def _forms(secret: str) -> set[str]:
    """A secret as it is, in JSON (plain and ASCII only), and in the path or the query of an address."""
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    try:
        return forms | {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    except UnicodeEncodeError:
        return forms


def _spans(text: str, forms: Iterable[str]) -> list[tuple[int, int]]:
    """Where any of the forms stands, in order; those that overlap are one."""
    found: list[tuple[int, int]] = []
    for form in forms:
        start = text.find(form)
        while start >= 0:
            found.append((start, start + len(form)))
            start = text.find(form, start + 1)
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


DEEPEST = 12
SECRET_NAME = re.compile(
    r"authorization|cookie|passw(or)?d|passphrase|secret|signature"
    r"|(api|private|access|signing|encryption|master|hmac)_?key"
    r"|(^|_)(token|pwd|session|sid|bearer|jwt)$|^(auth|key|credentials?)$"
)
NAMED_IN_ADDRESS = re.compile(
    r"([?&;](?:[\w.-]*(?:token|secret|passw(?:or)?d|signature|session)|(?:api|access)?[_-]?key|code|sig|auth)=)[^&;\s\"'#]+",
    re.IGNORECASE,
)
USER_IN_ADDRESS = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")
AUTHORIZATION = re.compile(
    r"((?:authorization|cookie)[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|digest|token)\s+)?|bearer\s+)[^\s\"',;]{4,}",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is for nobody's eyes: authorization, cookie, x-api-key, access_token ..."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(" ", "_")
    return SECRET_NAME.search(plain) is not None


def without_named_secrets(value: Any, *, depth: int = DEEPEST) -> Any:
    """The value with *** for whatever stands under a secret's name; in text: in addresses and headers.

    What lies deeper than `depth` is masked too, so that data that holds itself comes to an end.
    """
    if isinstance(value, str):
        return _masked_text(value)
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return MASK
    if isinstance(value, Mapping):
        return {
            name: MASK
            if isinstance(name, str) and is_secret_name(name)
            else without_named_secrets(inner, depth=depth - 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_named_secrets(inner, depth=depth - 1) for inner in value]
    return value


def _masked_text(text: str) -> str:
    if "=" in text:
        text = NAMED_IN_ADDRESS.sub(rf"\1{MASK}", text)
    if "://" in text:
        text = USER_IN_ADDRESS.sub(rf"\1{MASK}", text)
    lower = text.lower()
    if "uthorization" in lower or "ookie" in lower or "bearer" in lower:
        text = AUTHORIZATION.sub(rf"\1{MASK}", text)
    return text
