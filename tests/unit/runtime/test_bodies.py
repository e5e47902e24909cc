"""Bodies of calls as JSON data, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.convert import dumps
from engine.runtime.webhooks.bodies import MOST_FIELDS, BadBody, read_body

FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=cut"


def multipart(*parts: str) -> bytes:
    return ("".join(f"--cut\r\n{part}\r\n" for part in parts) + "--cut--\r\n").encode()


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        ("application/vnd.shop+json", b'{"a": 1}', {"a": 1}),
        ("", b'{"a": 1}', {"a": 1}),
        ("", b"plain words", "plain words"),
        ("application/json", b"", None),
        ("application/json", b"null", None),
        ("application/json", b"36893488147419103232", 2**65),
        ("application/json", b'"\\ud800"', "\ud800"),
        ("application/json", b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (FORM, b"a=1&b=&a=2&c=%C3%A9+x", {"a": ["1", "2"], "b": "", "c": "é x"}),
        ("text/plain", "né".encode(), "né"),
        ("text/plain; charset=latin-1", b"n\xe9", {"base64": "buk=", "media_type": "text/plain"}),
        ("application/xml", b"<a/>", "<a/>"),
        ("image/png", b"\x89PNG", {"base64": "iVBORw==", "media_type": "image/png"}),
        ("", b"\xff", {"base64": "/w==", "media_type": "application/octet-stream"}),
    ],
)
def test_a_body_is_read_by_its_content_type(content_type: str, body: bytes, value: Any) -> None:
    assert read_body(content_type, body) == value


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        ("application/json", b"{", "no JSON"),
        ("application/json", b"\xff", "no JSON"),
        ("application/json", b"NaN", "no JSON"),
        ("application/json", b"[" * 100_000, "no JSON"),
        ("application/json", b"[" * 100_000 + b"1" * 20, "no JSON"),
        ("application/json", b"9" * 5_000, "no JSON"),
        (FORM, b"a=\xff", "no form"),
        (FORM, b"&".join([b"a=1"] * (MOST_FIELDS + 1)), "no form"),
        ("text/plain", b"\xff", "no UTF-8"),
        ("multipart/form-data", b"--x\r\n\r\n--x--", "boundary"),
        (PARTS, b"nothing of the kind", "boundary"),
        (PARTS, multipart("\r\nno name"), "no name"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(content_type: str, body: bytes, says: str) -> None:
    with pytest.raises(BadBody, match=says):
        read_body(content_type, body)


def test_a_form_with_files_holds_them_as_base64() -> None:
    body = multipart(
        'Content-Disposition: form-data; name="note"\r\n\r\nhello',
        'Content-Disposition: form-data; name="note"\r\n\r\nagain',
        'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nabc',
    )
    assert read_body(PARTS, body) == {
        "note": ["hello", "again"],
        "file": {"name": "a.txt", "media_type": "text/plain", "base64": "YWJj"},
    }


def test_a_form_with_a_form_in_it_is_refused() -> None:
    head = 'Content-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=in'
    inner = head + "\r\n\r\n--in\r\n\r\nx\r\n--in--"
    with pytest.raises(BadBody, match="parts of its own"):
        read_body(PARTS, multipart(inner))


def _part(text: str) -> str:
    head = f'Content-Disposition: form-data; name="{text}"\r\nContent-Type: {text}\r\n'
    return f"{head}Content-Transfer-Encoding: base64\r\n\r\n{text}"


TYPES = ["", "application/json", FORM, PARTS, "text/plain", "text/plain; charset=nowhere", "x/y"]
ASCII = st.text(st.characters(max_codepoint=127), max_size=60)


@given(
    st.sampled_from([*TYPES, "multipart/form-data; boundary="]),
    st.binary(max_size=300) | st.lists(ASCII.map(_part), max_size=4).map(lambda parts: multipart(*parts)),
)
def test_any_bytes_are_json_data_or_refused(content_type: str, body: bytes) -> None:
    try:
        value = read_body(content_type, body)
    except BadBody:
        return
    dumps(value)


@given(st.text(max_size=200), st.binary(max_size=100))
def test_any_content_type_is_read_or_refused(content_type: str, body: bytes) -> None:
    try:
        read_body(content_type, body)
        read_body(
            f"multipart/form-data; {content_type}", multipart('Content-Disposition: form-data; name="a"\r\n\r\nx')
        )
    except BadBody:
        return
