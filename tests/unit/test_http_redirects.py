"""What goes along with a redirect, where no server on this machine can show it: on the usual ports."""

import httpx
import pytest

from engine.http.redirects import redirected

KEY = {"Authorization": "Bearer t", "X-Api-Key": "k"}

STEPS = [
    ("http://api.example.com/a", "https://api.example.com/a", True),
    ("http://api.example.com:80/a", "https://API.example.com.:443/b", True),
    ("https://api.example.com/a", "/b", True),
    ("https://api.example.com/a", "//api.example.com/b", True),
    ("https://api.example.com/a", "https://api.example.com:8443/a", False),
    ("http://api.example.com:8080/a", "https://api.example.com/a", False),
    ("http://api.example.com/a", "https://www.example.com/a", False),
    ("https://api.example.com/a", "https://api.example.com.evil.test/a", False),
    ("https://api.example.com/a", "https://api.example.com@evil.test/a", False),
]


@pytest.mark.parametrize(("url", "location", "kept"), STEPS)
def test_keys_go_along_only_to_the_same_origin_or_up_to_https(url, location, kept):
    then = redirected(httpx.Request("GET", url, headers=KEY), 302, location)
    assert [name for name in KEY if name in then.headers] == (list(KEY) if kept else [])
    assert then.headers["host"] == then.url.netloc.decode()
