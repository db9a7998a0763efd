# SPDX-License-Identifier: GPL-3.0-or-later
"""Two ends of different releases: the sentences that say which one to update.

The number of the protocol tells releases apart. Builds in between may have the same number and yet other messages:
what is not known here was added by the other end, which is newer then, and what is missing was added here.
"""

from __future__ import annotations

from collections.abc import Iterable

from .limits import PROTOCOL
from .schema import shown

ENDS_IN_WORDS = {"engine": "the engine", "client": "the add-on in Blender", "worker": "the engine's worker"}
MOST_NAMED = 3


def mismatch(sender: str, theirs: int, ours: int) -> str:
    """The sentence for two ends of different versions; it names the one to update."""
    engine, client = (theirs, ours) if sender == "engine" else (ours, theirs)
    older = ENDS_IN_WORDS["engine" if engine < client else "client"]
    speak = f"The engine speaks version {shown(engine)} of the Teamwork protocol and this client version {shown(client)}"
    return f"{speak}: update {older}."


def other_entries(sender: str, where: str, unknown: Iterable[str], missing: Iterable[str]) -> str:
    """The sentence for a part of a message, `where`, with entries that are not known here, or without some that are."""
    more, fewer = _named(unknown), _named(missing)
    if more and fewer:
        return f"{_start(sender)} {more} and not {fewer} in {where}: update both to the same release."
    if more:
        return f"{_start(sender)} {more} in {where}, which is not known here: update {_other(sender)}."
    return f"{_start(sender)} no {fewer} in {where}: update {ENDS_IN_WORDS[sender]}."


def other_message(sender: str, name: str) -> str:
    """The sentence for a message of a type that is not known here."""
    return f"{_start(sender)} the message {shown(name)}, which is not known here: update {_other(sender)}."


def _start(sender: str) -> str:
    return f"Both ends speak version {PROTOCOL} of the Teamwork protocol, but the {sender} sent"


def _other(sender: str) -> str:
    return ENDS_IN_WORDS["client" if sender == "engine" else "engine"]


def _named(names: Iterable[str]) -> str:
    """Some of the names, which may be as long and as many as a message allows."""
    names = sorted(names)
    told = ", ".join(shown(name) for name in names[:MOST_NAMED])
    return told + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
