"""Incoming calls are let in by their credential alone.

The vendors' examples are written from memory of these pages, and agree with what is computed here:
GitHub: docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
Slack: api.slack.com/authentication/verifying-requests-from-slack
Stripe: docs.stripe.com/webhooks/signature; there is no example with its secret there, so it is made by its steps
"""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.credentials.kinds import validate
from engine.runtime.credentials.signatures import Refused, Verified, verify

NOW_S = 1_531_420_700.0
HEADER = validate("header", {"name": "X-API-Key", "value": "canary-4711"})
BEARER = validate("bearer", {"token": "canary-4711"})
BASIC = validate("basic", {"user": "ada", "password": "canary:4711 é"})
GITHUB = validate("hmac", {"preset": "github", "secret": "It's a Secret to Everybody"})
SLACK = validate("hmac", {"preset": "slack", "secret": "8f742231b10e8888abcd99yyyzzz85a5"})
STRIPE = validate("hmac", {"preset": "stripe", "secret": "whsec_canary"})
GENERAL = validate("hmac", {"secret": "canary-4711", "header": "X-Signature", "algorithm": "sha512", "prefix": "h="})
TIMED = validate(
    "hmac",
    {"secret": "canary", "header": "X-Sig", "encoding": "base64", "timestamp_header": "X-Time", "tolerance_s": 60},
)
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_HEADERS = {
    "x-slack-request-timestamp": "1531420618",
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}


def signed(secret: str, data: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), data, algorithm).hexdigest()


def stripe_header(body: bytes, time_s: int, *secrets: str) -> dict[str, str]:
    signatures = [f"v1={signed(secret, str(time_s).encode() + b'.' + body)}" for secret in secrets]
    return {"stripe-signature": ",".join([f"t={time_s}", *signatures, "v0=6ffbb59b"])}


def timed_headers(body: bytes, time: str) -> dict[str, str]:
    digest = hmac.new(b"canary", time.encode() + b"." + body, hashlib.sha256).digest()
    return {"x-time": time, "x-sig": base64.b64encode(digest).decode()}


TIME_S = 1_531_420_690
BASIC_TEXT = base64.b64encode("ada:canary:4711 é".encode()).decode()
# name -> kind, fields, headers, body
LET_IN = {
    "header": ("header", HEADER, {"x-api-key": "canary-4711"}, b""),
    "bearer": ("bearer", BEARER, {"authorization": "Bearer canary-4711"}, b""),
    "bearer, small letters": ("bearer", BEARER, {"authorization": "bearer  canary-4711 "}, b""),
    "basic": ("basic", BASIC, {"authorization": f"Basic {BASIC_TEXT}"}, b""),
    "GitHub's example": (
        "hmac",
        GITHUB,
        {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        b"Hello, World!",
    ),
    "Slack's example": ("hmac", SLACK, SLACK_HEADERS, SLACK_BODY),
    "Stripe": ("hmac", STRIPE, stripe_header(b'{"id": "evt_1"}', TIME_S, "whsec_canary"), b'{"id": "evt_1"}'),
    "Stripe with two secrets": ("hmac", STRIPE, stripe_header(b"{}", TIME_S, "whsec_old", "whsec_canary"), b"{}"),
    "general": ("hmac", GENERAL, {"x-signature": "h=" + signed("canary-4711", b"\xff\0", "sha512")}, b"\xff\0"),
    "general in capitals": (
        "hmac",
        GENERAL,
        {"x-signature": "h=" + signed("canary-4711", b"x", "sha512").upper()},
        b"x",
    ),
    "general with a time": ("hmac", TIMED, timed_headers(b"{}", str(TIME_S)), b"{}"),
}


@pytest.mark.parametrize(("kind", "fields", "headers", "body"), LET_IN.values(), ids=LET_IN)
def test_a_call_with_the_credential_is_let_in(kind, fields, headers, body):
    assert isinstance(verify(kind, fields, headers=headers, body=body, now_s=NOW_S), Verified)


@pytest.mark.parametrize(("kind", "fields", "headers", "body"), LET_IN.values(), ids=LET_IN)
def test_a_call_without_it_is_told_which_header_to_send(kind, fields, headers, body):
    for name in headers:
        rest = {other: value for other, value in headers.items() if other != name}
        refused = verify(kind, fields, headers=rest, body=body, now_s=NOW_S)
        assert isinstance(refused, Refused)
        assert refused.code == "auth.missing"
        assert name in refused.message.lower()


@pytest.mark.parametrize(("kind", "fields", "headers", "body"), LET_IN.values(), ids=LET_IN)
def test_a_repeated_header_is_refused(kind, fields, headers, body):
    for name, value in headers.items():
        twice = headers | {name: f"{value}, {value}"}
        assert isinstance(verify(kind, fields, headers=twice, body=body, now_s=NOW_S), Refused)


@pytest.mark.parametrize(("kind", "fields", "headers", "body"), LET_IN.values(), ids=LET_IN)
def test_a_change_of_any_character_is_refused(kind, fields, headers, body):
    signature = next(reversed([name for name in headers if name != "x-time"]))
    value = headers[signature]
    # Stripe's v0 and, with several secrets, the signatures of the others are passed over; schemes have no case.
    start = value.rfind("v1=") if "v1=" in value else value.find(" ") + 1
    end = value.find(",v0=") if "v0=6" in value else len(value)
    for place in range(start, end):
        if value[place] == " ":
            continue
        changed = value[:place] + ("0" if value[place] != "0" else "1") + value[place + 1 :]
        assert isinstance(verify(kind, fields, headers=headers | {signature: changed}, body=body, now_s=NOW_S), Refused)


SIGNED = {name: case for name, case in LET_IN.items() if case[0] == "hmac"}


@pytest.mark.parametrize(("kind", "fields", "headers", "body"), SIGNED.values(), ids=SIGNED)
def test_another_body_is_refused(kind, fields, headers, body):
    for other in (body + b" ", body[:-1], b"." + body):
        refused = verify(kind, fields, headers=headers, body=other, now_s=NOW_S)
        assert isinstance(refused, Refused)
        assert refused.code == "auth.wrong"


@pytest.mark.parametrize(("kind", "fields", "headers", "body"), SIGNED.values(), ids=SIGNED)
def test_a_replay_has_the_key_of_the_first_however_it_is_spelled(kind, fields, headers, body):
    first = verify(kind, fields, headers=headers, body=body, now_s=NOW_S)
    spelled = {name: f" {value}" if "time" not in name else value for name, value in headers.items()}
    if "stripe-signature" in headers:
        again = "v1=" + "0" * 64 + "," + headers["stripe-signature"]
        spelled = {"stripe-signature": again}
    replay = verify(kind, fields, headers=spelled | {"x-github-delivery": "new"}, body=body, now_s=NOW_S + 9)
    assert isinstance(first, Verified)
    assert isinstance(replay, Verified)
    assert first.replay_key == replay.replay_key
    assert first.replay_key


@pytest.mark.parametrize("name", ["header", "bearer", "basic"])
def test_a_credential_that_signs_nothing_leaves_nothing_to_remember(name):
    kind, fields, headers, body = LET_IN[name]
    assert verify(kind, fields, headers=headers, body=body, now_s=NOW_S) == Verified(None, None)


def test_calls_that_differ_have_keys_that_differ():
    keys = set()
    for body in (b"1", b"2"):
        for time_s in (TIME_S, TIME_S + 1):
            found = verify("hmac", TIMED, headers=timed_headers(body, str(time_s)), body=body, now_s=NOW_S)
            keys.add(found.replay_key)
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("name", "until_s"),
    [
        ("Slack's example", 1531420618 + 300),
        ("Stripe", TIME_S + 300),
        ("general with a time", TIME_S + 60),
        ("GitHub's example", NOW_S + 86_400),
        ("general", NOW_S + 300),
    ],
)
def test_a_replay_is_remembered_as_long_as_it_could_come(name, until_s):
    kind, fields, headers, body = LET_IN[name]
    found = verify(kind, fields, headers=headers, body=body, now_s=NOW_S)
    assert found.replay_until_s == until_s


@pytest.mark.parametrize("name", ["Slack's example", "Stripe", "general with a time"])
@pytest.mark.parametrize("side", [-1, 1])
def test_both_ends_of_the_window_still_count(name, side):
    kind, fields, headers, body = LET_IN[name]
    signed_s = 1531420618 if name.startswith("Slack") else TIME_S
    edge_s = signed_s + side * fields["tolerance_s"]
    assert isinstance(verify(kind, fields, headers=headers, body=body, now_s=edge_s), Verified)
    late = verify(kind, fields, headers=headers, body=body, now_s=edge_s + side * 0.001)
    assert isinstance(late, Refused)
    assert late.code == "auth.expired"
    assert "clocks" in str(late.hint)


MALFORMED = [
    ("hmac", GITHUB, {"x-hub-signature-256": "757107ea"}),
    ("hmac", GITHUB, {"x-hub-signature-256": "sha256="}),
    ("hmac", GITHUB, {"x-hub-signature-256": "sha256=75 71"}),
    ("hmac", GITHUB, {"x-hub-signature-256": "sha1=7571"}),
    ("hmac", GITHUB, {"x-hub-signature-256": "sha256=٧٥"}),
    ("hmac", SLACK, SLACK_HEADERS | {"x-slack-request-timestamp": "now"}),
    ("hmac", SLACK, SLACK_HEADERS | {"x-slack-request-timestamp": "١٥٣١٤٢٠٦١٨"}),
    ("hmac", SLACK, SLACK_HEADERS | {"x-slack-request-timestamp": "+1531420618"}),
    ("hmac", SLACK, SLACK_HEADERS | {"x-slack-request-timestamp": "9" * 5000}),
    ("hmac", STRIPE, {"stripe-signature": ""}),
    ("hmac", STRIPE, {"stripe-signature": "t=1531420690"}),
    ("hmac", STRIPE, {"stripe-signature": "v1=00"}),
    ("hmac", STRIPE, {"stripe-signature": "t=1531420690,t=1531420690,v1=00"}),
    ("hmac", STRIPE, {"stripe-signature": "t=,v1=00"}),
    ("hmac", STRIPE, {"stripe-signature": "t=1531420690,v1=zz"}),
    ("hmac", STRIPE, {"stripe-signature": "t=1531420690" + ",v1=00" * 17}),
    ("hmac", STRIPE, {"stripe-signature": "t=1531420690" + ",v1=00" * 100_000}),
    ("hmac", TIMED, {"x-time": str(TIME_S), "x-sig": "a"}),
    ("hmac", TIMED, {"x-time": str(TIME_S), "x-sig": "é"}),
    ("bearer", BEARER, {"authorization": "canary-4711"}),
    ("bearer", BEARER, {"authorization": "Basic canary-4711"}),
    ("basic", BASIC, {"authorization": ""}),
]


@pytest.mark.parametrize(("kind", "fields", "headers"), MALFORMED)
def test_a_malformed_header_is_refused_as_such(kind, fields, headers):
    refused = verify(kind, fields, headers=headers, body=b"{}", now_s=NOW_S)
    assert isinstance(refused, Refused)
    assert refused.code == "auth.malformed"


WRONG = ["canary-471", "canary-4712", "canary-47111", "", "é", "\ud800", "\0", "canary-4711, canary-4711"]


@pytest.mark.parametrize("value", WRONG)
def test_all_wrong_secrets_are_answered_alike(value):
    answers = {
        verify("header", HEADER, headers={"x-api-key": value}, body=b"", now_s=NOW_S),
        verify("bearer", BEARER, headers={"authorization": f"Bearer {value}"}, body=b"", now_s=NOW_S),
        verify("basic", BASIC, headers={"authorization": f"Basic {value}"}, body=b"", now_s=NOW_S),
    }
    assert [answer.code for answer in answers] == ["auth.wrong"]
    assert "canary" not in str(answers)


def test_an_unknown_kind_lets_nobody_in():
    assert isinstance(verify("oauth", {}, headers={}, body=b"", now_s=NOW_S), Refused)


ANY_TEXT = st.text(st.characters(), max_size=60) | st.builds(
    "".join, st.lists(st.sampled_from(["t=", "v1=", "v0=", "sha256=", ",", str(TIME_S), "00", " ", "Bearer "]))
)
NAMES = st.sampled_from(sorted({name for _, _, headers, _ in LET_IN.values() for name in headers}))


@given(st.sampled_from(sorted(LET_IN)), st.dictionaries(NAMES, ANY_TEXT), st.binary(max_size=50), st.floats())
def test_nothing_a_stranger_sends_is_let_in_or_raises(name, headers, body, now_s):
    kind, fields, *_ = LET_IN[name]
    refused = verify(kind, fields, headers=headers, body=body, now_s=now_s)
    assert isinstance(refused, Refused)
    assert "canary" not in str(refused)
