"""Secrets are taken out of text and data, known ones by value and others by name."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.credentials.redaction import Redactor, is_secret_name, without_named_secrets

CASES = [
    (["s3cret"], "a s3cret b s3cret", "a *** b ***"),
    (["s3cret"], "nothing here", "nothing here"),
    (["abcd", "abcdef"], "abcdef abcd", "*** ***"),
    (["abcdef", "defghi"], "xabcdefghiy", "x***y"),
    (["aaaa"], "aaaaaa", "***"),
    (["abcd"], "abcdabcd", "******"),
    (["abc"], "abc", "abc"),
    (["****"], "a **** b", "a *** b"),
    ([], "text", "text"),
]


@pytest.mark.parametrize(("secrets", "text", "redacted"), CASES)
def test_every_occurrence_is_replaced(secrets, text, redacted):
    assert Redactor(secrets).text(text) == redacted
    assert Redactor(secrets).data(text.encode()) == redacted.encode()


def test_data_is_redacted_at_any_depth_in_keys_too():
    value = {"a": ["x s3cret", {"s3cret": 1, "b": None}], "n": 5}
    assert Redactor(["s3cret"]).value(value) == {"a": ["x ***", {"***": 1, "b": None}], "n": 5}
    assert value["a"] == ["x s3cret", {"s3cret": 1, "b": None}]


def test_data_without_secrets_stays_the_same_object():
    value = {"a": ["x", {"b": (1, 2)}], "n": 5.5}
    assert Redactor(["s3cret"]).value(value) is value
    assert Redactor([]).value(value) is value


def test_a_secret_of_digits_is_found_as_a_number():
    assert Redactor(["47114711"]).value({"pin": 47114711, "n": 3, "ok": True}) == {"pin": "***", "n": 3, "ok": True}


def test_a_secret_is_found_as_it_was_escaped():
    secret = 'p"a\\ss wörd&1'
    written = [json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret), quote_plus(secret)]
    for text in written:
        assert Redactor([secret]).text(f"<{text}>").strip('<>"') == "***"


def test_bytes_that_are_no_text_pass_through():
    assert Redactor(["s3cret"]).data(b"\xff\xfe s3cret \x80") == b"\xff\xfe *** \x80"


def test_a_redactor_does_not_show_what_it_looks_for():
    assert "s3cret" not in repr(Redactor(["s3cret"]))
    assert Redactor(["s3cret"])
    assert not Redactor(["abc"])


TEXTS = st.text(max_size=12)


@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=8), st.randoms())
def test_no_secret_is_left_in_any_data(secrets, words, random):
    mixed = [*words, *secrets]
    random.shuffle(mixed)
    value = {"".join(mixed): [*mixed, {"deep": "-".join(mixed)}]}
    left = Redactor(secrets).value(value)
    texts = [*left, *left[next(iter(left))][:-1], left[next(iter(left))][-1]["deep"]]
    for secret in secrets:
        # The mask itself may complete a secret of stars.
        if len(secret) >= 4 and "*" not in secret:
            assert not any(secret in text for text in texts)


SECRET_NAMES = """
Authorization proxy-authorization Cookie set_cookie token access_token accessToken password db_password passwd secret
client-secret X-API-Key apikey private_key key X-Hub-Signature-256 session credentials jwt signing_key
"""
PLAIN_NAMES = """
execution_id node_id event tokens token_count idempotency_key preview_key keyboard credential_id author sessions monkey
authored_at process
"""


@pytest.mark.parametrize("name", [*SECRET_NAMES.split(), "api key"])
def test_a_name_of_a_secret_is_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", PLAIN_NAMES.split())
def test_an_ordinary_name_is_left(name):
    assert not is_secret_name(name)


NAMED = [
    ({"headers": {"Authorization": "Bearer abcd"}}, {"headers": {"Authorization": "***"}}),
    ([{"password": {"deep": 1}}], [{"password": "***"}]),
    ("GET /?token=abc123&x=1", "GET /?token=***&x=1"),
    ("GET /hooks?api_key=abc HTTP/1.1", "GET /hooks?api_key=*** HTTP/1.1"),
    ("postgresql://ada:hunter2@db/f", "postgresql://ada:***@db/f"),
    ("redis://:hunter2@cache:6379", "redis://:***@cache:6379"),
    ("sent Authorization: Bearer abcdef", "sent Authorization: Bearer ***"),
    ("{'authorization': 'Basic YTpi'}", "{'authorization': 'Basic ***'}"),
    ("http://example.com/a:b@c?x=1", "http://example.com/a:b@c?x=1"),
    ("see https://example.com/?page=2", "see https://example.com/?page=2"),
    ("the token is missing", "the token is missing"),
    (5, 5),
]


@pytest.mark.parametrize(("value", "masked"), NAMED)
def test_what_stands_under_a_secret_name_is_masked(value, masked):
    assert without_named_secrets(value) == masked
