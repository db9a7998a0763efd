# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports without a search for garbage, after which everything is as it was."""

from __future__ import annotations

import gc
import weakref

import pytest

from engine_server.importing import uncollected


class Ring:
    """A thing in a cycle of references: only a search finds that nobody needs it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def searches():
    """The generations that were searched, in order."""
    seen: list[int] = []

    def note(phase: str, facts: dict[str, int]) -> None:
        if phase == "start":
            seen.append(facts["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_nothing_is_searched_meanwhile_and_what_was_made_counts_as_old(searches):
    gc.collect()
    searches.clear()
    with uncollected():
        kept = [[] for _ in range(200_000)]
        assert not gc.isenabled() and not searches
    young = {id(each) for each in gc.get_objects(generation=0)}
    assert gc.isenabled() and not any(id(each) in young for each in kept) and gc.get_freeze_count() == 0


def test_garbage_of_the_time_is_found_afterwards(searches):
    with uncollected():
        made = weakref.ref(Ring())
        assert made() is not None
    gc.collect()
    assert made() is None


def test_who_has_switched_the_search_off_keeps_it_off():
    gc.disable()
    try:
        with pytest.raises(ImportError), uncollected():
            raise ImportError
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
