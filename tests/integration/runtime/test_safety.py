"""Who may talk to the web process: every route, asked by those who may not and those who may."""

import asyncio
import re
import stat
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from engine.errors import DefinitionError
from engine.runtime import schema
from engine.runtime.parts import Parts
from engine.runtime.settings import Settings
from studio.place import is_loopback, require_password
from studio.safety import own_addresses
from studio.sessions import SESSION_COOKIE, SESSION_S, Sessions, Throttle, load_token, new_key, use_key
from studio.web import web_app

HERE = "http://127.0.0.1:8000"
EVIL = "https://evil.example.com"
OPEN = ["/", "/livez", "/readyz", "/hooks/x", "/hooks-test/x", "/resume/x", "/static/x.css"]


@asynccontextmanager
async def web(home, **settings):
    """A client of the whole app; what it stores is in `home`."""
    home.mkdir(exist_ok=True)
    parts = Parts(Settings(home=home, **settings))
    await asyncio.to_thread(schema.upgrade, parts.store)
    app = web_app(parts)
    told, said = asyncio.Queue(), asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan"}, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
        client.token = load_token(home)
        yield client
    await told.put({"type": "lifespan.shutdown"})
    await said.get()
    await living


@pytest.fixture
def run(tmp_path):
    """Runs a coroutine function with a client."""

    def go(test, **settings):
        async def inside():
            async with asyncio.timeout(60), web(tmp_path / "home", **settings) as client:
                await test(client)

        asyncio.run(inside())

    return go


async def routes(client) -> list[tuple[str, str]]:
    """Method and path of everything the API has, and of all others that need a sign-in."""
    described = (await client.get("/api/openapi.json", headers={"authorization": f"Bearer {client.token}"})).json()
    found = [
        (method.upper(), re.sub(r"{[^}]+}", "0", path))
        for path, methods in described["paths"].items()
        for method in methods
    ]
    assert len(found) > 15
    return [*found, ("GET", "/api/openapi.json"), ("GET", "/metrics"), ("GET", "/anything"), ("POST", "/api")]


def test_every_route_refuses_a_foreign_origin_a_foreign_host_and_callers_without_a_token(run):
    async def test(client):
        bearer = {"authorization": f"Bearer {client.token}"}
        for method, path in await routes(client):
            for origin in (EVIL, "null", "http://127.0.0.1:8001", "http://localhost:8000.evil.example.com"):
                answer = await client.request(method, path, headers=bearer | {"origin": origin})
                assert (answer.status_code, answer.json()["code"]) == (403, "origin.foreign"), (method, path, origin)
            for host in ("evil.example.com", "evil.example.com:8000", "127.0.0.1:8001", "localhost", ""):
                answer = await client.request(method, path, headers=bearer | {"host": host})
                assert (answer.status_code, answer.json()["code"]) == (421, "host.unknown"), (method, path, host)
            for wrong in ({}, {"authorization": "Bearer x"}, {"authorization": f"bearer {client.token}x"},
                          {"cookie": f"{SESSION_COOKIE}=a.99999999999.b"}, {"cookie": SESSION_COOKIE}):  # fmt: skip
                answer = await client.request(method, path, headers=wrong)
                assert (answer.status_code, answer.json()["code"]) == (401, "auth.missing"), (method, path, wrong)

    run(test)


def test_open_routes_answer_without_a_sign_in_but_for_hosts_of_ours_only(run):
    async def test(client):
        for path in OPEN:
            assert (await client.get(path)).status_code != 401, path
            for host in ("evil.example.com", "127.0.0.1:1"):
                assert (await client.get(path, headers={"host": host})).status_code == 421, path
        for path in ("/livez", "/readyz", "/resume/x", "/", "/signin", "/signout"):
            assert (await client.post(path, headers={"origin": EVIL})).status_code == 403, path
        assert (await client.post("/hooks/x", headers={"origin": EVIL})).status_code == 404  # their cors decides
        assert (await client.post("/resume/x")).json()["code"] == "resume.unknown"

    run(test)


def test_a_websocket_of_a_foreign_page_is_refused(tmp_path):
    async def inside():
        (tmp_path / "home").mkdir()
        parts = Parts(Settings(home=tmp_path / "home"))
        app = web_app(parts)
        said = []

        async def send(message):
            said.append(message)

        for headers in ([(b"host", b"127.0.0.1:8000"), (b"origin", EVIL.encode())], [(b"host", b"127.0.0.1:8000")]):
            await app({"type": "websocket", "path": "/api/live", "headers": headers}, None, send)
        assert [message["type"] for message in said] == ["websocket.close", "websocket.close"]
        await parts.close()

    asyncio.run(inside())


def test_the_token_opens_the_api_and_the_metrics(run):
    async def test(client):
        bearer = {"authorization": f"Bearer {client.token}"}
        assert (await client.get("/api/v1/workflows", headers=bearer)).json() == {"items": [], "next": None}
        assert (await client.get("/api/v1/workflows", headers=bearer | {"origin": HERE})).status_code == 200
        assert b"flowleaf_claims" in (await client.get("/metrics", headers=bearer)).content
        assert (await client.get("/anything", headers=bearer)).status_code == 404

    run(test)


def test_the_token_is_made_once_and_for_this_user_only(tmp_path):
    first = load_token(tmp_path)
    assert len(first) >= 40
    assert load_token(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    (tmp_path / "token").write_text("")
    assert load_token(tmp_path) not in ("", first)


def test_the_one_time_address_signs_in_once(run, tmp_path):
    async def test(client):
        key = new_key(tmp_path / "home")
        assert (await client.head(f"/?key={key}")).status_code == 200  # a preview of the address spends nothing
        answer = await client.get(f"/?key={key}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie
        page = await client.get("/")
        assert "Flowleaf is running" in page.text
        assert (await client.get("/api/v1/workflows")).status_code == 200
        client.cookies.clear()
        again = await client.get(f"/?key={key}")
        assert (again.status_code, "set-cookie" in again.headers) == (403, False)

    run(test)


def test_a_one_time_key_is_good_for_ten_minutes_and_until_the_next_one(tmp_path):
    late, old = new_key(tmp_path, lasts_s=-1), ""
    assert not use_key(tmp_path, late)
    old, new = new_key(tmp_path), new_key(tmp_path)
    assert not use_key(tmp_path, old)
    assert not use_key(tmp_path, "")
    assert use_key(tmp_path, new)
    assert not use_key(tmp_path, new)


def test_a_session_writes_for_our_own_pages_only(run, tmp_path):
    async def test(client):
        await client.get(f"/?key={new_key(tmp_path / 'home')}")
        for headers, status in (
            ({}, 403),
            ({"sec-fetch-site": "cross-site"}, 403),
            ({"sec-fetch-site": "same-site"}, 403),
            ({"origin": EVIL, "sec-fetch-site": "same-origin"}, 403),
            ({"origin": HERE}, 404),
            ({"sec-fetch-site": "same-origin"}, 404),
        ):
            answer = await client.delete("/api/v1/workflows/" + "0" * 32, headers=headers)
            assert answer.status_code == status, headers

    run(test)


def test_a_session_ends_by_sign_out_and_others_go_on(run, tmp_path):
    async def test(client):
        await client.get(f"/?key={new_key(tmp_path / 'home')}")
        value = client.cookies[SESSION_COOKIE]
        await client.get(f"/?key={new_key(tmp_path / 'home')}")
        other = client.cookies[SESSION_COOKIE]
        client.cookies.clear()
        mine = {"cookie": f"{SESSION_COOKIE}={value}"}
        assert (await client.post("/signout", headers=mine)).status_code == 403
        out = await client.post("/signout", headers=mine | {"origin": HERE})
        assert out.status_code == 303 and "Max-Age=0" in out.headers["set-cookie"]
        client.cookies.clear()
        assert (await client.get("/api/v1/workflows", headers=mine)).status_code == 401
        theirs = {"cookie": f"{SESSION_COOKIE}={other}"}
        assert (await client.get("/api/v1/workflows", headers=theirs)).status_code == 200

    run(test)


def test_the_password_signs_in_and_wrong_ones_make_one_wait(run):
    async def test(client):
        for _ in range(5):
            wrong = await client.post("/signin", data={"password": "nope"}, headers={"origin": HERE})
            assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
        right = {"password": "correct ü horse"}
        early = await client.post("/signin", data=right, headers={"origin": HERE})
        assert early.status_code == 429 and int(early.headers["retry-after"]) >= 1
        await asyncio.sleep(1.1)
        answer = await client.post("/signin", data=right, headers={"origin": HERE})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert (await client.get("/api/v1/workflows")).status_code == 200

    run(test, password="correct ü horse")


def test_without_a_password_the_form_signs_nobody_in(run):
    async def test(client):
        page = await client.get("/")
        assert "flowleaf up" in page.text and "<form" not in page.text
        for data in ({"password": ""}, {"password": "None"}, {}):
            assert (await client.post("/signin", data=data)).status_code == 403

    run(test)


def test_pages_are_sent_with_a_policy_that_allows_their_own_style_and_nothing_else(run):
    async def test(client):
        page = await client.get("/")
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "<script" not in page.text and "style=" not in page.text
        for path in ("/", "/livez", "/api/v1/workflows", "/metrics"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "same-origin", path  # "no-referrer" would make Origin "null"
            assert "frame-ancestors 'none'" in headers["content-security-policy"], path

    run(test)


def test_the_public_address_is_one_of_ours_and_its_cookie_is_secure(run, tmp_path):
    async def test(client):
        there = {"host": "flows.example.com", "origin": "https://flows.example.com"}
        answer = await client.get(f"/?key={new_key(tmp_path / 'home')}", headers=there)
        assert answer.status_code == 303 and "; Secure" in answer.headers["set-cookie"]
        assert (await client.get("/", headers={"host": "example.com"})).status_code == 421
        assert (await client.get("/", headers=there | {"origin": "http://flows.example.com"})).status_code == 403

    run(test, url="https://flows.example.com/")


def test_hosts_and_origins_are_those_of_loopback_of_the_listener_and_of_the_public_address():
    hosts, origins = own_addresses(Settings(host="10.0.0.5", port=9000, url="https://f.example.com:8443"), 9000)
    assert set(hosts) == {"localhost:9000", "127.0.0.1:9000", "[::1]:9000", "10.0.0.5:9000", "f.example.com:8443"}
    assert "https://f.example.com:8443" in origins and "http://localhost:9000" in origins
    assert all(urlsplit(origin).scheme for origin in origins)


def test_to_listen_beyond_loopback_a_password_is_needed():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "a.example")))
    with pytest.raises(DefinitionError, match="no password"):
        require_password(Settings(host="0.0.0.0"))
    require_password(Settings(host="0.0.0.0", password="x"))
    require_password(Settings())


def test_a_session_lasts_thirty_days_and_no_longer_than_key_and_password_are_the_same(tmp_path):
    now = [1_000_000.0]
    sessions = Sessions(tmp_path, b"k" * 32, "p", clock=lambda: now[0])
    value = sessions.begin()
    assert sessions.holds(value)
    assert not Sessions(tmp_path, b"k" * 32, "other", clock=lambda: now[0]).holds(value)
    assert not Sessions(tmp_path, b"x" * 32, "p", clock=lambda: now[0]).holds(value)
    id_, until, signature = value.split(".")
    assert not sessions.holds(f"{id_}.{int(until) + 1}.{signature}")
    assert not any(sessions.holds(broken) for broken in ("", ".", "..", "ü.ü.ü", value[:-1], value + "x"))
    now[0] += SESSION_S - 1
    assert sessions.holds(value)
    now[0] += 2
    assert not sessions.holds(value)


def test_the_wait_grows_with_each_wrong_try_up_to_five_minutes_for_each_caller():
    now = [0.0]
    throttle = Throttle(5, clock=lambda: now[0])
    waits = []
    for _ in range(16):
        throttle.failed("a")
        waits.append(throttle.wait_s("a"))
    assert waits[:8] == [0, 0, 0, 0, 1, 2, 4, 8]
    assert waits[-1] == 300
    assert throttle.wait_s("b") == 0
    now[0] += 301
    assert throttle.wait_s("a") == 0
    throttle.worked("a")
    throttle.failed("a")
    assert throttle.wait_s("a") == 0
    for number in range(5_000):
        throttle.failed(str(number))
    assert len(throttle._wrong) <= Throttle.MOST
