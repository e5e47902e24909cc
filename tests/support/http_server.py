"""A real HTTP server on this machine, for tests of what calls one."""

import json
import socket
import ssl
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ITEMS = [
    {"id": 1, "name": "Ada", "country": "UK", "total": 120.5},
    {"id": 2, "name": "Grace", "country": "US", "total": 80},
    {"id": 3, "name": "Linus", "country": "FI", "total": 300},
]

# Name, key and certificate of a host for https; the certificate is its own issuer.
TLS_HOST = "shop.test"
TLS_FILE = Path(__file__).parents[1] / "data" / "shop.test.pem"


@dataclass(frozen=True)
class Received:
    """One request as the server saw it. Header names are in lower case."""

    method: str
    target: str  # path and query as sent
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """What a test sees of the running server."""

    url: str
    port: int
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    server_names: list[str | None] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)


@contextmanager
def http_server(host: str = "127.0.0.1", *, tls: bool = False) -> Iterator[Server]:
    """A server at `server.url`; what it received is in `server.requests`, in order.

    Routes (any method):
        /status/NNN          answers with this status and `{"status": NNN}`
        /redirect?to=URL     redirects, with `status=` (302)
        /slow?s=SECONDS      answers after this time
        /big?bytes=N         N bytes
        /headers?NAME=VALUE  answers with these headers
        /gzip?bytes=N        N zeros, as gzip; `layers=2` packs them twice, `cut=N` leaves out the last N bytes
        /gzip-bomb           256 MB of zeros, as gzip
        /drip?s=SECONDS      sends a byte each time this long is over (0.05), for ever
        /flaky?fail=N&key=K  503 for the first N calls with this key, then 200
        /items               three items, as a JSON list
        any other            the request as JSON: method, target, path, query, headers, body
    """
    with _Listener((host, 0), _Handler) as listener:
        if tls:
            listener.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            listener.tls.load_cert_chain(TLS_FILE)
            listener.tls.sni_callback = lambda _socket, name, _context: listener.seen.server_names.append(name)
        port = listener.server_address[1]
        place = f"[{host}]" if ":" in host else host
        listener.seen = seen = Server(f"{'https' if tls else 'http'}://{place}:{port}", port)
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield seen
        finally:
            seen.stopping.set()
            listener.shutdown()
            thread.join()
            listener.hang_up()


@contextmanager
def raw_server(answer: bytes) -> Iterator[Server]:
    """A server that reads once, sends `answer` as it is and hangs up: for answers that no HTTP library would give."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        seen = Server(f"http://127.0.0.1:{port}", port)

        def serve() -> None:
            while not seen.stopping.is_set():
                connection, _ = listener.accept()
                with connection, suppress(ConnectionError):  # clients may leave before the end
                    seen.connections += 1
                    connection.recv(2**16)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield seen
        finally:
            seen.stopping.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    tls: ssl.SSLContext | None = None
    seen: Server

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: the TLS handshake here does not keep others waiting."""
        self.seen.connections += 1
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)
        self._open.add(request)
        try:
            if not self.seen.stopping.is_set():
                super().finish_request(request, client_address)
        finally:
            self._open.discard(request)
            request.close()

    def hang_up(self) -> None:
        """End the connections that clients keep open, so that their threads end."""
        for connection in list(self._open):
            with suppress(OSError):  # the client may have been first
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are what many tests are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests read `requests`."""

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        received = Received(self.command, self.path, parts.path, query, headers, body)
        self.server.seen.requests.append(received)
        name = parts.path.split("/")[1]
        _ROUTES.get(name, _Handler.echo)(self, received)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any  # noqa: N815

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: object, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def echo(self, received: Received) -> None:
        self.answer_json({**vars(received), "body": received.body.decode("utf-8", errors="replace")})

    def status(self, received: Received) -> None:
        status = int(received.path.split("/")[2])
        if status in (204, 304):
            self.answer(status, b"", {})
        else:
            self.answer_json({"status": status}, status)

    def redirect(self, received: Received) -> None:
        self.answer(int(received.query.get("status", 302)), b"moved", {"Location": received.query["to"]})

    def slow(self, received: Received) -> None:
        self.server.seen.stopping.wait(float(received.query.get("s", 1)))
        self.answer_json({"slow": True})

    def big(self, received: Received) -> None:
        self.answer(200, b"x" * int(received.query["bytes"]), {"Content-Type": "text/plain"})

    def with_headers(self, received: Received) -> None:
        self.answer(200, b"{}", {"Content-Type": "application/json"} | received.query)

    def gzip(self, received: Received) -> None:
        layers = int(received.query.get("layers", 1))
        body = b"".join(_zeros(int(received.query.get("bytes", 2**28))))
        for _ in range(layers - 1):
            body = zlib.compress(body, wbits=31)
        body = body[: len(body) - int(received.query.get("cut", 0))]
        self.answer(200, body, {"Content-Encoding": ", ".join(["gzip"] * layers)})

    def drip(self, received: Received) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while not self.server.seen.stopping.wait(float(received.query.get("s", 0.05))):
            self.wfile.write(b".")

    def flaky(self, received: Received) -> None:
        key = received.query.get("key", "")
        self.server.seen.calls[key] += 1
        failing = self.server.seen.calls[key] <= int(received.query.get("fail", 1))
        self.answer_json({"calls": self.server.seen.calls[key]}, 503 if failing else 200)

    def items(self, received: Received) -> None:
        self.answer_json(ITEMS)


def _zeros(size: int) -> Iterator[bytes]:
    """That many zeros as gzip, without holding them."""
    packer = zlib.compressobj(wbits=31)
    for start in range(0, size, 2**20):
        yield packer.compress(bytes(min(2**20, size - start)))
    yield packer.flush()


_ROUTES: dict[str, Callable[[_Handler, Received], None]] = {
    "status": _Handler.status,
    "redirect": _Handler.redirect,
    "slow": _Handler.slow,
    "big": _Handler.big,
    "headers": _Handler.with_headers,
    "gzip": _Handler.gzip,
    "gzip-bomb": _Handler.gzip,
    "drip": _Handler.drip,
    "flaky": _Handler.flaky,
    "items": _Handler.items,
}
