"""Addresses that a client may have the service connect to, in every disguise that the others are known to take."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import is_public, parse_url, permitted
from shared.errors import InvalidInput


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.168.1.1",
        "198.19.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_the_worlds_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "223.255.255.255", "2606:4700::1", "2a00:1450::1"]
)
def test_public_addresses_are_let_through(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_knows_as_private(address: IPv4Address | IPv6Address) -> None:
    if is_public(str(address)):
        assert not address.is_private
        assert not address.is_multicast


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://[::1]/",
        "http://[::ffff:7f00:1]:8080/",
        "http://localhost/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "https://0/",
    ],
)
def test_this_host_is_known_in_every_spelling(url: str) -> None:
    target = parse_url(url, "url")
    with pytest.raises(InvalidInput) as refused:
        permitted(target.host, target.port, "url")
    assert refused.value.field == "url"
    assert permitted(target.host, target.port, "url", allow_private=True)


def test_a_url_says_where_it_leads() -> None:
    target = parse_url("HTTPS://Receiver.Example:8443/a?b=c", "url")
    assert (target.url, target.host, target.port) == ("https://receiver.example:8443/a?b=c", "receiver.example", 8443)
    assert parse_url("http://[2606:4700::1]/", "url").host == "2606:4700::1"
    assert parse_url("https://receiver.example", "url").port == 443


@pytest.mark.parametrize(
    "url",
    [
        "",
        "receiver.example/hook",
        "ftp://receiver.example/",
        "file:///etc/passwd",
        "gopher://receiver.example/",
        "http://",
        "http://receiver.example:99999/",
        "http://me:secret@receiver.example/",
        "http://me@receiver.example/",
        "http://" + "a" * 3000 + ".example/",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_url(url, "url")
    assert refused.value.field == "url"
    assert "secret" not in refused.value.detail


def test_a_name_that_means_nothing_is_refused() -> None:
    for host in ("nowhere.invalid", "a" * 70 + ".example"):
        with pytest.raises(InvalidInput, match="does not resolve"):
            permitted(host, 443, "url", allow_private=True)
