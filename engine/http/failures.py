"""Turns what goes wrong below into an UpstreamError that a person can act on."""

import ssl
from collections.abc import Iterator

import httpcore

from engine.errors import UpstreamError

# What the layers below raise: httpcore for the exchange, OSError (with ssl.SSLError) for what it lets through.
FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
    OSError,
)

_MESSAGES: tuple[tuple[type[Exception], str, str | None], ...] = (
    (ConnectionRefusedError, "{place} refused the connection.", "Check the port, and that the service runs."),
    (httpcore.ConnectTimeout, "{place} did not take the connection in time.", "Try again, or check the address."),
    (httpcore.ConnectError, "{place} cannot be reached.", "Try again, or check this machine's network."),
    (httpcore.RemoteProtocolError, "{place} broke off, or answered with something else than HTTP.", None),
    (httpcore.LocalProtocolError, "The request to {place} cannot be sent as it is.", "Check its method and headers."),
    (Exception, "The connection to {place} broke.", "Try again."),
)


def explain(exc: Exception, place: str) -> UpstreamError:
    """The error to raise for `exc`. Of its own text only what names the trouble is kept: the rest can hold keys.

    Args:
        place: the host, with its port where that is not the usual one.
    """
    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _explain_tls(cause, place)
    message, hint = next(
        (message, hint) for kind, message, hint in _MESSAGES if any(isinstance(cause, kind) for cause in causes)
    )
    retryable = not isinstance(exc, httpcore.LocalProtocolError)
    return UpstreamError(message.format(place=place), hint=hint, retryable=retryable)


def _explain_tls(exc: ssl.SSLError, place: str) -> UpstreamError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        why = exc.verify_message.rstrip(".")
        return UpstreamError(
            f"The certificate of {place} cannot be trusted: {why}.",
            hint="Check the name; for a certificate of your own, set SSL_CERT_FILE to the file of its issuer.",
            retryable=False,
        )
    if exc.reason == "WRONG_VERSION_NUMBER":
        return UpstreamError(
            f"{place} does not speak TLS.", hint="Write http:// if the service has no https.", retryable=False
        )
    return UpstreamError(f"A safe connection to {place} could not be made: {exc.reason}.", hint="Try again.")


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and what it came from, the outermost first."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
