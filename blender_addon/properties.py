# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels edit; kept with the scene."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty, StringProperty

from .creation_options import GivenDepthImage, InpaintOptions, SynthesisOptions
from .engine import LINK
from .material_options import GivenImages, MaterialOptions
from .operators.neural_render import VIEWS
from .own_numbers import OwnNumbers, OwnSynthesis


def offered_models(settings: bpy.types.PropertyGroup, context: bpy.types.Context, typed: str) -> list[str]:
    """The models that the engine offers, as far as it has been asked."""
    return [model.name for model in LINK.welcome.models if typed in model.name] if LINK.welcome else []


class TeamworkSettings(
    MaterialOptions,
    GivenImages,
    GivenDepthImage,
    SynthesisOptions,
    InpaintOptions,
    OwnNumbers,
    OwnSynthesis,
    bpy.types.PropertyGroup,
):
    """The settings of the next job of each task."""

    picture: PointerProperty(name="Picture", description="The photo or image to work on", type=bpy.types.Image)
    mask: PointerProperty(name="Mask", description="The image that says what is made anew", type=bpy.types.Image)
    model: StringProperty(name="Model", description="Which team makes the result", default="nano", search=offered_models)
    seed: IntProperty(name="Seed", description="Another seed gives another answer", min=0)
    steps: IntProperty(name="Steps", description="Denoising steps; 0 lets the model choose", min=0, max=1000)
    size: IntProperty(name="Working Size", description="Longest side that the network sees; 0 lets the model choose", min=0, max=4096)
    apply: BoolProperty(name="Put on Active Object", description="Put the material into the active slot", default=True)
    view: EnumProperty(name="View", description="From where the scene is rendered", items=VIEWS)
    samples: IntProperty(name="Samples", description="Cycles samples for the passes", min=1, max=4096, default=4)


CLASSES = (TeamworkSettings,)


def register() -> None:
    """Give every scene its settings."""
    bpy.types.Scene.teamwork = PointerProperty(type=TeamworkSettings)


def unregister() -> None:
    """Take them away."""
    del bpy.types.Scene.teamwork
