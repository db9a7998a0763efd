# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients an engine answers: the keys command as a user types it, and addresses that other computers reach."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from blender_addon.wire import Client, Credentials, EngineSilent, KeyRing, full_address, is_loopback

from .conftest import ROOT, submit


def keys(home, *words: str) -> subprocess.CompletedProcess:
    """`python -m engine_server keys ...` with a home of its own."""
    command = [sys.executable, "-m", "engine_server", "keys", *words, "--home", str(home)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def serve(home, address: str) -> subprocess.CompletedProcess:
    """An engine that should refuse to start."""
    command = [sys.executable, "-m", "engine_server", "serve", "--home", str(home), "--address", address]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)


def test_keys_are_shown_added_listed_and_removed(tmp_path):
    home, other = tmp_path / "engine", tmp_path / "other"
    theirs = keys(other, "show", "client").stdout.strip()
    assert keys(home, "show").stdout == keys(home, "show", "engine").stdout == f"{KeyRing(home).pair('engine').public}\n"
    assert theirs == KeyRing(other).pair("client").public != keys(other, "show").stdout.strip()
    assert keys(home, "list").stdout == ""
    assert keys(home, "add", "studio", theirs).returncode == 0
    assert keys(home, "list").stdout == f"{theirs}  studio\n"
    assert keys(home, "remove", "studio").returncode == 0 and keys(home, "list").stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "studio", "short"), "expected 40 characters"),
        (("add",), "cannot name a key"),
        (("remove", "nobody"), "listed: none"),
        (("show", "secret"), "expected engine or client"),
    ],
)
def test_a_mistake_with_keys_is_one_sentence(tmp_path, words, said):
    ended = keys(tmp_path / "home", *words)
    assert ended.returncode == 2 and said in ended.stderr and ended.stderr.count("\n") == 1


def test_no_command_prints_a_secret_key(tmp_path):
    keys(tmp_path, "show", "client")
    secrets = [KeyRing(tmp_path).pair(name).secret for name in ("engine", "client")]
    for words in (("show",), ("show", "client"), ("list",), ("add", "a", "b"), ("remove", "a")):
        ended = keys(tmp_path, *words)
        assert not any(secret in ended.stdout + ended.stderr for secret in secrets)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "*:0", "[::]:0"])
def test_an_outside_address_without_keys_of_clients_is_refused(tmp_path, address):
    Credentials.local(tmp_path)  # the user's own key does not count: it is on this computer
    ended = serve(tmp_path, address)
    assert ended.returncode == 2 and "no key of a client there is listed" in ended.stderr
    assert "keys add NAME 'KEY'" in ended.stderr and "Traceback" not in ended.stderr


def test_an_outside_address_is_served_to_the_listed_and_to_nobody_else(launch, tmp_path):
    home, guest = tmp_path / "home", tmp_path / "guest"
    KeyRing(home).add("guest", KeyRing(guest).pair("client").public)
    engine = launch("--address", "0.0.0.0:0")
    port = engine.address.rpartition(":")[2]
    public = KeyRing(home).pair("engine").public
    with Client(f"127.0.0.1:{port}", Credentials.remote(public, guest)) as client:
        assert client.run(submit("welcome")).outputs
    with Client(f"127.0.0.1:{port}", Credentials.remote(public, tmp_path / "stranger"), timeout=1.0) as stranger:
        with pytest.raises(EngineSilent):
            stranger.hello()


@pytest.mark.parametrize(
    ("text", "own"),
    [("localhost", True), ("127.0.0.1:1", True), ("[::1]:5", True), ("0.0.0.0:1", False), ("[::]", False), ("10.0.0.2", False)],
)
def test_addresses_of_this_computer_alone(text, own):
    assert is_loopback(full_address(text)) == own


@pytest.mark.parametrize(("command", "shown"), [("keys", "keys add anna 'KEY'"), ("status", "--engine-key='KEY'")])
def test_help_shows_keys_in_quotes(command, shown):
    ended = subprocess.run([sys.executable, "-m", "engine_server", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown in " ".join(ended.stdout.split())


def test_no_page_and_no_sentence_shows_a_key_without_quotes():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("engine_server/**/*.py")]
    for page in pages:
        assert not re.search(r"keys add \w+ \w|--engine-key[= ]KEY", page.read_text("utf-8")), page


def test_the_page_lists_a_key_before_it_starts_the_service():
    page, unit = ((ROOT / "docs" / name).read_text("utf-8") for name in ("DEPLOYMENT.md", "teamwork-engine.service"))
    steps = ("useradd", "/var/lib/teamwork\n", "daemon-reload", "keys add anna 'KEY'", "systemctl enable --now")
    assert (places := [page.index(step) for step in steps]) == sorted(places)
    assert "LogsDirectory=teamwork" in unit and "/var/log/teamwork/" in page


FULL = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
"""The start of a process that can write nothing, as on a full disk."""
SERVING = FULL + "import engine_server.__main__ as m; sys.exit(m.main(['serve', '--address', '127.0.0.1:0', '--home', sys.argv[1]]))"
RECORDING = FULL + "import pathlib, blender_addon.wire as w; w.EngineRecord('', 1, '', '').write(pathlib.Path(sys.argv[1]))"


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has such limits")
@pytest.mark.parametrize(("code", "told"), [(SERVING, "serve: "), (RECORDING, "CredentialsError: ")])
def test_a_disk_on_which_nothing_can_be_written_is_told_in_a_sentence(tmp_path, code, told):
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode and told in last and "make room on its disk" in last
