"""Whether an incoming call comes from whom its webhook's credential names.

Replays. A signature with a time in it (Stripe, Slack, the general form with a timestamp header) is good for
`tolerance_s` around that time, and is remembered until it would be refused anyway. One without (GitHub, the general
form without) is good for ever, so what is remembered is the signature of the body itself: GitHub's for a day (its
bodies bear ids and times, so an equal one is the same delivery; X-GitHub-Delivery is not signed and proves nothing),
the general form's for `tolerance_s`, since senders may well say the same thing twice.

The ingress remembers a key in the transaction that accepts the call. So what was not accepted may come again, as
senders do after a 5xx; and a redelivery of what was accepted is best answered like a duplicate, with the first
execution's id: the sender sees that it arrived, and nothing runs twice.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.runtime.credentials.kinds import basic_text

GITHUB_REMEMBERED_S = 86_400
SECONDS = re.compile(r"[0-9]{1,12}")
# More than any sender with several secrets needs; each costs a comparison.
MOST_SIGNATURES = 16
ASK_THE_SENDER = "The sender has to use the credential that is set on this webhook."


@dataclass(frozen=True, slots=True)
class Verified:
    """A call to let in.

    Attributes:
        replay_key: what must not be let in again; None where the credential signs nothing.
        replay_until_s: seconds since 1970 until which it has to be remembered, as the time given to `verify`.
    """

    replay_key: str | None = None
    replay_until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A call to answer with 401: `auth.missing`, `auth.malformed`, `auth.wrong` or `auth.expired`."""

    code: str
    message: str
    hint: str | None = None


def verify(
    kind: str, fields: Mapping[str, Any], *, headers: Mapping[str, str], body: bytes, now_s: float
) -> Verified | Refused:
    """Whether the call bears the credential. Takes the same time wherever a secret differs; raises nothing.

    Args:
        fields: as `credential_kinds.validate` gives them.
        headers: names in small letters; a repeated header as one value with commas, which no credential fits.
        now_s: seconds since 1970.
    """
    match kind:
        case "header":
            return _same_header(str(fields["name"]), str(fields["value"]), headers)
        case "bearer":
            return _same_authorization("bearer", str(fields["token"]), headers)
        case "basic":
            return _same_authorization("basic", basic_text(str(fields["user"]), str(fields["password"])), headers)
        case "hmac" if fields["preset"] == "stripe":
            return _stripe(fields, headers, body, now_s)
        case "hmac":
            return _signed(fields, headers, body, now_s)
    return Refused("auth.unknown", f"a credential of the kind {kind} checks no calls")


def _same_header(name: str, value: str, headers: Mapping[str, str]) -> Verified | Refused:
    given = headers.get(name.lower())
    if given is None:
        return _missing(name)
    return Verified() if _same(given.strip(), value) else _wrong()


def _same_authorization(scheme: str, secret: str, headers: Mapping[str, str]) -> Verified | Refused:
    given = headers.get("authorization")
    if given is None:
        return _missing("Authorization")
    # RFC 9110, 11.1: the scheme in small or capital letters, then spaces.
    said, _, rest = given.strip().partition(" ")
    if said.lower() != scheme:
        return Refused("auth.malformed", f"the header Authorization is not of the form {scheme}", ASK_THE_SENDER)
    return Verified() if _same(rest.strip(), secret) else _wrong()


def _signed(fields: Mapping[str, Any], headers: Mapping[str, str], body: bytes, now_s: float) -> Verified | Refused:
    """GitHub's, Slack's and the general form: one signature in one header, a time perhaps in another."""
    header, timestamp_header = str(fields["header"]), str(fields["timestamp_header"])
    given = headers.get(header.lower())
    if given is None:
        return _missing(header)
    timestamp = None
    if timestamp_header:
        timestamp = headers.get(timestamp_header.lower())
        if timestamp is None:
            return _missing(timestamp_header)
        if refused := _out_of_time(timestamp, timestamp_header, fields, now_s):
            return refused
    signature = _decoded(given.strip(), str(fields["prefix"]), str(fields["encoding"]))
    if signature is None:
        return _malformed(header)
    if timestamp is None:
        signed = body
    elif fields["preset"] == "slack":
        # https://api.slack.com/authentication/verifying-requests-from-slack
        signed = b"v0:" + timestamp.encode() + b":" + body
    else:
        signed = timestamp.encode() + b"." + body
    expected = _digest(fields, signed)
    return _verified(fields, expected, timestamp, now_s) if hmac.compare_digest(expected, signature) else _wrong()


def _stripe(fields: Mapping[str, Any], headers: Mapping[str, str], body: bytes, now_s: float) -> Verified | Refused:
    """`t=...,v1=...`, with a v1 per secret while secrets are being changed; other schemes, such as v0, are passed over.

    https://docs.stripe.com/webhooks/signature
    """
    header = str(fields["header"])
    given = headers.get(header.lower())
    if given is None:
        return _missing(header)
    pairs = [part.strip().partition("=") for part in given.split(",", 2 * MOST_SIGNATURES)]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [_decoded(value, "", "hex") for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not signatures or len(signatures) > MOST_SIGNATURES or None in signatures:
        return _malformed(header)
    if refused := _out_of_time(times[0], header, fields, now_s):
        return refused
    expected = _digest(fields, times[0].encode() + b"." + body)
    # All are compared, so that the time says nothing of which one fits.
    fits = [hmac.compare_digest(expected, signature) for signature in signatures if signature is not None]
    return _verified(fields, expected, times[0], now_s) if any(fits) else _wrong()


def _digest(fields: Mapping[str, Any], signed: bytes) -> bytes:
    return hmac.digest(str(fields["secret"]).encode(), signed, str(fields["algorithm"]))


def _decoded(text: str, prefix: str, encoding: str) -> bytes | None:
    """The bytes of a signature; None where it is not written as it should be."""
    if not text.startswith(prefix):
        return None
    text = text[len(prefix) :]
    if encoding == "hex":
        return bytes.fromhex(text) if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", text) else None
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # One spelling only: the last character has bits to spare.
    return decoded if base64.b64encode(decoded).decode() == text else None


def _out_of_time(timestamp: str, header: str, fields: Mapping[str, Any], now_s: float) -> Refused | None:
    if not SECONDS.fullmatch(timestamp):
        return _malformed(header)
    if abs(now_s - int(timestamp)) <= int(fields["tolerance_s"]):
        return None
    return Refused(
        "auth.expired",
        f"the call was signed more than {fields['tolerance_s']} s before or after it came",
        "Send it again with a new signature; if that fails too, compare the clocks of both sides.",
    )


def _verified(fields: Mapping[str, Any], expected: bytes, timestamp: str | None, now_s: float) -> Verified:
    """The key is made of the signature we computed: of what the sender wrote, many spellings would fit."""
    key = hashlib.blake2b(expected + (timestamp or "").encode(), digest_size=16).hexdigest()
    if timestamp is not None:
        return Verified(key, int(timestamp) + int(fields["tolerance_s"]))
    kept_s = int(fields["tolerance_s"])
    return Verified(key, now_s + (max(kept_s, GITHUB_REMEMBERED_S) if fields["preset"] == "github" else kept_s))


def _same(given: str, secret: str) -> bool:
    """Compared in constant time, and by digest, so that the length is not given away either."""
    one, other = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, secret))
    return hmac.compare_digest(one, other)


def _missing(header: str) -> Refused:
    return Refused("auth.missing", f"this webhook wants the header {header}", ASK_THE_SENDER)


def _malformed(header: str) -> Refused:
    return Refused("auth.malformed", f"the header {header} cannot be read as a signature or its time", ASK_THE_SENDER)


def _wrong() -> Refused:
    return Refused("auth.wrong", "the call does not bear this webhook's credential", ASK_THE_SENDER)
