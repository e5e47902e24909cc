"""The body of an incoming call as JSON data, by its content type."""

import base64
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from engine.convert import loads

MOST_FIELDS = 10_000


class BadBody(ValueError):
    """The body is not what its content type says."""


def read_body(content_type: str, body: bytes) -> Any:
    """JSON as it is; a form as an object of its fields; text as text; other bytes as `{"base64", "media_type"}`.

    A field that comes twice is a list. An uploaded file is `{"name", "media_type", "base64"}`. No body is null.

    Raises:
        BadBody: the message says what is wrong.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if not body:
        return None
    if media_type in ("", "application/json") or media_type.endswith("+json"):
        try:
            return loads(body)
        except ValueError as exc:
            if media_type:
                raise BadBody(f"the body is no JSON: {exc}") from exc
    if media_type == "application/x-www-form-urlencoded":
        try:
            return _object(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
        except ValueError as exc:
            raise BadBody(f"the body is no form: {exc}") from exc
    if media_type == "multipart/form-data":
        return _multipart(content_type, body)
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        if media_type.startswith("text/") and "charset" not in content_type.lower():
            raise BadBody(f"the body is no UTF-8 text: byte {exc.start}") from exc
        return _bytes(body, media_type)
    return text if media_type.startswith("text/") or not media_type or "xml" in media_type else _bytes(body, media_type)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _bytes(body: bytes, media_type: str) -> dict[str, str]:
    return {"base64": base64.b64encode(body).decode(), "media_type": media_type or "application/octet-stream"}


def _multipart(content_type: str, body: bytes) -> dict[str, Any]:
    """RFC 7578, read by the library's MIME parser."""
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart() or message.defects:
        raise BadBody("the body is no multipart form: its boundary is missing or wrong")
    pairs: list[tuple[str, Any]] = []
    for part in message.get_payload():
        assert isinstance(part, Message)
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise BadBody("a part of the multipart form has no name")
        data = part.get_payload(decode=True)
        if not isinstance(data, bytes):
            raise BadBody(f"the part {name!r} of the multipart form has parts of its own")
        file_name = part.get_filename()
        if file_name is not None:
            pairs.append((name, {"name": file_name, **_bytes(data, part.get_content_type())}))
        else:
            pairs.append((name, data.decode("utf-8", "replace")))
    return _object(pairs)
