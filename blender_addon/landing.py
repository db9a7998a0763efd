# SPDX-License-Identifier: GPL-3.0-or-later
"""Results become images, materials and node groups, each with the record of how it was made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime, timezone

import bpy

from . import compositing, images, material_maps, materials, rewriting, spaces, swatch
from .creation_options import IMAGE, MATERIAL, given_for
from .images import ImageError
from .job import Job
from .material_options import GIVEN
from .target import Target
from .wire import Result

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
        "group": str(job.settings.get("group", "")),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    for name, value in facts.items():
        datablock[PREFIX + name] = value
    job.made.append(datablock.name)


def _images(result: Result, job: Job, base: str, source: str) -> dict[str, bpy.types.Image]:
    return {name: _image(name, output.data, result, job, base, source) for name, output in result.outputs.items()}


def _kept(result: Result, job: Job, base: str, source: str) -> dict[str, bpy.types.Image]:
    """The images, saved with the file whether or not anything uses them."""
    made = _images(result, job, base, source)
    for image in made.values():
        image.use_fake_user = True
    return made


def _ahead(job: Job, channel: str, name: str) -> bpy.types.Image | None:
    """The image of a channel, if it was made before the rest could land and is still there, with its name."""
    target = job.ahead.pop(channel, None)
    image = target.find() if target is not None else None
    if image is not None:
        image.name = name
    return image


def _image(channel: str, data, result: Result, job: Job, base: str, source: str) -> bpy.types.Image:
    """One map: packed, or in the folder that the job names. Raises nothing for a folder: then it stays packed."""
    name = f"{base} {channel}"
    image = _ahead(job, channel, name) or images.create(name, data, channel)
    folder = str(job.settings.get("folder", ""))
    if folder:
        try:
            image = images.to_file(image, folder)
        except ImageError as error:
            job.remarks.append(f"{str(error).rstrip('.')}; it is packed into the .blend file")
    _mark(image, result, job, source, channel)
    return image


def land_material(
    result: Result,
    job: Job,
    *,
    name: str,
    source: str,
    target: Target | None = None,
    given: Mapping[str, Target] | None = None,
) -> str:
    """Images and a material; put on the object `target` if it is still there and takes materials.

    `given` are images of the user that go into it as they are; without it they are found by the names in the job's
    settings, as for a job of an earlier Blender.
    """
    made, kept = _images(result, job, name, source), _given(result, job, name, source, given)
    material = materials.build(name, made | kept, _setup(result, job))
    _mark(material, result, job, source)
    group = materials.group_of(material)
    if group is not None:
        _mark(group, result, job, source)
    _show_on_ball(material, result, kept, asset=bool(job.settings.get("asset")))
    return _with_remarks(_place(material, target), result, job)


def _setup(result: Result, job: Job) -> materials.Setup:
    """How the operator's settings want the material. Of what the photo covers, a tile that was cut from it has a part."""
    chosen, plain = job.settings, materials.Setup()
    return materials.Setup(
        height_scale=float(result.info.get("height_scale", chosen.get("height_scale", 0.0))),
        size_metres=float(chosen.get("picture_width", plain.size_metres)) * float(result.info.get("covers", 1.0)),
        scale=float(chosen.get("texture_scale", plain.scale)),
        relief=str(chosen.get("relief", plain.relief)),
    )


def _given(result: Result, job: Job, base: str, source: str, given: Mapping[str, Target] | None) -> dict:
    """The user's own images by channel, but for those that came back changed. One that Blender would take for colour,
    although it is data, is replaced by a copy that it does not."""
    if given is None:
        names = {channel: job.settings.get(setting) for setting, channel in GIVEN.items()}
        found = {channel: bpy.data.images.get(name) for channel, name in names.items() if name}
    else:
        found = {channel: target.find() for channel, target in given.items()}
    kept = {}
    for channel, image in found.items():
        if channel in result.outputs:
            continue
        if image is None:
            job.remarks.append(f"the given {channel} image is gone, so the material is without it")
        elif channel == "albedo" or spaces.shows_numbers(image):
            kept[channel] = image
        else:
            kept[channel] = _image(channel, images.read_channel(image, channel).data, result, job, base, source)
    return kept


def _show_on_ball(material: bpy.types.Material, result: Result, given: Mapping[str, bpy.types.Image], *, asset: bool) -> None:
    """The picture that lists and the Asset Browser show of the material, with the user's own images in it."""
    if asset:
        material.asset_mark()
        material.asset_data.description = f"Made by {result.info.get('model', 'a model')} from a photo"
        material.asset_data.tags.new("Teamwork", skip_if_exists=True)
    made = {name: output.data for name, output in result.outputs.items()}
    shown: dict = {}
    for name in given.keys() & swatch.PLAIN.keys():
        with suppress(ImageError):  # its file is gone meanwhile, say: then the ball is without it
            shown[name] = images.sampled(given[name], name, swatch.SIDE)
    picture = swatch.ball(made | shown) if shown else swatch.ball_of(made)
    preview = material.preview_ensure()
    preview.image_size = picture.shape[1], picture.shape[0]
    preview.image_pixels_float.foreach_set(picture[::-1].reshape(-1))


def _with_remarks(line: str, result: Result, job: Job) -> str:
    remarks = [*job.remarks, *([str(result.info["note"])] if result.info.get("note") else [])]
    return f"{line} ({'; '.join(dict.fromkeys(remarks))})" if remarks else line


def _place(material: bpy.types.Material, target: Target | None) -> str:
    """Put it on its object; a line about that."""
    if target is None:
        material.use_fake_user = True  # on nothing yet, it would be gone from the saved file
        return f"Made the material {material.name}"
    if _apply(target, material):
        unseen = "" if materials.has_uv(target.find()) else ", which has no UV map: unwrap it to see the maps"
        return f"Made the material {material.name} and put it on {target.find().name}{unseen}"
    material.use_fake_user = True
    return f"Made the material {material.name}; the object {target.name} cannot take it or is gone, so it is on nothing yet"


def _apply(target: Target, material: bpy.types.Material) -> bool:
    try:
        return materials.apply_to(target.find(), material, target.slot)
    except (AttributeError, RuntimeError):  # linked from another file, or otherwise not to be changed
        return False


def land_decomposition(result: Result, job: Job, *, name: str, source: str) -> str:
    """One image for each channel, and a compositor group that recomposes them."""
    parts = _kept(result, job, name, source)
    group = compositing.recompose_group(f"{name} recomposed", parts)
    if group is None:
        return f"Made {len(parts)} images of {name}"
    group.use_fake_user = True
    _mark(group, result, job, source)
    return f"Made {len(parts)} images of {name}, and the compositor group {group.name}"


def land_render(result: Result, job: Job, *, name: str, source: str) -> str:
    """The shaded picture as an image."""
    image = _ahead(job, "image", name) or images.create(name, result.outputs["image"].data, "image")
    image.use_fake_user = True
    _mark(image, result, job, source, "image")
    return f"Made the image {image.name}"


def land_parts(result: Result, job: Job, *, name: str, source: str) -> str:
    """Every channel as an image that is kept, whatever it was meant for."""
    parts = _kept(result, job, name, source)
    return f"Made {len(parts)} images of {name}"


def land_synthesis(
    result: Result,
    job: Job,
    *,
    name: str,
    source: str,
    target: Target | None = None,
    material: bool | None = None,
    given: Mapping[str, Target] | None = None,
) -> str:
    """A material, or an image for each channel; of what was `given`, only what came back changed."""
    material = job.settings.get("what") == "MATERIAL" if material is None else material
    if not (material and job.settings.get("seamless") == "MAKE"):
        named = {channel for setting, channel in given_for(MATERIAL if material else IMAGE).items() if job.settings.get(setting)}
        result = _without(result, named if given is None else given.keys())
    if material:
        return land_material(result, job, name=name, source=source, target=target, given=given)
    return land_parts(result, job, name=name, source=source)


def _without(result: Result, channels: Collection[str]) -> Result:
    return dataclasses.replace(result, outputs={name: each for name, each in result.outputs.items() if name not in channels})


def land_inpainted_image(
    result: Result, job: Job, *, name: str, source: str, old: dict[str, Target] | None = None, replace: bool = False
) -> str:
    """A copy of the picture with its new part; in place of the old one, if wanted."""
    channel = next(iter(old or result.outputs))
    original = old[channel].find() if old else bpy.data.images.get(source)
    made = _anew(result, job, channel, original, f"{name} inpainted", source)
    made.use_fake_user = True
    if original is None:
        return f"Made the image {made.name}; {source} is gone"
    return f"Made the image {made.name}" + (_instead(original, made) if replace else "")


def _anew(result: Result, job: Job, channel: str, original: bpy.types.Image | None, name: str, source: str) -> bpy.types.Image:
    values = result.outputs[channel].data
    made = _ahead(job, channel, name)
    if made is None:
        made = (
            rewriting.rewritten(original, name, values, channel, job.fills(channel)) if original else images.create(name, values, channel)
        )
    _mark(made, result, job, source, channel)
    return made


def _instead(old: bpy.types.ID, new: bpy.types.ID) -> str:
    """Have the new one used wherever the old one was; the old one is kept. Gives what there is to say of that."""
    used = old.users > int(old.use_fake_user)
    old.user_remap(new)
    old.use_fake_user = new.use_fake_user = True  # remapping takes these along
    return f" in place of {old.name}, which is kept" if used else f"; {old.name} is used nowhere any more, so nothing was replaced"


def land_inpainted_material(
    result: Result,
    job: Job,
    *,
    name: str,
    source: str,
    target: Target | None = None,
    old: dict[str, Target] | None = None,
    replace: bool = False,
) -> str:
    """A copy of the material with the new maps; if it is gone meanwhile, a new one."""
    original = target.find() if target else bpy.data.materials.get(source)
    if original is None:
        return f"{land_material(result, job, name=name, source=source)}; {source} is gone"
    found = {channel: each.find() for channel, each in old.items()} if old is not None else material_maps.maps_of(original)
    before = {channel: found.get(channel) for channel in result.outputs}
    made = {c: _anew(result, job, c, image, f"{name} inpainted {c}", source) for c, image in before.items()}
    material = material_maps.copy_with(original, {before[c]: made[c] for c in made if before[c] is not None})
    material.name, material.use_fake_user = f"{name} inpainted", True
    _mark(material, result, job, source)
    return f"Made the material {material.name}" + (_instead(original, material) if replace else "")


def land_inpainted(result: Result, job: Job, *, name: str, source: str) -> str:
    """What a job of an earlier Blender has made anew, of a picture or of a material."""
    land = land_inpainted_material if job.settings.get("material") else land_inpainted_image
    return land(result, job, name=name, source=source)


LANDERS = {
    "material": land_material,
    "decompose": land_decomposition,
    "shade": land_render,
    "synthesize": land_synthesis,
    "inpaint": land_inpainted,
}
"""By task: how a result lands that nothing but a name is known of."""
