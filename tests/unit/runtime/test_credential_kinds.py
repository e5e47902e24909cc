"""Kinds of credentials: what fits, what is shown, what is sent."""

import base64
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import CredentialError
from engine.runtime.credentials.kinds import KINDS, fields_of, outgoing, secrets_of, shown, validate

GOOD = {
    "header": {"name": "X-API-Key", "value": "canary-4711"},
    "bearer": {"token": "canary-4711"},
    "basic": {"user": "ada", "password": "canary:4711 é"},
    "hmac": {"secret": "canary-4711", "header": "X-Signature"},
}
SENT = {
    "header": {"kind": "header", "name": "X-API-Key", "value": "canary-4711"},
    "bearer": {"kind": "bearer", "token": "canary-4711"},
    "basic": {"kind": "basic", "user": "ada", "password": "canary:4711 é"},
    "hmac": {
        "kind": "hmac",
        "secret": "canary-4711",
        "header": "X-Signature",
        "algorithm": "sha256",
        "encoding": "hex",
        "prefix": "",
        "timestamp_header": "",
    },
}


def test_every_kind_has_its_case():
    assert set(GOOD) == set(SENT) == set(KINDS)


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_kept_is_what_a_node_gets(kind):
    assert outgoing("mine", kind, validate(kind, GOOD[kind])) == SENT[kind]


@pytest.mark.parametrize("kind", GOOD)
def test_kept_fields_are_valid_again(kind):
    kept = validate(kind, GOOD[kind])
    assert validate(kind, kept) == kept


@pytest.mark.parametrize("kind", GOOD)
def test_no_secret_is_among_what_is_shown(kind):
    kept = validate(kind, GOOD[kind])
    assert "canary" not in str(shown(kind, kept))
    assert set(fields_of(kind).secret) | set(fields_of(kind).shown) == set(kept)
    assert not set(fields_of(kind).secret) & set(fields_of(kind).shown)
    assert "canary" not in repr(KINDS[kind].model_validate(kept))


@pytest.mark.parametrize("kind", GOOD)
def test_the_secret_is_known_for_redaction(kind):
    assert any("canary" in secret for secret in secrets_of(kind, validate(kind, GOOD[kind])))


def test_secrets_are_known_as_they_are_sent():
    assert secrets_of("basic", {"user": "ada", "password": "pw"}) == ["pw", base64.b64encode(b"ada:pw").decode()]
    assert secrets_of("header", {"name": "Authorization", "value": "Token abc"}) == ["Token abc", "abc"]


WRONG = [
    ("header", {"name": "X Key", "value": "canary"}, "name: a header's name is"),
    ("header", {"name": "X-Key:", "value": "canary"}, "name: a header's name is"),
    ("header", {"name": "X-Schlüssel", "value": "canary"}, "name: a header's name is"),
    ("header", {"name": "", "value": "canary"}, "name: "),
    ("header", {"name": "Content-Length", "value": "canary"}, "name: this header is set by the connection"),
    ("header", {"name": "X-Key", "value": "canary\r\nX-Admin: 1"}, "value: a header holds printable ASCII"),
    ("header", {"name": "X-Key", "value": "canary\n"}, "value: it begins or ends with"),
    ("header", {"name": "X-Key", "value": "canary\x00"}, "value: a header holds"),
    ("header", {"name": "X-Key", "value": "canary é"}, "value: a header holds"),
    ("header", {"name": "X-Key", "value": ""}, "value: "),
    ("header", {"name": "X-Key", "value": "canary" * 2000}, "value: "),
    ("header", {"value": "canary"}, "name: field required"),
    ("bearer", {"token": "canary 4711"}, "token: there is a space"),
    ("bearer", {"token": "canary\n"}, "token: there is a space or a line break"),
    ("bearer", {"token": 4711}, "token: input should be a valid string"),
    ("bearer", {"tokn": "canary"}, "tokn: there is no such field"),
    ("basic", {"user": "a:b", "password": "canary"}, "user: a user's name holds no colon"),
    ("basic", {"user": "ada", "password": "canary\n"}, "password: there is a line break"),
    ("basic", {"user": "ada", "password": ""}, "password: "),
    ("basic", {"user": "ada", "password": "canary\ud800"}, "password: input should be a valid string"),
    ("hmac", {"secret": "canary\ud800", "header": "X-Sig"}, "secret: input should be a valid string"),
    ("hmac", {"secret": "canary"}, "header: name the header"),
    ("hmac", {"secret": "canary", "header": "X Sig"}, "a header's name is"),
    ("hmac", {"secret": "canary", "header": "X-Sig", "algorithm": "md5"}, "algorithm: input should be 'sha256'"),
    ("hmac", {"secret": "canary", "header": "X-Sig", "encoding": "raw"}, "encoding: "),
    ("hmac", {"secret": "canary", "header": "X-Sig", "tolerance_s": 0}, "tolerance_s: "),
    ("hmac", {"secret": "canary", "header": "X-Sig", "timestamp_header": "x-sig"}, "timestamp_header: "),
    ("hmac", {"secret": "canary", "preset": "github", "header": "X-Other"}, "the preset github sets header"),
    ("hmac", {"secret": "canary", "preset": "slack", "algorithm": "sha1"}, "the preset slack sets algorithm"),
    ("hmac", {"secret": "canary", "preset": "gitlab", "header": "X"}, "preset: input should be 'none', 'github'"),
]


@pytest.mark.parametrize(("kind", "fields", "said"), WRONG)
def test_what_does_not_fit_is_named_without_its_value(kind, fields, said):
    with pytest.raises(CredentialError) as caught:
        validate(kind, fields)
    assert said in caught.value.message
    everything = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value.hint)
    assert "canary" not in everything


def test_all_problems_are_named_at_once_and_the_nearest_name():
    with pytest.raises(CredentialError, match=r"user: .*; password: ") as caught:
        validate("basic", {"user": "a:b"})
    with pytest.raises(CredentialError) as caught:
        validate("bearer", {"tokn": "x"})
    assert caught.value.hint == "Did you mean 'token'?"


def test_an_unknown_kind_is_named():
    with pytest.raises(CredentialError, match="no kind of credential 'oauth'"):
        validate("oauth", {})
    with pytest.raises(CredentialError) as caught:
        validate("headers", {})
    assert caught.value.hint == "Did you mean 'header'?"


@pytest.mark.parametrize(
    ("preset", "header", "prefix", "timestamp_header"),
    [
        ("github", "X-Hub-Signature-256", "sha256=", ""),
        ("stripe", "Stripe-Signature", "", ""),
        ("slack", "X-Slack-Signature", "v0=", "X-Slack-Request-Timestamp"),
    ],
)
def test_a_preset_writes_out_its_form(preset, header, prefix, timestamp_header):
    kept = validate("hmac", {"secret": "s", "preset": preset})
    assert (kept["header"], kept["prefix"], kept["timestamp_header"]) == (header, prefix, timestamp_header)
    assert (kept["algorithm"], kept["encoding"], kept["tolerance_s"]) == ("sha256", "hex", 300)


def test_a_kept_credential_that_lost_a_field_says_so():
    with pytest.raises(CredentialError, match="'mine' has no password"):
        outgoing("mine", "basic", {"user": "ada"})


# Lone surrogates come in by JSON escapes.
TEXT = st.text(st.characters())
JSON = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.lists(TEXT, max_size=2)
NAMES = sorted({name for kind in KINDS.values() for name in kind.model_fields})


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(NAMES) | TEXT, JSON, max_size=6))
def test_any_fields_are_kept_or_refused(kind, fields):
    try:
        kept = validate(kind, fields)
    except CredentialError:
        return
    assert validate(kind, kept) == kept
    sent = outgoing("mine", kind, kept)
    assert all(isinstance(value, str) for value in sent.values())
    assert not any(character in sent.get("value", "") + sent.get("name", "") for character in "\r\n\0")
