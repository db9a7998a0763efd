# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets with the protocol's options: CURVE on every one that others could reach, frames limited before they are read."""

from __future__ import annotations

import zmq

from .address import is_ipv6
from .credentials import KeyPair
from .limits import MAX_BUFFER_BYTES

ZAP_DOMAIN = "teamwork"
LINGER_MS = 500
CURVE_BYTES = 64
"""No less than what encryption adds to a frame, which is measured with it."""
KEEPALIVE = {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 30, zmq.TCP_KEEPALIVE_INTVL: 10, zmq.TCP_KEEPALIVE_CNT: 6}
"""Seconds after which the system asks whether an idle other end is still there, and how often it asks in vain. Whoever is busy
or slow is left alone, since his system answers for him; who was cut off is let go after a minute and a half, not after hours."""


def _common(context: zmq.Context, kind: int, address: str) -> zmq.Socket:
    socket = context.socket(kind)
    socket.linger = LINGER_MS
    socket.ipv6 = is_ipv6(address)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_BUFFER_BYTES + CURVE_BYTES)
    for option, value in KEEPALIVE.items():
        socket.setsockopt(option, value)
    return socket


def client_socket(context: zmq.Context, address: str, keys: KeyPair, server_public: str, identity: bytes) -> zmq.Socket:
    """A DEALER for the engine at `address`; its messages carry `identity` to the ROUTER there.

    The caller connects it, so that whoever follows the connection's events misses none.
    """
    socket = private_client_socket(context, address, identity)
    socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
    socket.curve_serverkey = server_public.encode()
    return socket


def private_client_socket(context: zmq.Context, address: str, identity: bytes) -> zmq.Socket:
    """The same without CURVE, for an address that only the user's own processes can reach."""
    socket = _common(context, zmq.DEALER, address)
    socket.setsockopt(zmq.ROUTING_ID, identity)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    return socket


def server_socket(context: zmq.Context, address: str, keys: KeyPair, domain: str = ZAP_DOMAIN) -> zmq.Socket:
    """A ROUTER bound to `address`. Who may connect is up to the ZAP handler of the context; without one, nobody."""
    socket = _router(context, address)
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
    socket.setsockopt_string(zmq.ZAP_DOMAIN, domain)
    socket.bind(address)
    return socket


def private_server_socket(context: zmq.Context, address: str) -> zmq.Socket:
    """A ROUTER without CURVE, bound to an address that only the user's own processes can reach."""
    socket = _router(context, address)
    socket.bind(address)
    return socket


def _router(context: zmq.Context, address: str) -> zmq.Socket:
    socket = _common(context, zmq.ROUTER, address)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a client that is gone is an error, not silence
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a client that comes back takes its place again
    return socket
