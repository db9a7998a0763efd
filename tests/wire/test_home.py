# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, keys and the engine's record: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import os
import re
import threading

import pytest

from blender_addon.wire import (
    DEFAULT_PORT,
    Credentials,
    CredentialsError,
    EngineRecord,
    KeyRing,
    WireError,
    full_address,
    home_folder,
    read_engine_record,
)
from blender_addon.wire.credentials import _new_keys


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("localhost", f"tcp://127.0.0.1:{DEFAULT_PORT}"),
        ("render-01.example:5000", "tcp://render-01.example:5000"),
        (":5000", "tcp://127.0.0.1:5000"),
        ("tcp://192.168.1.20:5000/", "tcp://192.168.1.20:5000"),
        ("  192.168.1.20 ", f"tcp://192.168.1.20:{DEFAULT_PORT}"),
        ("[::1]:5000", "tcp://[::1]:5000"),
    ],
)
def test_addresses_as_people_write_them(text, full):
    assert full_address(text) == full


@pytest.mark.parametrize("text", ["", "  ", "a b", "host:port", "host:99999", "host:1:2", "tcp://host/path", "::1"])
def test_what_is_no_address(text):
    with pytest.raises(WireError, match=r"is not an address; expected host:port"):
        full_address(text)


def test_keys_are_made_once_and_listed(tmp_path):
    first, second = Credentials.local(tmp_path), Credentials.local(tmp_path)
    assert first == second
    assert KeyRing(tmp_path).listed() == {"local": first.client.public}
    assert first.client.secret not in repr(first)


def test_keys_made_by_several_at_once_are_the_same(tmp_path):
    made = []
    threads = [threading.Thread(target=lambda: made.append(Credentials.local(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len({(each.client.public, each.engine_public) for each in made}) == 1


def test_no_public_key_looks_like_an_option():
    assert not any(_new_keys()[0].startswith("-") for _ in range(500))


@pytest.mark.parametrize("place", ["keys", "keys/client.json"])
def test_keys_that_others_can_read_are_refused_with_the_fix(tmp_path, place):
    Credentials.local(tmp_path)
    (tmp_path / place).chmod(0o755)
    if os.name != "posix":  # Windows keeps the user's data folder private by other means than a mode
        assert Credentials.local(tmp_path)
        return
    with pytest.raises(CredentialsError, match=r"run `chmod 700 '") as caught:
        Credentials.local(tmp_path)
    (tmp_path / place).chmod(int(re.search(r"chmod (\d+)", str(caught.value))[1], 8))
    assert Credentials.local(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"public": 1, "secret": 2}', '{"public": "x", "secret": "y"}'])
def test_a_damaged_key_file_says_so(tmp_path, text):
    Credentials.local(tmp_path)
    (tmp_path / "keys" / "client.json").write_text(text)
    with pytest.raises(CredentialsError, match=r"client\.json.*(damaged|does not hold)"):
        Credentials.local(tmp_path)


def test_two_keys_that_do_not_belong_together(tmp_path):
    Credentials.local(tmp_path)
    keys = tmp_path / "keys"
    mine, engines = ((keys / name).read_text() for name in ("client.json", "engine.json"))
    secret = re.search(r'"secret": "(.*)"', engines)[1]
    (keys / "client.json").write_text(re.sub(r'(?<="secret": ").*(?="\})', lambda _: secret, mine))
    with pytest.raises(CredentialsError, match="do not belong together"):
        Credentials.local(tmp_path)


def test_the_ring_adds_and_removes(tmp_path):
    ring, key, other = KeyRing(tmp_path), _new_keys()[0], _new_keys()[0]
    ring.add("laptop", f" {key}\n")
    ring.add("laptop", key)  # again is no mistake
    assert ring.listed() == {"laptop": key}
    with pytest.raises(CredentialsError, match="remove it first"):
        ring.add("laptop", other)
    with pytest.raises(CredentialsError, match="40 characters of Z85, got 3"):
        ring.add("desktop", "abc")
    with pytest.raises(CredentialsError, match="cannot name a key"):
        ring.add("../x", other)
    ring.remove("laptop")
    with pytest.raises(CredentialsError, match="listed: none"):
        ring.remove("laptop")


def test_the_record_is_left_by_one_engine_and_removed_by_no_other(tmp_path):
    first, second = (EngineRecord("tcp://127.0.0.1:1", pid, "i", "0") for pid in (1, 2))
    assert read_engine_record(tmp_path) is None
    first.write(tmp_path)
    assert read_engine_record(tmp_path) == first
    second.write(tmp_path)
    first.remove(tmp_path)
    assert read_engine_record(tmp_path) == second
    second.remove(tmp_path)
    assert os.listdir(tmp_path) == []


WRONG_TYPES = '{"address": 1, "pid": 1, "instance": "i", "version": "0"}'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"address": "x"}', '{"pid": 1, "more": 2}', WRONG_TYPES])
def test_a_damaged_record_is_none(tmp_path, text):
    (tmp_path / "engine.json").write_text(text)
    assert read_engine_record(tmp_path) is None


def test_the_home_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("TEAMWORK_HOME", str(tmp_path / "here"))
    assert home_folder() == tmp_path / "here" and home_folder(tmp_path) == tmp_path
    monkeypatch.delenv("TEAMWORK_HOME")
    assert home_folder().is_absolute() and home_folder().name.lower() == "teamwork"
