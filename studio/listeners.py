"""The sockets that a server listens on, made before it so that what is in the way is told at once."""

import socket

from engine.errors import DefinitionError

BACKLOG = 2048


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of a host. Raises DefinitionError where they cannot."""
    sockets = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
    except OSError as exc:
        for listener in sockets:
            listener.close()
        raise DefinitionError(
            f"cannot listen on {host}:{port}: {(exc.strerror or str(exc)).lower()}",
            hint="Stop what uses the port, or choose another: FLOWLEAF_PORT=8001.",
        ) from exc
    return sockets
