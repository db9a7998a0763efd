# SPDX-License-Identifier: GPL-3.0-or-later
"""CURVE keys. An engine answers only clients whose public key it lists; a client talks only to the engine whose key it has.

    <home>/keys/client.json        this user's key pair (public, secret)
    <home>/keys/engine.json        the key pair of this user's engine
    <home>/keys/clients/*.public   the keys that this user's engine answers, one a file; `local.public` is the user's own
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from .errors import CredentialsError
from .home import WRITABLE_BY_OTHERS, create_private, home_folder, private_folder, require_private

log = logging.getLogger(__name__)

KEY_LENGTH = 40
OWN_CLIENT = "local"
"""The name by which an engine lists the key of its own user's client on the same computer."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_Z85 = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair, each key as 40 characters of Z85."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Credentials:
    """What a client needs to talk to an engine: its own key pair, and the engine's public key (Z85)."""

    client: KeyPair
    engine_public: str

    @staticmethod
    def local(folder: Path | str | None = None) -> Credentials:
        """For the engine of this user on this computer. Makes the keys that are not there yet, and lists the client's.

        `folder` is the home folder (default: see `home_folder`). Raises `CredentialsError` if others can read it.
        """
        ring = KeyRing(folder)
        client = ring.pair("client")
        if not ring.admits(client.public):
            ring.add(OWN_CLIENT, client.public)
        return Credentials(client, ring.pair("engine").public)

    @staticmethod
    def remote(engine_public: str, folder: Path | str | None = None) -> Credentials:
        """For an engine elsewhere, whose public key its owner gave you; give the owner `credentials.client.public`."""
        return Credentials(KeyRing(folder).pair("client"), checked_key(engine_public))


class KeyRing:
    """The keys of a home folder. Every method raises `CredentialsError`, with the fix, if others can read them."""

    def __init__(self, home: Path | str | None = None) -> None:
        self.folder = private_folder(private_folder(home_folder(home), WRITABLE_BY_OTHERS) / "keys")
        self.clients = private_folder(self.folder / "clients")

    def pair(self, name: str) -> KeyPair:
        """The key pair of that name (client or engine), made when it is asked for first."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            public, secret = _new_keys()
            create_private(path, json.dumps({"public": public, "secret": secret}) + "\n")
        return _read_pair(path)

    def listed(self) -> dict[str, str]:
        """The public keys of the clients that the engine answers, by name."""
        return {path.stem: _read_key(path) for path in sorted(self.clients.glob("*.public"))}

    def admits(self, key: str) -> bool:
        """Is this key listed? A file that holds none shuts nobody out but its own client."""
        for path in self.clients.glob("*.public"):
            try:
                if _read_key(path) == key:
                    return True
            except (CredentialsError, OSError) as error:
                log.warning("a listed key is passed over: %s", error)
        return False

    def add(self, name: str, public: str) -> None:
        """Let the engine answer the client with this public key, at once."""
        path = self._path(name)
        key = checked_key(public)
        if not create_private(path, key + "\n") and _read_key(path) != key:
            raise CredentialsError(f"Another key is listed as {name!r}: remove it first, or choose another name.")

    def remove(self, name: str) -> None:
        """Answer the client of that name no more; an open connection ends with the engine or the client."""
        try:
            self._path(name).unlink()
        except FileNotFoundError as error:
            raise CredentialsError(f"No key is listed as {name!r}; listed: {', '.join(self.listed()) or 'none'}.") from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise CredentialsError(f"{name!r} cannot name a key: use up to 64 letters, digits, dots, dashes, underscores.")
        return self.clients / f"{name}.public"


def _read_key(path: Path) -> str:
    """The public key in a file. Raises `CredentialsError`."""
    try:
        return checked_key(path.read_text("utf-8"), path)
    except UnicodeDecodeError as error:
        raise CredentialsError(f"{path} does not hold a CURVE key: it is no plain text (UTF-8).") from error


def _new_keys() -> tuple[str, str]:
    """A new public and secret key; the public one does not look like an option to a command that it is given to."""
    while True:
        public, secret = (key.decode() for key in zmq.curve_keypair())
        if not public.startswith("-"):
            return public, secret


def _read_pair(path: Path) -> KeyPair:
    require_private(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        pair = KeyPair(checked_key(entries["public"], path), checked_key(entries["secret"], path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CredentialsError(f"{path} is damaged: delete it, and a new key pair is made.") from error
    if zmq.curve_public(pair.secret.encode()).decode() != pair.public:
        raise CredentialsError(f"The two keys in {path} do not belong together: delete it, and a new key pair is made.")
    return pair


def checked_key(text: str, path: Path | None = None) -> str:
    """A key without white space around it; raises `CredentialsError` if it is not 40 characters of Z85."""
    key = text.strip()
    if not _Z85.fullmatch(key):
        source = f"{path} does not hold" if path else "This is not"
        raise CredentialsError(f"{source} a CURVE key: expected {KEY_LENGTH} characters of Z85, got {len(key)}.")
    return key
