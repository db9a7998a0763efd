# SPDX-License-Identifier: GPL-3.0-or-later
"""What a team is: its teammates, its rank, and which layers of the base its profile adapts."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_TEAMMATES = 256
MAX_RANK = 4096
MAX_IMAGE_ID = 10_000
NAME = re.compile(r"[a-z]{1,40}\.(in|out)")

_BLOCK = r"(.*\.)?transformer_blocks\.\d+\."
_SINGLE = r"(.*\.)?single_transformer_blocks\.\d+\."
_TEXT_BLOCK = r"[^.]+\.[^.]+\.attentions\.\d+\.transformer_blocks\.\d+\."
_RESNET = r"[^.]+\.[^.]+\.resnets\.\d+\."
_ATTENTION = (r"to_q", r"to_k", r"to_v", r"to_out\.0")


def _under(prefix: str, *entries: str) -> tuple[str, ...]:
    return tuple(prefix + entry for entry in entries)


_SD3 = _under(_BLOCK, r"norm1\.linear", *_under(r"attn\.", *_ATTENTION), r"ff\.net\.0\.proj", r"ff\.net\.2")
_UNET = (
    *_under(_TEXT_BLOCK, *_under(r"attn1\.", *_ATTENTION), r"ff\.net\.0\.proj", r"ff\.net\.2"),
    *_under(_RESNET, "conv1", "conv2", "conv_shortcut"),
)
ADAPTED_LAYERS = {
    "SD2": _UNET,
    "SDXL": _UNET,
    "SD3": _SD3,
    "FLUX": (*_SD3, *_under(_SINGLE, r"norm\.linear", *_under(r"attn\.", *_ATTENTION[:3]), "proj_mlp", "proj_out")),
    "FLUX2": (
        r"double_stream_modulation_img\.linear",
        r"single_stream_modulation\.linear",
        *_under(_BLOCK, *_under(r"attn\.", *_ATTENTION), r"ff\.linear_in", r"ff\.linear_out"),
        *_under(_SINGLE, r"attn\.to_qkv_mlp_proj", r"attn\.to_out"),
    ),
    "ZIMAGE": _under(
        r"layers\.\d+\.",
        r"adaLN_modulation\.0",
        *_under(r"attention\.", *_ATTENTION),
        *_under(r"feed_forward\.", "w1", "w2", "w3"),
    ),
}
"""Regular expressions over diffusers module paths of the layers that a new team of each profile adapts."""

JOINT_SUFFIX = "_PLUSATTN"


class TeamError(ValueError):
    """Something about a team cannot be; the message says which value, and what was expected.

    TeamError
    ├── CheckpointError   the adapter file is cut short, of another base, or not a Teamwork checkpoint
    └── RequestError      a run was asked for what this team cannot do
    """


def shown(text: str) -> str:
    """A text of somebody else's, on one line and not without end."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


class CheckpointError(TeamError):
    """The adapter file cannot be used; the message names the file and the fault."""


class RequestError(TeamError):
    """A run was asked for a channel, a size or a value that this team cannot take."""


@dataclass(frozen=True)
class TeamConfig:
    """The part of a checkpoint that is not tensors.

    `teammates` are in the order of the first axis of every `down`, `up` and `bias`. `communication` False keeps the
    hidden vector of each teammate to itself (plain LoRA per teammate). `profile` is SD2, SDXL, SD3, FLUX, FLUX2 or
    ZIMAGE, with or without _PLUSATTN (joint attention).

    In joint attention, `attn_allow` has one row of 0 and 1 for each teammate, the i-th of which says to whom the i-th
    may attend (none: all to all), and `teammate_image_ids` one offset for each, which its image tokens stand at on the
    first axis of the base's rotary positions (none: all at 0; bases without rotary positions have no such axis).
    """

    teammates: tuple[str, ...]
    rank: int
    profile: str
    communication: bool = True
    use_bias: bool = True
    base_model: str = ""
    title: str = ""
    resolution: str = ""
    attn_allow: tuple[str, ...] = ()
    teammate_image_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.teammates) <= MAX_TEAMMATES:
            raise TeamError(f"A team has 1 to {MAX_TEAMMATES} teammates; this one lists {len(self.teammates)}.")
        wrong = [name for name in self.teammates if not NAME.fullmatch(name)]
        if wrong:
            raise TeamError(f"The teammate {shown(wrong[0])} is not named like 'image.in' or 'normals.out'.")
        twice = [name for i, name in enumerate(self.teammates) if name in self.teammates[:i]]
        if twice:
            raise TeamError(f"The teammate {shown(twice[0])} is listed twice.")
        if not 1 <= self.rank <= MAX_RANK:
            raise TeamError(f"The rank is {self.rank}; expected 1 to {MAX_RANK}.")
        if self.family not in ADAPTED_LAYERS:
            raise TeamError(f"The profile {shown(self.profile)} is unknown; known are {', '.join(ADAPTED_LAYERS)}.")
        self._check_attention()

    def _check_attention(self) -> None:
        count, allow, ids = len(self.teammates), self.attn_allow, self.teammate_image_ids
        if allow and (len(allow) != count or any(len(row) != count or set(row) - {"0", "1"} for row in allow)):
            expected = ";".join(["1" * count] * count) if count < 8 else f"{count} rows of {count} digits"
            raise TeamError(f"attn_allow does not fit {count} teammates; expected digits 0 and 1 like {expected}.")
        if ids and (len(ids) != count or any(not 0 <= i <= MAX_IMAGE_ID for i in ids)):
            raise TeamError(f"teammate_image_ids does not fit; expected {count} numbers from 0 to {MAX_IMAGE_ID}.")

    @property
    def family(self) -> str:
        """The profile without the joint-attention suffix."""
        return self.profile.removesuffix(JOINT_SUFFIX)

    @property
    def joint_attention(self) -> bool:
        """Whether the rows of one image attend to each other's tokens."""
        return self.profile.endswith(JOINT_SUFFIX)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Channels that can be given, without the `.in`."""
        return tuple(n.removesuffix(".in") for n in self.teammates if n.endswith(".in"))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Channels that can be requested, without the `.out`."""
        return tuple(n.removesuffix(".out") for n in self.teammates if n.endswith(".out"))
