# SPDX-License-Identifier: GPL-3.0-or-later
"""PROTOCOL.md and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blender_addon.wire import CODES, FROM_CLIENT, FROM_ENGINE, SPACES, limits, messages
from blender_addon.wire.schema import describe, fields_of

TEXT = (Path(messages.__file__).parent / "PROTOCOL.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S))
PARTS = (messages.ModelInfo, messages.CatalogueEntry, messages.Failure, messages.JobInfo)
KINDS = FROM_CLIENT.kinds | FROM_ENGINE.kinds | {kind.__name__: kind for kind in PARTS}


def test_the_same_messages():
    assert set(SECTIONS) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_the_same_fields(name):
    written = re.findall(r"^\| `(\w+)` \| (.+) \|$", SECTIONS[name], re.M)
    assert written == [(field, describe(hint)) for field, hint in fields_of(KINDS[name]).items()]


@pytest.mark.parametrize("name", KINDS)
def test_the_same_meaning(name):
    assert SECTIONS[name].strip().startswith(KINDS[name].__doc__)


def test_the_same_version_codes_spaces_and_limits():
    assert f"Version {limits.PROTOCOL}." in TEXT
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", TEXT.split("## Codes")[1].split("## Limits")[0], re.M)) == CODES
    assert re.findall(r"^\| `([\w-]+)` \|", TEXT.split("| space |")[1].split("\n\n")[0], re.M) == list(SPACES)
    written = {name: int(value) for name, value in re.findall(r"^\| `(M(?:AX|IN)_\w+)` \| (\d+) \|$", TEXT, re.M)}
    assert written == {name: value for name, value in vars(limits).items() if name.startswith(("MAX_", "MIN_"))}
