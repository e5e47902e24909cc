"""Connections that can only go to checked addresses, whatever a name leads to the next time it is asked."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

import httpcore

from engine.errors import UpstreamError
from engine.http.addresses import Address, Allow, check, literal_address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# How long one of several addresses of a host may take before the next is tried: a dead IPv6 route must not cost it all.
_NEXT_ADDRESS_AFTER_S = 3.0


async def system_resolve(host: str, port: int) -> list[str]:
    """The addresses of a host by this machine's resolver, best first."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves once, checks every answer, then connects to a checked address.

    The name stays on the connection above: Host header, server name and certificate check of TLS use it. Since each
    connection comes through here, so does each redirect.
    """

    def __init__(self, allow: Allow, resolve: Resolve = system_resolve) -> None:
        self._allow = allow
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own name
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that answers.

        Raises:
            AddressRefused: one of the addresses is neither public nor allowed.
            UpstreamError: the host has no address.
        """
        *others, last = await self._checked(host, port)
        for address in others:
            try:
                return await self._network.connect_tcp(str(address), port, timeout=_NEXT_ADDRESS_AFTER_S)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(last), port, timeout=timeout)

    async def _checked(self, host: str, port: int) -> list[Address]:
        literal = literal_address(host)
        addresses = [literal] if literal else await self._look_up(host, port)
        check(host, addresses, port, self._allow)
        return addresses

    async def _look_up(self, host: str, port: int) -> list[Address]:
        try:
            answers = await self._resolve(host, port)
        except OSError as exc:
            gone = isinstance(exc, socket.gaierror) and exc.errno != socket.EAI_AGAIN
            raise _not_found(host, retryable=not gone) from exc
        if not answers:
            raise _not_found(host, retryable=False)
        return [_plain(ip_address(answer)) for answer in answers]


def _plain(address: Address) -> Address:
    """An IPv4 address where one was written as IPv6."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _not_found(host: str, *, retryable: bool) -> UpstreamError:
    return UpstreamError(
        f"The name {host} leads to no address.",
        hint="Check its spelling, and that this machine has DNS.",
        retryable=retryable,
    )
