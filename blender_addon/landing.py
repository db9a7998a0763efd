# SPDX-License-Identifier: GPL-3.0-or-later
"""Results become images, materials and node groups, each with the record of how it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import bpy

from . import compositing, images, materials
from .job import Job
from .wire import ChannelImage, Result

PREFIX = "teamwork_"


def _mark(datablock: bpy.types.ID, result: Result, job: Job, source: str, channel: str = "") -> None:
    """Provenance, as custom properties: enough to make the same again."""
    info = result.info
    facts = {
        "task": job.submit.task,
        "channel": channel,
        "model": job.submit.model,
        "model_hash": str(info.get("model_hash", "")),
        "seed": info.get("seed", 0),
        "steps": info.get("steps", 0),
        "size": job.submit.options.get("size", 0),
        "seconds": info.get("seconds", 0.0),
        "job": job.job_id,
        "source": source,
        "operator": job.operator,
        "settings": json.dumps(job.settings),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    for name, value in facts.items():
        datablock[PREFIX + name] = value
    job.made.append(datablock.name)


def _images(result: Result, job: Job, base: str, source: str) -> dict[str, bpy.types.Image]:
    made = {}
    for channel, output in result.outputs.items():
        made[channel] = images.create(f"{base} {channel}", output.data, channel)
        _mark(made[channel], result, job, source, channel)
    return made


@dataclass(frozen=True)
class Target:
    """An object that was there when the job was sent. Found again by its id of this session, which survives renaming
    and undo but not the loading of another file, where an object of the same name is another one."""

    name: str
    session_uid: int

    @staticmethod
    def of(thing: bpy.types.Object | None) -> Target | None:
        """What to remember of an object."""
        return Target(thing.name, thing.session_uid) if thing is not None else None

    def find(self) -> bpy.types.Object | None:
        """The object, if it is still there."""
        return next((each for each in bpy.data.objects if each.session_uid == self.session_uid), None)


def land_material(result: Result, job: Job, *, name: str, source: str, target: Target | None = None) -> str:
    """Images and a material; put on the object `target` if it is still there and takes materials."""
    textures = _images(result, job, name, source)
    material = materials.build(name, textures, float(result.info.get("height_scale", 0.0)))
    _mark(material, result, job, source)
    if target is None:
        material.use_fake_user = True  # on nothing yet, it would be gone from the saved file
        return f"Made the material {material.name}"
    if _apply(target.find(), material):
        return f"Made the material {material.name} and put it on {target.find().name}"
    material.use_fake_user = True
    return f"Made the material {material.name}; the object {target.name} cannot take it or is gone, so it is on nothing yet"


def _apply(thing: bpy.types.Object | None, material: bpy.types.Material) -> bool:
    try:
        return materials.apply_to(thing, material)
    except (AttributeError, RuntimeError):  # linked from another file, or otherwise not to be changed
        return False


def _exact(result: Result) -> Result:
    """The result, with a residual that knows in how many bits the rest is kept."""
    outputs = dict(result.outputs)
    if all(part in outputs for part in compositing.GAINS):
        residual = compositing.exact_residual({part: outputs[part].data for part in compositing.PARTS if part in outputs})
        outputs["residual"] = ChannelImage(residual, outputs["residual"].space)
    return replace(result, outputs=outputs)


def land_decomposition(result: Result, job: Job, *, name: str, source: str) -> str:
    """One image for each channel, and a compositor group that recomposes them."""
    parts = _images(_exact(result), job, name, source)
    group = compositing.recompose_group(f"{name} recomposed", parts)
    if group is None:
        return f"Made {len(parts)} images of {name}"
    group.use_fake_user = True
    _mark(group, result, job, source)
    return f"Made {len(parts)} images of {name}, and the compositor group {group.name}"


def land_render(result: Result, job: Job, *, name: str, source: str) -> str:
    """The shaded picture as an image."""
    image = images.create(name, result.outputs["image"].data, "image")
    image.use_fake_user = True
    _mark(image, result, job, source, "image")
    return f"Made the image {image.name}"


def land_parts(result: Result, job: Job, *, name: str, source: str) -> str:
    """Every channel as an image that is kept, whatever it was meant for."""
    parts = _images(result, job, name, source)
    for image in parts.values():
        image.use_fake_user = True
    return f"Made {len(parts)} images of {name}"


LANDERS = {"material": land_material, "decompose": land_decomposition, "shade": land_render}
"""By task: how a result lands that nothing but a name is known of."""
