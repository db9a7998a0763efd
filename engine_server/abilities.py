# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tasks a team can do, by its teammates and by how it was trained. No torch: the server asks, too."""

from __future__ import annotations

from collections.abc import Container, Sequence

from .teamwork.manner import Manner

SYNTHESIZE, INPAINT = "synthesize", "inpaint"
_MAPS = {"albedo", "roughness", "metalness", "normals", "diffuse", "specular"}
_PARTS = _MAPS | {"diffuseshading", "depth"}
TASKS = ("material", "decompose", "shade", SYNTHESIZE, INPAINT)
"""All tasks that need a model, in the order in which they are told."""


def obstacle(task: str, teammates: Sequence[str], manner: Manner) -> str:
    """Why a team cannot do a task, as the end of a sentence; "" if it can."""
    gives, takes = ({n.removesuffix(side) for n in teammates if n.endswith(side)} for side in (".out", ".in"))
    if task == SYNTHESIZE and manner.zero_start:
        return "it answers what it is given, in one step, and makes nothing of its own"
    needed = {"material": (set(), _MAPS), "decompose": ({"image"}, _PARTS), "shade": ({"albedo"}, {"inverseshading"})}
    given, made = needed.get(task, (set(), gives))
    if not gives & made:
        return f"it makes {', '.join(sorted(gives)) or 'nothing'}"
    return "" if given <= takes else f"it takes {', '.join(sorted(takes)) or 'nothing'}"


def goes_on(takes: Container[str], manner: Manner) -> bool:
    """Whether a hole is filled with what lies around it, for a team that makes nothing of its own and does not look at masks."""
    return manner.zero_start and "mask" not in takes


def some_of(names: Sequence[str], most: int = 20) -> str:
    """Names for a sentence, which many of them would make too long to send."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"


def refusal(model: str, task: str, why: str, others: Sequence[str]) -> str:
    """The sentence for a model that cannot do a task, with those that can."""
    can = f"models that can: {some_of(others)}" if others else "none that is installed can; a team on a generative base could"
    return f"The model {model} cannot do the task {task}: {why}; {can}."
