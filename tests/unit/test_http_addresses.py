"""Which addresses may be called, in all the ways they can be written."""

import re
import socket
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import AddressRefused, NodeError
from engine.http import Allow, parse_allow
from engine.http.addresses import check, literal_address, why_refused
from engine.http.urls import parse_url


def call(url, allow=()):
    """What the client checks when a URL holds an address: no name is looked up."""
    target, _ = parse_url(url)
    host = target.raw_host.decode()
    address = literal_address(host)
    assert address is not None, f"{host} would be looked up"
    check(host, [address], target.port or 80, parse_allow(allow))
    return str(address)


REFUSED = {
    # loopback, as decimal, hexadecimal, octal, short and mixed
    "http://127.0.0.1/": "127.0.0.1 is a loopback address",
    "http://127.0.0.1./": "127.0.0.1 is a loopback address",
    "http://127.255.255.254/": "a loopback address",
    "http://2130706433/": "127.0.0.1 is a loopback address",
    "http://0x7f000001/": "127.0.0.1",
    "http://0X7F000001/": "127.0.0.1",
    "http://0x7f.0.0.1/": "127.0.0.1",
    "http://0x7f.1/": "127.0.0.1",
    "http://017700000001/": "127.0.0.1",
    "http://0177.0.0.1/": "127.0.0.1",
    "http://0177.0.0.01/": "127.0.0.1",
    "http://0000177.0.0.1/": "127.0.0.1",
    "http://127.1/": "127.0.0.1",
    "http://127.0.1/": "127.0.0.1",
    "http://127.65535/": "127.0.255.255",
    "http://0x7f.0x1/": "127.0.0.1",
    # the same with users, ports, upper case
    "http://user:pass@127.0.0.1/": "a loopback address",
    "http://example.com@127.0.0.1/": "a loopback address",
    "http://example.com:80@127.1:8080/": "a loopback address",
    "http://a@b@127.0.0.1/": "a loopback address",
    "HTTP://127.0.0.1:65535": "a loopback address",
    "https://127.0.0.1#@example.com/": "a loopback address",
    "http://127.0.0.1?@example.com/": "a loopback address",
    "http://127.0.0.1:/": "a loopback address",
    # other scripts' digits and dots
    "http://１２７.0.0.1/": "127.0.0.1",
    "http://①②⑦.⓪.⓪.①/": "127.0.0.1",
    "http://127。0。0。1/": "127.0.0.1",
    "http://127．0．0｡1/": "127.0.0.1",
    "http://１６９。２５４。１６９。２５４/": "169.254.169.254",
    "http://0ｘ7f.1/": "127.0.0.1",
    # private, link-local, and what clouds keep there
    "http://10.0.0.1/": "10.0.0.1 is a private address",
    "http://10.255.255.255/": "a private address",
    "http://172.16.0.1/": "a private address",
    "http://172.31.255.255/": "a private address",
    "http://192.168.1.1/": "a private address",
    "http://3232235777/": "192.168.1.1 is a private address",
    "http://169.254.169.254/latest/meta-data/": "a link-local address",
    "http://2852039166/": "169.254.169.254 is a link-local address",
    "http://0xa9fea9fe/": "169.254.169.254",
    "http://169.254.43518/": "169.254.169.254",
    "http://168.63.129.16/": "Azure",
    "http://100.64.0.1/": "a carrier's private address",
    "http://100.100.100.200/": "a carrier's private address",
    "http://100.127.255.255/": "a carrier's private address",
    # the rest of the special ranges
    "http://0.0.0.0/": "an address of this machine",
    "http://0/": "0.0.0.0 is an address of this machine",
    "http://0x/": "0.0.0.0",
    "http://0.1.2.3/": "an address of this machine",
    "http://192.0.0.192/": "a reserved address",
    "http://192.0.2.1/": "documentation",
    "http://198.51.100.7/": "documentation",
    "http://203.0.113.7/": "documentation",
    "http://192.88.99.1/": "a 6to4 relay",
    "http://198.18.0.1/": "benchmarks",
    "http://198.19.255.255/": "benchmarks",
    "http://224.0.0.251/": "a multicast address",
    "http://239.255.255.250/": "a multicast address",
    "http://240.0.0.1/": "a reserved address",
    "http://255.255.255.255/": "a reserved address",
    "http://4294967295/": "255.255.255.255",
    # IPv6
    "http://[::1]/": "::1 is a loopback address",
    "http://[0:0:0:0:0:0:0:1]:8080/": "::1 is a loopback address",
    "http://[0000:0000::0001]/": "::1 is a loopback address",
    "http://user@[::1]/": "a loopback address",
    "http://[::]/": "an address of this machine",
    "http://[fc00::1]/": "a private address",
    "http://[fd00:ec2::254]/": "a private address",
    "http://[FD12:3456::1]/": "a private address",
    "http://[fe80::1]/": "a link-local address",
    "http://[fe80::1%25eth0]/": "a zone",
    "http://[fe80::1%eth0]/": "a zone",
    "http://[2606:4700::1111%25eth0]/": "a zone",
    "http://[febf::1]/": "a link-local address",
    "http://[fec0::1]/": "a private address",
    "http://[ff02::1]/": "a multicast address",
    "http://[2001:db8::1]/": "documentation",
    "http://[3fff::1]/": "documentation",
    "http://[100::1]/": "a reserved address",
    "http://[5f00::1]/": "a reserved address",
    "http://[2001:10::1]/": "a reserved address",
    "http://[4000::1]/": "a reserved address",
    # IPv4 inside IPv6
    "http://[::ffff:127.0.0.1]/": "127.0.0.1 is a loopback address",
    "http://[::FFFF:7f00:1]/": "127.0.0.1 is a loopback address",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]/": "169.254.169.254",
    "http://[::ffff:10.0.0.5]/": "10.0.0.5",
    "http://[::127.0.0.1]/": "a reserved address",
    "http://[::7f00:1]/": "a reserved address",
    "http://[::8.8.8.8]/": "a reserved address",
    "http://[::ffff:0:127.0.0.1]/": "a reserved address",
    "http://[64:ff9b::127.0.0.1]/": "a NAT64 address of 127.0.0.1, a loopback address",
    "http://[64:ff9b::a9fe:a9fe]/": "a NAT64 address of 169.254.169.254",
    "http://[64:ff9b:1::8.8.8.8]/": "a reserved address",
    "http://[2002:7f00:1::]/": "a 6to4 address of 127.0.0.1",
    "http://[2002:a00:5::1]/": "a 6to4 address of 10.0.0.5",
    "http://[2001::5ef5:79fd:80fd:fefe]/": "a Teredo address",
}


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_is_not_public_is_refused_however_it_is_written(url):
    with pytest.raises(AddressRefused) as raised:
        call(url)
    assert REFUSED[url] in raised.value.message


PUBLIC = {
    "http://8.8.8.8/": "8.8.8.8",
    "http://134744072/": "8.8.8.8",
    "http://0x08080808/": "8.8.8.8",
    "http://010.010.010.010/": "8.8.8.8",
    "http://8.8.2056/": "8.8.8.8",
    "http://８.８.８.８/": "8.8.8.8",
    "https://1.1.1.1.:8443/": "1.1.1.1",
    "http://9.255.255.255/": "9.255.255.255",
    "http://11.0.0.0/": "11.0.0.0",
    "http://100.63.255.255/": "100.63.255.255",
    "http://100.128.0.0/": "100.128.0.0",
    "http://126.255.255.255/": "126.255.255.255",
    "http://128.0.0.1/": "128.0.0.1",
    "http://172.15.255.255/": "172.15.255.255",
    "http://172.32.0.0/": "172.32.0.0",
    "http://192.167.255.255/": "192.167.255.255",
    "http://192.169.0.0/": "192.169.0.0",
    "http://198.17.255.255/": "198.17.255.255",
    "http://198.20.0.0/": "198.20.0.0",
    "http://223.255.255.255/": "223.255.255.255",
    "http://168.63.129.17/": "168.63.129.17",
    "http://[2606:4700:4700::1111]/": "2606:4700:4700::1111",
    "http://[2A00:1450::1]:443/": "2a00:1450::1",
    "http://[2001:4860:4860::8888]/": "2001:4860:4860::8888",
    "http://[::ffff:8.8.8.8]/": "8.8.8.8",
    "http://[64:ff9b::8.8.8.8]/": "64:ff9b::808:808",
    "http://[2002:808:808::1]/": "2002:808:808::1",
}


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_address_may_be_called(url):
    assert call(url) == PUBLIC[url]


@pytest.mark.parametrize("answer", ["::ffff:127.0.0.1", "fe80::1%2", "2606:4700::1111%2"])
def test_an_odd_answer_of_a_resolver_is_refused(answer):
    assert why_refused(ip_address(answer))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "api.example.com", "1.2.3.4.nip.io", "0x7f.example", "db_1", "bücher.example"]
)
def test_a_name_is_no_address(host):
    target, _ = parse_url(f"http://{host}/")
    assert literal_address(target.raw_host.decode()) is None


@settings(deadline=None)
@given(st.text("0123456789abfxX.", min_size=1, max_size=24))
def test_what_the_machine_takes_for_an_address_is_never_taken_for_a_name(host):
    try:
        address = IPv4Address(socket.inet_aton(host))
    except OSError:
        return
    assert literal_address(host) == address


@settings(deadline=None)
@given(
    st.text("a1x.:[]@%\\/?#-_ \0é。①ｘßا\u00ad\u200d\ud800", max_size=30),
    st.sampled_from(["http://{}/", "http://{}", "{}", "http://a@{}:80/", "http://[{}]/"]),
)
def test_every_text_is_an_address_with_a_plain_host_or_an_error_of_ours(text, form):
    try:
        url, _ = parse_url(form.format(text))
    except NodeError:
        return
    assert re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", url.raw_host.decode("ascii"))


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("http://LOCALHOST./", "localhost"),
        ("http://ⓛocalhost/", "localhost"),
        ("https://BÜCHER.example", "xn--bcher-kva.example"),
        ("https://exa\u00admple.com/", "example.com"),
    ],
)
def test_a_name_has_one_spelling(written, host):
    assert parse_url(written)[0].raw_host.decode() == host


BAD_URLS = {
    "": "has no http://",
    "api.example.com/v1?key=hunter2": "The address api.example.com has no http://",
    "//example.com/hunter2": "has no http://",
    "mailto:me@example.com": "has no http://",
    "http:/example.com/": "has no http://",
    "ftp://user:hunter2@example.com/": "cannot call ftp: addresses",
    "file:///etc/passwd": "cannot call file: addresses",
    "gopher://127.0.0.1:70/_hunter2": "cannot call gopher: addresses",
    "http://example.com/a b?key=hunter2": "The address example.com holds a space",
    "http://exa mple.com/": "holds a space",
    "http://example.com/\r\nX-Key: hunter2": "holds a space or a line break",
    "http://example.com/\x00": "holds a space or a line break",
    "http:///path": "'' is not a host",
    "http://:80/": "is not a host",
    "http://example.com:0/": "port 0 of example.com does not exist",
    "http://example.com:65536/": "port 65536",
    "http://example.com:99999999999999999999/": "port 999999999999",
    "http://example.com:8o/": "is not a host",
    "http://user:hunter2@example.com:x/": "'example.com:x' is not a host",
    "http://[::1/": "is not a host",
    "http://[::1]x/": "is not a host",
    "http://[127.0.0.1]/": "is not a host",
    "http://[::1]]/": "is not a host",
    "http://[hello]/": "is not a host",
    "http://[::1::2]/": "is not a host",
    "http://[v1.fe80::a]/": "is not a host",
    "http://::1/": "is not a host",
    "http://1.2.3.4.5/": "is not a host",
    "http://256.1.1.1/": "is not a host",
    "http://1.2.3.256/": "is not a host",
    "http://1.16777216/": "is not a host",
    "http://4294967296/": "is not a host",
    "http://99999999999/": "is not a host",
    "http://0x100000000/": "is not a host",
    "http://08.0.0.1/": "is not a host",
    "http://1..2/": "is not a host",
    "http://example..com/": "is not a host",
    "http://.example.com/": "is not a host",
    "http://example.com../": "is not a host",
    "http://127.0.0.1\\@example.com\\/": "is not a host",
    "http://127%2e0%2e0%2e1/": "is not a host",
    "http://127.0.0.1%00.example.com/": "is not a host",
    "http://١٢٧.0.0.1/": "is not a host",
    "http://☃.example/": "is not a host",
    "http://" + "a" * 64 + ".example/": "is not a host",
    "http://" + "a." * 130 + "example/": "is not a host",
    "http://" + "é." * 200 + "example/": "is not a host",
    "http://example.com/" + "hunter2" * 10_000: "on example.com cannot be read",
    "http://example.com/\ud800hunter2": "on example.com cannot be read",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_text_that_is_no_web_address_is_explained_without_its_secrets(url):
    with pytest.raises(NodeError) as raised:
        parse_url(url)
    assert BAD_URLS[url] in raised.value.message
    assert raised.value.hint
    assert not raised.value.retryable
    assert "hunter2" not in raised.value.message + raised.value.hint


def test_a_user_in_an_address_is_taken_out_of_it():
    url, user = parse_url("https://me%40home:p%3Ass@api.example.com/v1?a=%20b#top")
    assert (str(url), user) == ("https://api.example.com/v1?a=%20b", ("me@home", "p:ss"))


ALLOWED = [
    # entry, URL host and port, address, admitted
    ("localhost", "localhost", "127.0.0.1", 80, True),
    ("LocalHost.", "localhost", "::1", 5432, True),
    ("localhost", "localhost.evil.example", "127.0.0.1", 80, False),
    ("localhost", "notlocalhost", "127.0.0.1", 80, False),
    ("localhost:8080", "localhost", "127.0.0.1", 8080, True),
    ("localhost:8080", "localhost", "127.0.0.1", 8081, False),
    ("*.internal", "crm.internal", "10.0.0.5", 80, True),
    ("*.internal", "a.b.internal", "10.0.0.5", 80, True),
    ("*.internal", "internal", "10.0.0.5", 80, False),
    ("*.internal", "evilinternal", "10.0.0.5", 80, False),
    ("*.internal:443", "crm.internal", "10.0.0.5", 80, False),
    ("bücher.internal", "xn--bcher-kva.internal", "10.0.0.5", 80, True),
    ("10.0.0.5", "crm.internal", "10.0.0.5", 80, True),
    ("10.0.0.5", "10.0.0.5", "10.0.0.5", 80, True),
    ("10.0.0.5", "10.0.0.6", "10.0.0.6", 80, False),
    ("10.0.0.5:80", "10.0.0.5", "10.0.0.5", 81, False),
    ("0x7f000001", "127.0.0.1", "127.0.0.1", 80, True),
    ("10.0.0.0/8", "crm.internal", "10.255.0.1", 80, True),
    ("10.0.0.0/8:9200", "crm.internal", "10.255.0.1", 9200, True),
    ("10.0.0.0/8:9200", "crm.internal", "10.255.0.1", 9201, False),
    ("10.0.0.0/8", "crm.internal", "192.168.0.1", 80, False),
    ("10.0.0.0/8", "crm.internal", "64:ff9b::a00:1", 80, False),
    ("::1", "::1", "::1", 80, True),
    ("[::1]", "::1", "::1", 80, True),
    ("[::1]:80", "::1", "::1", 80, True),
    ("[::1]:80", "::1", "::1", 81, False),
    ("::ffff:10.0.0.5", "10.0.0.5", "10.0.0.5", 80, True),
    ("fd00::/8", "crm.internal", "fd12::1", 80, True),
    ("[fd00::/8]:443", "crm.internal", "fd12::1", 443, True),
    ("[fd00::]/8:443", "crm.internal", "fd12::1", 80, False),
    ("0.0.0.0/0", "crm.internal", "169.254.169.254", 80, True),
    ("0.0.0.0/0", "crm.internal", "::1", 80, False),
]


@pytest.mark.parametrize(("entry", "host", "address", "port", "admitted"), ALLOWED)
def test_an_entry_allows_what_it_names_and_nothing_else(entry, host, address, port, admitted):
    assert parse_allow([entry]).admits(host, ip_address(address), port) is admitted


BAD_ENTRIES = [
    "*",
    "*.",
    "a.*.b",
    "http://localhost",
    "a b",
    "localhost:0",
    "localhost:65536",
    "localhost:x",
    "10.0.0.5/8",
]
BAD_ENTRIES += ["10.0.0.0/33", "256.0.0.1", "[::1", "::1]", "a/8", "a:b:c", "fd00::/8:443", "user@host"]


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_a_bad_entry_of_the_allow_list_is_named(entry):
    with pytest.raises(ValueError, match="FLOWLEAF_HTTP_ALLOW") as raised:
        parse_allow(["localhost", entry])
    assert repr(entry) in str(raised.value)


def test_blanks_in_the_allow_list_are_passed_over():
    assert parse_allow([" ", "", " localhost "]) == parse_allow(["localhost"])
    assert parse_allow([]) == Allow()


def test_a_refusal_says_how_to_allow_it():
    with pytest.raises(AddressRefused) as raised:
        check("crm.internal", [ip_address("93.184.216.34"), ip_address("10.0.0.5")], 80, Allow())
    assert raised.value.message == "crm.internal is 10.0.0.5, a private address: HTTP nodes may not call it."
    assert raised.value.hint == "Set FLOWLEAF_HTTP_ALLOW=crm.internal to let HTTP nodes call it."
    assert not raised.value.retryable


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_the_hint_says_allows_the_address(host):
    with pytest.raises(AddressRefused) as raised:
        check(host, [ip_address(host)], 80, Allow())
    entry = raised.value.hint.split("=")[1].split()[0]
    check(host, [ip_address(host)], 80, parse_allow([entry]))
