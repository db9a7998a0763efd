# SPDX-License-Identifier: GPL-3.0-or-later
"""Silence is counted from an unanswered question, and from nothing else."""

from __future__ import annotations

from blender_addon.wire.pulse import INTERVAL, Pulse


def test_the_first_question_is_due_at_once_and_the_next_an_interval_later():
    pulse = Pulse()
    assert pulse.due(0.0)
    pulse.asked(0.0)
    assert not pulse.due(INTERVAL / 2) and pulse.due(INTERVAL)


def test_silence_lasts_from_the_first_unanswered_question():
    pulse = Pulse()
    assert pulse.silence(100.0) == 0.0
    for now in (0.0, 1.0, 2.0):
        pulse.asked(now)
    assert pulse.silence(3.0) == 3.0
    pulse.heard(3.5)
    assert pulse.silence(9.0) == 0.0 and not pulse.due(3.6)


def test_a_client_that_slept_blames_nobody():
    pulse = Pulse()
    pulse.asked(0.0)
    pulse.heard(0.1)
    assert pulse.silence(5000.0) == 0.0 and pulse.due(5000.0)


def test_a_reported_silence_is_counted_anew():
    pulse = Pulse()
    pulse.asked(0.0)
    pulse.forget()
    assert pulse.silence(60.0) == 0.0
    pulse.asked(61.0)
    assert pulse.silence(63.0) == 2.0
