"""The kinds of credentials: their fields, which of them are secret, and what a node gets to send.

header   name, value            one header
bearer   token                  Authorization: Bearer
basic    user, password         Authorization: Basic
hmac     secret and its form    a signature of the body; checked on webhooks, see signatures.py
"""

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import CredentialError, did_you_mean

# RFC 9110, 5.6.2: a token.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Set by the connection itself; a second one would contradict it.
NOT_OURS = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)


def _header_name(name: str) -> str:
    if not TOKEN.fullmatch(name):
        raise ValueError("a header's name is letters, digits and - without spaces, such as X-API-Key")
    if name.lower() in NOT_OURS:
        raise ValueError("this header is set by the connection itself")
    return name


def _header_text(text: str) -> str:
    """RFC 9110, 5.5, without obs-text, which clients read each in their own way."""
    if text != text.strip():
        raise ValueError("it begins or ends with a space or a line break")
    if not all(" " <= character <= "~" or character == "\t" for character in text):
        raise ValueError("a header holds printable ASCII characters, and no line breaks")
    return text


def _one_word(text: str) -> str:
    if any(character <= " " for character in text):
        raise ValueError("there is a space or a line break in it")
    return _header_text(text)


def _no_controls(text: str) -> str:
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("there is a line break or another control character in it")
    return text


def _user(user: str) -> str:
    if ":" in user:
        raise ValueError("a user's name holds no colon (RFC 7617)")
    return _no_controls(user)


# Constraints stand before our own checks: only a constrained string is refused for lone surrogates.
Secret = Field(min_length=1, max_length=8192, repr=False, json_schema_extra={"writeOnly": True})
HeaderName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_header_name)]


class _Kind(BaseModel):
    # hide_input: what was typed may be the secret, also under a mistyped name.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)


class Header(_Kind):
    """One header, such as X-API-Key, with a secret value."""

    name: HeaderName
    value: Annotated[str, Secret, AfterValidator(_header_text)]


class Bearer(_Kind):
    """A token, sent as Authorization: Bearer."""

    token: Annotated[str, Secret, AfterValidator(_one_word)]


class Basic(_Kind):
    """A user and a password, sent as Authorization: Basic, in UTF-8 (RFC 7617)."""

    user: Annotated[str, Field(max_length=1024), AfterValidator(_user)]
    password: Annotated[str, Secret, AfterValidator(_no_controls)]


class Hmac(_Kind):
    """A secret that signs bodies. A preset sets the form of the signature; its fields cannot be set beside it."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType(
        {
            "github": {"header": "X-Hub-Signature-256", "prefix": "sha256="},
            "stripe": {"header": "Stripe-Signature"},
            "slack": {
                "header": "X-Slack-Signature",
                "prefix": "v0=",
                "timestamp_header": "X-Slack-Request-Timestamp",
            },
        }
    )
    FORM: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"header": "", "algorithm": "sha256", "encoding": "hex", "prefix": "", "timestamp_header": ""}
    )

    secret: Annotated[str, Secret]
    preset: Literal["none", "github", "stripe", "slack"] = "none"
    header: Annotated[str, Field(max_length=200)] = ""
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Field(max_length=50), AfterValidator(_header_text)] = ""
    timestamp_header: Annotated[str, Field(max_length=200)] = ""
    tolerance_s: int = Field(300, ge=1, le=86_400)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        """The form that the preset stands for."""
        preset = cls.PRESETS.get(str(data.get("preset"))) if isinstance(data, Mapping) else None
        if preset is None:
            return data
        form = {**cls.FORM, **preset}
        for name, value in form.items():
            # Its own values are taken back, so that what was shown can be sent again.
            if data.get(name, value) not in (value, cls.FORM[name]):
                raise ValueError(f"the preset {data['preset']} sets {name}: leave it out")
        return {**data, **form}

    @model_validator(mode="after")
    def _headers(self) -> "Hmac":
        if not self.header:
            raise ValueError("header: name the header that holds the signature, or choose a preset")
        for name in filter(None, (self.header, self.timestamp_header)):
            _header_name(name)
        if self.header.lower() == self.timestamp_header.lower():
            raise ValueError("timestamp_header: the time stands in a header of its own")
        return self


KINDS: Mapping[str, type[_Kind]] = MappingProxyType({"header": Header, "bearer": Bearer, "basic": Basic, "hmac": Hmac})


class FieldNames(NamedTuple):
    """The names of a kind's fields."""

    secret: tuple[str, ...]
    shown: tuple[str, ...]


def fields_of(kind: str) -> FieldNames:
    """Which fields are secret, never to be given out, and which may be shown. Raises CredentialError."""
    fields = _model(kind).model_fields.items()
    return FieldNames(
        tuple(name for name, info in fields if not info.repr), tuple(name for name, info in fields if info.repr)
    )


def shown(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that may be shown, with their values."""
    return {name: fields[name] for name in fields_of(kind).shown if name in fields}


def validate(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are kept, with every default written out.

    Raises:
        CredentialError: an unknown kind, or fields that do not fit it; names all of them and no value.
    """
    model = _model(kind)
    try:
        return model.model_validate(dict(fields)).model_dump()
    except ValidationError as exc:
        problems, hints = [], []
        for error in exc.errors(include_url=False, include_input=False, include_context=False):
            place = ".".join(map(str, error["loc"]))
            said = error["msg"].removeprefix("Value error, ")
            if error["type"] == "extra_forbidden":
                said = "there is no such field"
                hints.append(did_you_mean(place, model.model_fields))
            problems.append(f"{place}: {said[:1].lower()}{said[1:]}" if place else said)
        # Not `from exc`: its errors() hold the input.
        raise CredentialError(
            f"a credential of the kind {kind} cannot be made of this: {'; '.join(problems)}",
            hint=" ".join(hints) or None,
        ) from None


def outgoing(name: str, kind: str, fields: Mapping[str, Any]) -> dict[str, str]:
    """What a node gets as `ctx.credential(...)`: the kind and the fields to send, all as text.

    Args:
        name: of the credential, for messages.

    Raises:
        CredentialError: what is kept does not fit its kind.
    """
    wanted = [field for field in _model(kind).model_fields if field not in ("tolerance_s", "preset")]
    if missing := [field for field in wanted if not isinstance(fields.get(field), str)]:
        raise CredentialError(
            f"the credential {name!r} has no {' and no '.join(missing)}", hint="Enter its fields anew."
        )
    return {"kind": kind, **{field: fields[field] for field in wanted}}


def secrets_of(kind: str, fields: Mapping[str, Any]) -> list[str]:
    """Every secret text of the fields, also in the forms in which it is sent: what a Redactor has to look for."""
    found = [str(fields[name]) for name in fields_of(kind).secret if fields.get(name)]
    if kind == "basic" and "password" in fields:
        found.append(basic_text(str(fields.get("user", "")), str(fields["password"])))
    if kind == "header":
        # `Bearer abc` is kept as one value; services give back the part behind the scheme.
        found += [part for value in found for _, _, part in [value.partition(" ")] if part]
    return found


def basic_text(user: str, password: str) -> str:
    """What stands behind `Basic` in the header (RFC 7617)."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _model(kind: str) -> type[_Kind]:
    try:
        return KINDS[kind]
    except KeyError:
        raise CredentialError(f"there is no kind of credential {kind!r}", hint=did_you_mean(kind, KINDS)) from None
