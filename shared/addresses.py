"""Which addresses a client may have this service connect to: none that lead into the network it stands in itself.

A name is judged by what it resolves to. Whoever connects asks `permitted` at that moment and connects to what it gave,
for a name can resolve to something else the next time it is looked up.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from pydantic import HttpUrl, TypeAdapter, ValidationError

from shared.errors import InvalidInput

_REFUSED_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata services of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
"""IANA's special-purpose registry."""
_PUBLIC_IPV6 = IPv6Network("2000::/3")
"""All that is handed out to the world. Loopback, private, link-local, multicast, IPv4-mapped and NAT64 lie outside."""
_REFUSED_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4: an IPv4 address in disguise
            "3fff::/20",
        ),
    )
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


@dataclass(frozen=True)
class Target:
    """Where a URL leads. url: as browsers write it, so that every spelling of an address is the plain one."""

    url: str
    host: str
    port: int


def parse_url(text: str, field: str) -> Target:
    """An http or https URL without credentials. Raises InvalidInput about `field`."""
    try:
        url = _URL.validate_python(text)
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InvalidInput(field, f"{field}: {message}.", "Send an http or https URL of at most 2083 bytes.") from None
    if url.username is not None or url.password is not None:
        raise InvalidInput(field, "The URL holds credentials.", "Leave them out: each message is signed.")
    assert url.host is not None, "http and https URLs have hosts"
    return Target(str(url), url.host.strip("[]"), url.port or _DEFAULT_PORTS[url.scheme])


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the world at large. Raises ValueError for what is no address."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        return parsed in _PUBLIC_IPV6 and not any(parsed in network for network in _REFUSED_IPV6)
    return not any(parsed in network for network in _REFUSED_IPV4)


def permitted(host: str, port: int, field: str, allow_private: bool = False) -> list[str]:
    """The addresses of a host, in the order in which they are to be tried. Waits for the name service.

    Raises InvalidInput about `field` for a name that does not resolve, and one that resolves to any address that is
    not public, unless private ones are allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InvalidInput(field, f"{host} does not resolve to an address.", "Correct the host's name.") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private and not all(map(is_public, addresses)):
        # Which address it is stays unsaid: what a name means inside this network is nobody's business outside.
        raise InvalidInput(
            field,
            f"{host} is, or resolves to, an address that is not public.",
            "Send one that is public; only whoever runs the service can allow others.",
        )
    return addresses
