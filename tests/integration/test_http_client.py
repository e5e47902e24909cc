"""The outgoing client against real servers on this machine."""

import asyncio
import gzip
import socket
import time
import zlib
from ipaddress import ip_address

import pytest

from engine.errors import AddressRefused, NodeError, StudioError, UpstreamError
from engine.http import HttpClient
from tests.support.http_server import ITEMS, TLS_FILE, TLS_HOST, http_server, raw_server

SECRET = "hunter2"


@pytest.fixture
def server():
    with http_server() as running:
        yield running


def resolver(*answers, asked=None):
    """Gives the first list of addresses when first asked, then the second ...; the last one for ever."""
    left = list(answers)

    async def resolve(host, port):
        if asked is not None:
            asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


def fetch(method, url, *, allow=("127.0.0.1",), client=None, **options):
    """One request by a client of its own; `client`: its settings."""

    async def call():
        async with HttpClient(allow=allow, **(client or {})) as http:
            return await http.request(method, url, **options)

    return asyncio.run(call())


def failure(*args, kind=UpstreamError, **options):
    with pytest.raises(kind) as raised:
        fetch(*args, **options)
    assert type(raised.value) is kind
    return raised.value


# What is sent


def test_a_request_arrives_as_it_was_meant(server):
    answer = fetch(
        "post",
        f"{server.url}/v1/things?a=%20b&a=c#top",
        headers={"X-Trace": " 7 ", "X-Name": "Zoë"},
        query={"tag": ["x", "y z"], "all": True, "none": None},
        json={"name": "Zoë"},
    )
    seen = answer.json()
    assert seen["method"] == "POST"
    assert seen["target"] == "/v1/things?a=%20b&a=c&tag=x&tag=y+z&all=true&none="
    assert seen["body"] == '{"name":"Zoë"}'
    assert seen["headers"] == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "content-length": "15",
        "content-type": "application/json",
        "user-agent": seen["headers"]["user-agent"],
        "x-name": "Zoë".encode().decode("latin-1"),  # as the server reads bytes
        "x-trace": "7",
    }
    assert seen["headers"]["user-agent"].startswith("flowleaf")


BODIES = [
    ({"json": None}, b"null", "application/json"),
    ({"json": [1, "é"]}, '[1,"é"]'.encode(), "application/json"),
    ({"form": {"a": "b c", "d": [1, 2], "e": None}}, b"a=b+c&d=1&d=2&e=", "application/x-www-form-urlencoded"),
    ({"content": "text é"}, "text é".encode(), None),
    ({"content": b"\x00\xff"}, b"\x00\xff", None),
    ({"content": b"<a/>", "headers": {"content-type": "text/xml"}}, b"<a/>", "text/xml"),
    ({"json": {}, "headers": {"Content-Type": "application/merge-patch+json"}}, b"{}", "application/merge-patch+json"),
    ({}, b"", None),
]


@pytest.mark.parametrize(("options", "body", "content_type"), BODIES)
def test_a_body_is_sent_with_its_type(server, options, body, content_type):
    fetch("PUT", server.url, **options)
    assert server.requests[0].body == body
    assert server.requests[0].headers.get("content-type") == content_type
    assert server.requests[0].headers["content-length"] == str(len(body))


def test_a_query_may_be_pairs_in_their_order(server):
    fetch("GET", f"{server.url}/?z=1", query=[("b", 1), ("a", 2), ("b", 3)])
    assert server.requests[0].target == "/?z=1&b=1&a=2&b=3"


AUTHS = [
    ("", {"auth": ("me", "pä:ss")}, "Basic bWU6cMOkOnNz"),
    ("me:p%40ss@", {}, "Basic bWU6cEBzcw=="),
    ("me@", {}, "Basic bWU6"),
    ("me:x@", {"headers": {"authorization": "Bearer t"}}, "Bearer t"),
    ("me:x@", {"headers": {"Authorization": "Bearer t"}, "auth": ("me", "pä:ss")}, "Basic bWU6cMOkOnNz"),
]


@pytest.mark.parametrize(("user", "options", "header"), AUTHS)
def test_a_user_and_password_become_basic_authorization(server, user, options, header):
    answer = fetch("GET", server.url.replace("//", f"//{user}"), **options)
    assert server.requests[0].headers["authorization"] == header
    assert str(answer.url) == f"{server.url}/" or str(answer.url) == server.url


def test_headers_about_the_connection_are_the_clients_own(server):
    pasted = {"Content-Length": "999", "Transfer-Encoding": "chunked", "Accept-Encoding": "br", "Connection": "close"}
    seen = fetch("POST", server.url, headers=pasted, content="ab").json()["headers"]
    assert (seen["content-length"], seen["accept-encoding"]) == ("2", "gzip, deflate")
    assert "transfer-encoding" not in seen
    assert "connection" not in seen


UNSENDABLE = [
    ({"method": "GET /"}, "'GET /' is not a method"),
    ({"method": "CONNECT"}, "'CONNECT' is not a method"),
    ({"headers": {"X Key": SECRET}}, "'X Key' is not the name of a header"),
    ({"headers": {"": SECRET}}, "'' is not the name of a header"),
    ({"headers": {"X-Key": f"{SECRET}\r\nHost: x"}}, "'X-Key' holds a line break"),
    ({"headers": {"X-Key": f"{SECRET}\0"}}, "'X-Key' holds a line break"),
    ({"headers": {"X-Key": f"{SECRET}\ud800"}}, "half a character"),
    ({"query": {"key": f"{SECRET}\ud800"}}, "half a character"),
    ({"content": f"{SECRET}\ud800"}, "The body cannot be written"),
    ({"json": {"at": time}}, "The body cannot be written: Object of type module is not JSON serializable"),
    ({"json": float("nan")}, "The body cannot be written"),
    ({"url": f"example.com/?key={SECRET}"}, "has no http:// or https://"),
    ({"url": f"ftp://{SECRET}@example.com/"}, "cannot call ftp: addresses"),
]


@pytest.mark.parametrize(("options", "message"), UNSENDABLE)
def test_what_cannot_be_sent_is_explained_without_its_secrets(options, message):
    error = failure(kind=NodeError, **{"method": "GET", "url": "http://127.0.0.1/"} | options)
    assert message in error.message
    assert error.hint
    assert not error.retryable
    assert SECRET not in error.message + error.hint


def test_a_request_has_one_body():
    with pytest.raises(ValueError, match="one body"):
        fetch("POST", "http://127.0.0.1/", json=1, content="a")


# What comes back


@pytest.mark.parametrize("status", [200, 204, 304, 404, 429, 500, 503])
def test_every_status_is_an_answer(server, status):
    assert fetch("GET", f"{server.url}/status/{status}").status_code == status


def test_an_answer_tells_all_there_is_to_know(server):
    answer = fetch("GET", f"{server.url}/redirect?to=/items")
    assert answer.json() == ITEMS
    assert answer.headers["content-type"] == "application/json"
    assert (answer.http_version, answer.reason_phrase) == ("HTTP/1.1", "OK")
    assert str(answer.url) == f"{server.url}/items"
    assert [step.status_code for step in answer.history] == [302]
    assert answer.elapsed.total_seconds() < 10


def test_head_gets_the_headers_of_a_body_that_would_be_too_large(server):
    answer = fetch("HEAD", f"{server.url}/big?bytes=1000", max_body_bytes=10)
    assert (answer.headers["content-length"], answer.content) == ("1000", b"")


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200 OK"), ("GET", b"304 Not Modified")])
def test_the_description_of_a_body_that_is_not_sent_is_no_error(method, status):
    with raw_server(b"HTTP/1.1 %s\r\nContent-Encoding: br\r\nContent-Length: 99999\r\n\r\n" % status) as server:
        answer = fetch(method, server.url, max_body_bytes=10)
    assert (answer.headers["content-length"], answer.content) == ("99999", b"")


def test_a_large_answer_comes_whole(server):
    answer = fetch("GET", f"{server.url}/big?bytes=20000000")
    assert answer.content == b"x" * 20_000_000


def test_no_cookies_are_kept(server):
    async def call():
        async with HttpClient(allow=["127.0.0.1"]) as http:
            first = await http.request("GET", f"{server.url}/headers", query={"Set-Cookie": "a=1; Path=/"})
            await http.request("GET", server.url)
            return first

    assert asyncio.run(call()).cookies["a"] == "1"
    assert "cookie" not in server.requests[1].headers


def test_a_connection_serves_several_requests(server):
    async def call():
        async with HttpClient(allow=["127.0.0.1"]) as http:
            for _ in range(3):
                await http.request("GET", server.url)

    asyncio.run(call())
    assert (len(server.requests), server.connections) == (3, 1)


def test_many_requests_run_at_once(server):
    async def call():
        async with HttpClient(allow=["127.0.0.1"]) as http:
            return await asyncio.gather(*(http.request("GET", f"{server.url}/slow?s=0.4") for _ in range(10)))

    started = time.monotonic()
    assert len(asyncio.run(call())) == 10
    assert time.monotonic() - started < 3


def test_proxies_of_the_environment_are_ignored(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch("GET", f"{server.url}/items").json() == ITEMS


def answered(body, coding):
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (coding, len(body), body)


def gzipped(data):
    return gzip.compress(data, mtime=0)  # the same each time: tests are named by it


def raw_deflate(text):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(text) + packer.flush()


TEXT = b"a text that is packed, " * 10_000
PACKED = [
    (gzipped(TEXT), b"gzip"),
    (gzipped(TEXT), b"X-GZIP"),
    (zlib.compress(TEXT), b"deflate"),
    (raw_deflate(TEXT), b"deflate"),
    (gzipped(zlib.compress(TEXT)), b"deflate, gzip"),
    (gzipped(TEXT), b"identity, gzip,"),
    (TEXT, b"identity"),
    (gzipped(TEXT[:1000]) + gzipped(TEXT[1000:]), b"gzip"),
    (gzipped(TEXT) + b"\0" * 20, b"gzip"),
    (gzipped(TEXT) + b"\0", b"gzip"),
]


@pytest.mark.parametrize(("body", "coding"), PACKED)
def test_a_packed_answer_is_unpacked(body, coding):
    with raw_server(answered(body, coding)) as server:
        answer = fetch("GET", server.url)
    assert answer.content == TEXT
    assert "content-encoding" not in answer.headers


def test_an_empty_answer_may_be_called_packed():
    with raw_server(answered(b"", b"gzip")) as server:
        assert fetch("GET", server.url).content == b""


NOT_UNPACKED = [
    (b"hello", b"gzip", "damaged", True),
    (b"\x1f", b"gzip", "cut short", True),
    (gzipped(TEXT)[:-3], b"gzip", "cut short", True),
    (gzipped(TEXT) + gzipped(TEXT)[:10], b"gzip", "cut short", True),
    (b"hello", b"br", "'br', which was not asked for", False),
    (b"hello", b"gzip, " * 5000, "which was not asked for", False),
]


@pytest.mark.parametrize(("body", "coding", "message", "retryable"), NOT_UNPACKED)
def test_an_answer_that_cannot_be_unpacked_is_explained(body, coding, message, retryable):
    with raw_server(answered(body, coding)) as server:
        error = failure("GET", server.url)
    assert message in error.message
    assert error.retryable is retryable


# Bounds


TOO_LARGE = ["/big?bytes=1000001", "/gzip?bytes=1000001", "/gzip-bomb", "/gzip?bytes=50000000&layers=2"]


@pytest.mark.parametrize("path", TOO_LARGE)
def test_an_answer_over_the_limit_is_refused(server, path):
    error = failure("GET", f"{server.url}{path}", client={"max_body_bytes": 1_000_000})
    assert "127.0.0.1" in error.message
    assert "sent more than 1000000 bytes" in error.message
    assert not error.retryable


def test_an_answer_at_the_limit_is_not(server):
    for path in ("/big?bytes=1000000", "/gzip?bytes=1000000"):
        assert len(fetch("GET", f"{server.url}{path}", max_body_bytes=1_000_000).content) == 1_000_000


def test_an_endless_answer_ends_at_the_limit():
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5_000_000
    with raw_server(endless) as server:
        assert "more than 2 MB" in failure("GET", server.url, max_body_bytes=2 * 2**20).message


def test_an_answer_that_packs_much_into_nothing_ends_at_the_limit():
    empty = gzipped(b"") * 100_000
    with raw_server(answered(empty, b"gzip")[:-1].replace(b"Content-Length: 2000000", b"X: y")) as server:
        assert "more than 1000000 bytes" in failure("GET", server.url, max_body_bytes=1_000_000).message


def test_a_bomb_never_grows_beyond_the_limit():
    # A thousandth of a thousandth: 64 kB of this would be 64 GB.
    bomb = gzipped(gzipped(bytes(100_000_000)))
    assert len(bomb) < 2000
    with raw_server(answered(bomb, b"gzip, gzip")) as server:
        started = time.monotonic()
        failure("GET", server.url, max_body_bytes=100_000)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("path", ["/slow?s=30", "/drip", "/redirect?to=/slow?s=30"])
def test_the_time_limit_is_for_the_whole_exchange(server, path):
    started = time.monotonic()
    error = failure("GET", f"{server.url}{path}", timeout_s=0.3)
    assert 0.2 < time.monotonic() - started < 10
    assert error.message == f"127.0.0.1:{server.port} did not answer within 0.3 s."
    assert error.retryable


def test_the_time_limit_covers_looking_up_the_name():
    async def resolve(host, port):
        await asyncio.sleep(30)
        return ["127.0.0.1"]

    error = failure("GET", "http://slow.test/", client={"resolve": resolve, "timeout_s": 0.1})
    assert error.message == "slow.test did not answer within 0.1 s."


def test_more_redirects_than_the_limit_are_an_error(server):
    loop = f"{server.url}/redirect?to=/redirect%3Fto%3D/redirect%253Fto%253D/items"
    assert fetch("GET", loop, client={"max_redirects": 3}).json() == ITEMS
    error = failure("GET", loop, client={"max_redirects": 2})
    assert error.message == f"127.0.0.1:{server.port} redirected more than 2 times."
    assert not error.retryable


def test_headers_without_end_are_an_error():
    with raw_server(b"HTTP/1.1 200 OK\r\n" + b"X-Header: value\r\n" * 20_000) as server:
        failure("GET", server.url)


def test_cancelling_stops_at_once(server):
    async def call():
        async with HttpClient(allow=["127.0.0.1"]) as http:
            task = asyncio.create_task(http.request("GET", f"{server.url}/slow?s=30"))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await http.request("GET", f"{server.url}/items")).json()

    started = time.monotonic()
    assert asyncio.run(call()) == ITEMS
    assert time.monotonic() - started < 10


# Addresses


FORMS = [
    "127.0.0.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "me:x@127.0.0.1",
    "127.0.0.1.",
    "[::1]",
    "localhost",
]
FORMS += ["LOCALHOST.", "１２７.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "0", "10.0.0.1"]


def test_addresses_that_are_not_public_are_refused_in_every_form(server):
    async def call():
        async with HttpClient(timeout_s=5) as http:
            for form in FORMS:
                with pytest.raises(AddressRefused, match="HTTP nodes may not call it"):
                    await http.request("GET", f"http://{form}:{server.port}/?key={SECRET}")

    asyncio.run(call())
    assert server.connections == 0


@pytest.mark.parametrize("answers", [["10.0.0.5"], ["93.184.216.34", "10.0.0.5"], ["2606:4700::1", "::ffff:127.0.0.1"]])
def test_a_name_is_refused_unless_all_its_addresses_are_public(answers):
    asked = []
    error = failure(
        "GET",
        f"https://shop.test/?key={SECRET}",
        allow=(),
        client={"resolve": resolver(answers, asked=asked)},
        kind=AddressRefused,
    )
    private = ip_address(answers[-1])
    assert f"shop.test is {getattr(private, 'ipv4_mapped', None) or private}" in error.message
    assert error.hint == "Set FLOWLEAF_HTTP_ALLOW=shop.test to let HTTP nodes call it."
    assert asked == ["shop.test"]


def test_the_name_is_kept_on_a_connection_to_the_checked_address(server):
    answer = fetch(
        "GET", f"http://shop.test:{server.port}/", allow=["shop.test"], client={"resolve": resolver(["127.0.0.1"])}
    )
    assert answer.json()["headers"]["host"] == f"shop.test:{server.port}"


def test_a_name_is_looked_up_once_for_a_connection(server):
    asked = []
    resolve = resolver(["127.0.0.1"], ["10.0.0.5"], asked=asked)
    answer = fetch("GET", f"http://shop.test:{server.port}/items", client={"resolve": resolve})
    assert answer.json() == ITEMS
    assert asked == ["shop.test"]


def test_a_name_that_changes_its_address_is_checked_again(server):
    async def call():
        resolve = resolver(["127.0.0.1"], ["127.0.0.2"])
        async with HttpClient(allow=["127.0.0.1"], resolve=resolve) as http:
            # A redirect that is followed closes its connection, so the next one asks again.
            with pytest.raises(AddressRefused, match=r"shop\.test is 127\.0\.0\.2"):
                await http.request("GET", f"http://shop.test:{server.port}/redirect?to=/items")

    asyncio.run(call())
    assert [received.path for received in server.requests] == ["/redirect"]


def test_the_next_address_is_tried_when_one_does_not_answer(server):
    resolve = resolver(["127.0.0.2", "127.0.0.1"])
    answer = fetch("GET", f"http://shop.test:{server.port}/items", allow=["127.0.0.0/8"], client={"resolve": resolve})
    assert answer.json() == ITEMS


def test_the_port_of_an_allowed_host_counts(server):
    url = f"{server.url}/items"
    assert fetch("GET", url, allow=[f"127.0.0.1:{server.port}"]).json() == ITEMS
    failure("GET", url, allow=[f"127.0.0.1:{server.port + 1}"], kind=AddressRefused)


def test_ipv6_works_when_allowed():
    with http_server("::1") as server:
        answer = fetch("GET", server.url, allow=["::1"])
        assert answer.json()["headers"]["host"] == f"[::1]:{server.port}"


# Redirects


def test_a_redirect_to_an_address_that_may_not_be_called_is_refused(server):
    for target in (
        "http://127.0.0.2/",
        "http://2130706434/",
        "//[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1%25eth0]/",
    ):
        failure("GET", f"{server.url}/redirect", query={"to": target}, kind=AddressRefused)
    assert {received.path for received in server.requests} == {"/redirect"}


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://example.com/", "http://exa^mple/", "http://[::1/", "http://a:b/"]
)
def test_a_redirect_to_no_web_address_is_an_error(server, target):
    error = failure("GET", f"{server.url}/redirect", query={"to": f"{target}?{SECRET}"})
    assert error.message.startswith(f"127.0.0.1:{server.port} redirects to no web address")
    assert SECRET not in error.message
    assert not error.retryable


METHODS = [
    (301, "POST", "GET", b""),
    (302, "POST", "GET", b""),
    (303, "POST", "GET", b""),
    (303, "PUT", "GET", b""),
    (303, "HEAD", "HEAD", b""),
    (307, "POST", "POST", b"body"),
    (308, "POST", "POST", b"body"),
    (307, "DELETE", "DELETE", b"body"),
    (301, "PUT", "PUT", b"body"),
    (302, "GET", "GET", b""),
]


@pytest.mark.parametrize(("status", "method", "then", "body"), METHODS)
def test_a_redirect_keeps_method_and_body_as_the_standard_says(server, status, method, then, body):
    sent = {} if method in ("GET", "HEAD") else {"content": b"body", "headers": {"Content-Type": "text/plain"}}
    fetch(method, f"{server.url}/redirect?to=/end&status={status}", **sent)
    last = server.requests[-1]
    assert (last.path, last.method, last.body) == ("/end", then, body)
    assert ("content-type" in last.headers) == bool(body)


def test_a_redirect_is_not_followed_on_request(server):
    answer = fetch("GET", f"{server.url}/redirect?to=http://10.0.0.1/", follow_redirects=False)
    assert (answer.status_code, answer.content) == (302, b"moved")


def test_a_redirect_without_location_is_an_answer(server):
    assert fetch("GET", f"{server.url}/status/302").json() == {"status": 302}


def test_a_relative_redirect_may_hold_spaces_and_users_are_left_out(server):
    fetch("GET", f"{server.url}/a/redirect/x?to=1")
    fetch("GET", f"{server.url}/redirect", query={"to": f"http://me:x@127.0.0.1:{server.port}/red shoes?q=ü"})
    assert server.requests[-1].target == "/red%20shoes?q=%C3%BC"
    assert "authorization" not in server.requests[-1].headers


SECRETS = {"X-Api-Key": SECRET, "Cookie": "session=1", "Authorization": "Bearer t", "Private-Token": SECRET}


def test_another_origin_gets_no_header_that_could_be_a_key(server):
    with http_server() as other:
        harmless = {"Accept": "text/csv", "Accept-Language": "de", "User-Agent": "mine", "Content-Type": "text/x"}
        back = f"{other.url}/redirect?status=307&to={server.url}/end"
        fetch(
            "POST", f"{server.url}/redirect", query={"to": back, "status": 307}, headers=SECRETS | harmless, content="a"
        )
        (seen,) = other.requests
    last = server.requests[-1].headers
    for received in (seen.headers, last):
        assert not {name.lower() for name in SECRETS} & set(received)
        assert {name.lower(): value for name, value in harmless.items()}.items() <= received.items()
    assert seen.headers["host"] == f"127.0.0.1:{other.port}"
    assert server.requests[-1].body == b"a"


def test_the_same_origin_keeps_all_headers(server):
    fetch("GET", f"{server.url}/redirect?to=/end", headers=SECRETS, auth=("me", "x"))
    seen = server.requests[-1].headers
    assert (seen["x-api-key"], seen["cookie"], seen["authorization"]) == (SECRET, "session=1", "Basic bWU6eA==")


# TLS


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS_FILE))
    with http_server(tls=True) as running:
        yield running


def test_tls_checks_the_name_though_the_address_is_called(shop):
    answer = fetch("GET", f"https://{TLS_HOST}:{shop.port}/items", client={"resolve": resolver(["127.0.0.1"])})
    assert answer.json() == ITEMS
    assert shop.server_names == [TLS_HOST]


def test_a_certificate_for_another_name_is_refused(shop):
    error = failure("GET", f"https://other.test:{shop.port}/", client={"resolve": resolver(["127.0.0.1"])})
    assert error.message.startswith(f"The certificate of other.test:{shop.port} cannot be trusted: Hostname mismatch")
    assert not error.retryable
    assert shop.requests == []


def test_a_certificate_of_an_unknown_issuer_is_refused(shop, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    error = failure("GET", f"https://{TLS_HOST}:{shop.port}/", client={"resolve": resolver(["127.0.0.1"])})
    assert "self-signed certificate" in error.message
    assert "SSL_CERT_FILE" in error.hint


def test_a_redirect_from_https_to_http_is_refused(shop, server):
    url = f"https://{TLS_HOST}:{shop.port}/redirect?to={server.url}/items"
    error = failure("GET", url, client={"resolve": resolver(["127.0.0.1"])})
    assert error.message.startswith(f"{TLS_HOST}:{shop.port} redirects from https to http")
    assert server.requests == []


def test_https_to_a_plain_server_is_explained(server):
    error = failure("GET", server.url.replace("http", "https"))
    assert error.message == f"127.0.0.1:{server.port} does not speak TLS."
    assert not error.retryable


def test_a_safe_connection_that_cannot_be_made_is_explained():
    with raw_server(b"\x15\x03\x01\x00\x02\x02\x28") as server:  # a TLS alert: handshake failure
        error = failure("GET", server.url.replace("http", "https"))
    assert error.message.startswith(f"A safe connection to 127.0.0.1:{server.port} could not be made: ")


# Failures


BROKEN = [
    (b"", "broke off, or answered with something else than HTTP"),
    (b"220 mail.example ESMTP\r\n", "broke off, or answered with something else than HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "broke off, or answered with something else than HTTP"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "broke off, or answered with something else"),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "127.0.0.1"),
]


@pytest.mark.parametrize(("sent", "message"), BROKEN)
def test_a_broken_answer_is_explained_and_may_be_tried_again(sent, message):
    with raw_server(sent) as server:
        error = failure("GET", f"{server.url}/?key={SECRET}")
    assert message in error.message
    assert error.message.count(f"127.0.0.1:{server.port}") == 1
    assert error.retryable


def test_a_connection_that_is_refused_is_explained():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure("GET", f"http://127.0.0.1:{port}/?key={SECRET}")
    assert error.message == f"127.0.0.1:{port} refused the connection."
    assert error.retryable


def test_a_connection_that_breaks_is_explained():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def call():
            async with HttpClient(allow=["127.0.0.1"]) as http:
                task = asyncio.create_task(http.request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/"))
                connection, _ = await asyncio.to_thread(listener.accept)
                # Closing with a linger of 0 s resets the connection.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()
                await task

        with pytest.raises(UpstreamError, match=r"The connection to 127\.0\.0\.1:\d+ broke"):
            asyncio.run(call())


LOOK_UPS = [
    (socket.gaierror(socket.EAI_NONAME, "no"), False),
    (socket.gaierror(socket.EAI_AGAIN, "later"), True),
    (OSError("odd"), True),
    ([], False),
]


@pytest.mark.parametrize(("answer", "retryable"), LOOK_UPS)
def test_a_name_that_leads_nowhere_is_explained(answer, retryable):
    async def resolve(host, port):
        if isinstance(answer, OSError):
            raise answer
        return answer

    error = failure("GET", f"https://nowhere.test/?key={SECRET}", client={"resolve": resolve})
    assert error.message == "The name nowhere.test leads to no address."
    assert error.retryable is retryable


def test_no_error_shows_path_query_or_password(server):
    for path in ("/status/200", "/slow?s=30", "/big?bytes=100", "/gzip?cut=5", "/redirect?to=/redirect", "/drip"):
        url = f"{server.url}{path}".replace("//", f"//me:{SECRET}@", 1)
        try:
            fetch("GET", url, query={"key": SECRET}, timeout_s=0.1, max_body_bytes=20)
        except StudioError as error:
            assert SECRET not in str(error.as_json())
            assert path not in str(error.as_json())


def test_a_flaky_service_answers_later(server):
    url = f"{server.url}/flaky?fail=2&key=a"
    assert [fetch("GET", url).status_code for _ in range(3)] == [503, 503, 200]
