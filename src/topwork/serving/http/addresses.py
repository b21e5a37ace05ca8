"""Addresses of clients: which of them belong together, and which are this machine's own. It knows no request."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

__all__ = ["address_of", "client_of", "is_own"]

SUBNET_BITS = 64
"""What a customer of IPv6 is given is a whole subnet; its addresses are one client."""

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(text: str) -> Address | None:
    """Read an address; IPv4 in the dress of IPv6, as a socket for both shows it, is IPv4. None for no address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def client_of(text: str) -> str:
    """Return what all addresses of one client have in common; what is no address stands for itself."""
    address = address_of(text)
    if address is None:
        return text
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), SUBNET_BITS), strict=False))


def is_own(text: str) -> bool:
    """Tell whether an address leads from this machine to itself."""
    address = address_of(text)
    return address is not None and address.is_loopback
