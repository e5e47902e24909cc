"""Which addresses may be called. Pure: nothing here looks a name up or opens a connection."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import idna

from engine.errors import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING = "FLOWLEAF_HTTP_ALLOW"

# IANA's special-purpose address registries (RFC 6890 and its updates). Written out, since what `ipaddress.is_global`
# answers differs between versions of Python.
_REFUSED_IPV4 = {
    "127.0.0.0/8": "a loopback address",
    "10.0.0.0/8": "a private address",
    "172.16.0.0/12": "a private address",
    "192.168.0.0/16": "a private address",
    "169.254.0.0/16": "a link-local address, where clouds keep machine credentials",
    # Azure's agent answers here: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
    "168.63.129.16/32": "an address where Azure keeps machine credentials",
    "100.64.0.0/10": "a carrier's private address",
    "0.0.0.0/8": "an address of this machine",
    "192.0.0.0/24": "a reserved address",
    "192.0.2.0/24": "an address for documentation",
    "198.51.100.0/24": "an address for documentation",
    "203.0.113.0/24": "an address for documentation",
    "192.88.99.0/24": "a 6to4 relay",
    "198.18.0.0/15": "an address for benchmarks",
    "224.0.0.0/4": "a multicast address",
    "240.0.0.0/4": "a reserved address",
}
_REFUSED_IPV6 = {
    "::/128": "an address of this machine",
    "::1/128": "a loopback address",
    "fc00::/7": "a private address",
    "fe80::/10": "a link-local address",
    "fec0::/10": "a private address",
    "ff00::/8": "a multicast address",
    "2001::/32": "a Teredo address",
    "2001:db8::/32": "an address for documentation",
    "3fff::/20": "an address for documentation",
    "2001::/23": "a reserved address",
}
_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what) for network, what in (_REFUSED_IPV4 | _REFUSED_IPV6).items()
)

# RFC 4291, 2.4: all that is handed out to the public internet. New ranges are refused until they are listed here.
_GLOBAL_UNICAST = IPv6Network("2000::/3")

# Networks whose addresses hold an IPv4 address, and how far it is from the right end, in bits.
_HOLDS_IPV4: tuple[tuple[IPv6Network, int, str], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0, "an IPv4-mapped address"),  # RFC 4291, 2.5.5.2
    (IPv6Network("64:ff9b::/96"), 0, "a NAT64 address"),  # RFC 6052
    (IPv6Network("2002::/16"), 80, "a 6to4 address"),  # RFC 3056
)


def why_refused(address: Address) -> str | None:
    """What the address is, such as "a loopback address", when it is not on the public internet; None when it is."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "an address with a zone"
        for network, shift, what in _HOLDS_IPV4:
            if address in network:
                inner = IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
                refused = why_refused(inner)
                return f"{what} of {inner}, {refused}" if refused else None
    for known, what in _REFUSED:
        if address.version == known.version and address in known:
            return what
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "a reserved address"
    return None


def literal_address(host: str) -> Address | None:
    """The address that `host` spells, in any form that resolvers and browsers take; None for a name.

    127.1, 2130706433, 0x7f000001 and 0177.0.0.1 are all 127.0.0.1, and ::ffff:127.0.0.1 is given as 127.0.0.1.

    Args:
        host: as `host_name` gives it.

    Raises:
        ValueError: it can only be an address, and is none.
    """
    if ":" in host:
        address = IPv6Address(host.replace("%25", "%"))
        return address.ipv4_mapped or address
    # https://url.spec.whatwg.org/#ends-in-a-number-checker and #concept-ipv4-parser
    parts = host.split(".")
    if not re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]*", parts[-1]):
        return None
    if len(parts) > 4:
        raise ValueError(f"{host!r} has more than four numbers")
    *first, last = (_number(part) for part in parts)
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        raise ValueError(f"{host!r} has a number that is too large")
    return IPv4Address(last + sum(number << 8 * (3 - place) for place, number in enumerate(first)))


def _number(text: str) -> int:
    """Decimal, octal (017) or hexadecimal (0x0f), as C's inet_aton reads it."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]*", text):
        return int(text[2:] or "0", 16)
    if re.fullmatch(r"0[0-7]+", text):
        return int(text, 8)
    if re.fullmatch(r"0|[1-9][0-9]{0,9}", text):
        return int(text)
    raise ValueError(f"{text!r} is not a number of an IPv4 address")


def host_name(host: str) -> str:
    """The one spelling of a host: lower case, ASCII (IDNA), no dot at the end; IPv6 without brackets.

    Numbers of every script become plain digits, so that `literal_address` sees them.

    Raises:
        ValueError: nothing that can be called looks like this.
    """
    if host.startswith("[") and host.endswith("]") and ":" in host:
        return host[1:-1].lower()
    if not host.isascii() and len(host) <= 253:
        host = idna.encode(host, uts46=True).decode("ascii")
    name = host.lower().removesuffix(".")
    if len(name) > 253 or not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", name):
        raise ValueError(f"{host[:80]!r} is not the name of a host")
    return name


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """One entry of the allow-list.

    Attributes:
        name: a host, or `*.` and the end of its name; None where `network` says it.
        port: None means every port.
    """

    name: str | None = None
    network: Network | None = None
    port: int | None = None

    def admits(self, host: str, address: Address, port: int) -> bool:
        """Whether `host`, found at `address`, may be called on `port`."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        name = self.name or ""
        return host == name or (name.startswith("*.") and host.endswith(name[1:]))


@dataclass(frozen=True, slots=True)
class Allow:
    """The hosts and networks that may be called though they are not public. An allowed name may lead to any address."""

    entries: tuple[AllowEntry, ...] = ()

    def admits(self, host: str, address: Address, port: int) -> bool:
        """Whether an entry names the host, or holds the address."""
        return any(entry.admits(host, address, port) for entry in self.entries)


def parse_allow(entries: Iterable[str]) -> Allow:
    """The allow-list that the entries of FLOWLEAF_HTTP_ALLOW write; empty ones are passed over.

    An entry is a name (`crm.internal`, `*.internal`), an address or a network (`10.0.0.0/8`), each with or without
    a port (`localhost:8080`, `[::1]:8080`, `[fd00::/8]:443`).

    Raises:
        ValueError: an entry is none of these; the message names it.
    """
    return Allow(tuple(_entry(text.strip()) for text in entries if text.strip()))


def _entry(text: str) -> AllowEntry:
    match = re.fullmatch(r"(\[[^\]]*\](?:/[0-9]+)?|[^:\[\]]*)(?::([0-9]{1,5}))?", text)
    host, digits = match.groups() if match else (text, None)
    port = int(digits) if digits else None
    try:
        if port is not None and not 1 <= port <= 65535:
            raise ValueError("the port is not between 1 and 65535")
        if "://" in text:
            raise ValueError("write the host alone, without http:// or https://")
        if "/" in host:
            return AllowEntry(network=ip_network(re.sub(r"[\[\]]", "", host)), port=port)
        name = host_name(f"[{host}]" if host.count(":") > 1 and host[0] != "[" else host.removeprefix("*."))
        if (address := literal_address(name)) and not host.startswith("*."):
            return AllowEntry(network=ip_network(address), port=port)
        return AllowEntry(name=f"*.{name}" if host.startswith("*.") else name, port=port)
    except ValueError as exc:
        raise ValueError(f"{SETTING}: {text!r} is not a host, an address or a network: {exc}") from exc


def check(host: str, addresses: Sequence[Address], port: int, allow: Allow) -> None:
    """Refuse `host` unless every one of its addresses is public or allowed.

    One bad address refuses them all: who mixes public and private answers is trying to get in.

    Raises:
        AddressRefused: names the host and the address.
    """
    for address in addresses:
        what = why_refused(address)
        if what is None or allow.admits(host, address, port):
            continue
        place = f"{address} is" if host == str(address) else f"{host} is {address},"
        entry = f"[{host}]" if ":" in host else host
        raise AddressRefused(
            f"{place} {what}: HTTP nodes may not call it.",
            hint=f"{SETTING} names what else may be called; machine credentials should not be among it."
            if address.is_link_local
            else f"Set {SETTING}={entry} to let HTTP nodes call it.",
        )
