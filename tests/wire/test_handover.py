# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in files beside the messages: exactly those that were laid down there, or a refusal in a sentence; never anything else."""

from __future__ import annotations

import os
import random
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from blender_addon.wire import FROM_CLIENT, FROM_ENGINE, ChannelImage, Client, Credentials, HandoverLost, Progress
from blender_addon.wire import ProtocolError, Result, decode, encode
from blender_addon.wire import handover as module
from blender_addon.wire.handover import Folder
from blender_addon.wire.limits import MIN_FILE_BYTES
from blender_addon.wire.reference import Reference, stand_in, sum_of

from .mutations import mutated
from .test_messages import changed, image, job

SIDE = 200
ODD = ("../../../etc/passwd", "/etc/passwd", "proof", "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "/", "0" * 31 + "\\u0030")


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder that only this user may enter."""
    path = tmp_path / "handed"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def folder(place):
    """The same, open."""
    opened = Folder(str(place))
    yield opened
    opened.close()


def picture(dtype: str = "float32", seed: int = 0) -> ChannelImage:
    """A seeded picture that is large enough for a file."""
    return ChannelImage(np.random.default_rng(seed).random((SIDE, SIDE, 3)).astype(dtype), "scene-linear")


def handed(folder: Folder, sent: ChannelImage) -> list[bytes]:
    """A job on the picture, laid down."""
    return [bytes(frame) for frame in encode(job(inputs={"image": sent}), 1, folder.lay_down)]


def the_file(place: Path) -> Path:
    """The one file of the folder."""
    (file,) = place.iterdir()
    return file


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_large_image_goes_by_a_file_and_comes_back_exactly(place, folder, dtype):
    sent = picture(dtype)
    frames = handed(folder, sent)
    assert sum(map(len, frames)) < 1000 and the_file(place).stat().st_size == sent.data.nbytes
    assert the_file(place).stat().st_mode & 0o777 == 0o600
    envelope = decode(frames, FROM_CLIENT, folder.take)
    taken = envelope.message.inputs["image"].data
    assert np.array_equal(taken, sent.data.astype(np.float32)) and not taken.flags.writeable
    assert envelope.files[2].name == the_file(place).name


def test_a_small_image_and_a_preview_go_in_the_message(place, folder):
    small = ChannelImage(np.zeros((10, 10, 3), np.float32), "data")
    assert len(handed(folder, small)[2]) == 1200
    preview = encode(Progress("j", 1, 2, "computing", None, picture()), None, folder.lay_down)
    assert len(preview[2]) > MIN_FILE_BYTES and list(place.iterdir()) == []
    reference = Reference("0" * 32, picture().data.nbytes).frame()
    with pytest.raises(ProtocolError, match="needs 480000 bytes"):
        decode([*preview[:2], reference], FROM_ENGINE, folder.take)


def test_who_only_passes_a_reference_on_needs_no_memory_for_it(folder):
    frames = handed(folder, picture())
    taken = decode(frames, FROM_CLIENT, stand_in).message.inputs["image"].data
    assert taken.shape == (SIDE, SIDE, 3) and taken.strides == (0, 0, 0)


def test_the_sum_is_that_of_the_content(folder):
    sent = memoryview(picture().data).cast("B")
    reference = Reference.parse(folder.lay_down(sent, summed=True))
    words = np.frombuffer(sent, "<u8").tolist()
    assert reference.sum[0] == sum(words) % 2**64 and reference.sum == sum_of(bytes(sent))
    assert reference.sum != sum_of(memoryview(picture(seed=1).data).cast("B"))


def replace(file: Path, make) -> None:
    """Something else in the place of a file, with the same content where that can be."""
    content = file.read_bytes()
    file.unlink()
    make(file, content)


def symlink(file: Path, content: bytes) -> None:
    """A link to a file outside."""
    target = file.parent.parent / "outside"
    target.write_bytes(content)
    target.chmod(0o600)
    file.symlink_to(target)


def readable(file: Path, content: bytes) -> None:
    """A file that others may read."""
    file.write_bytes(content)
    file.chmod(0o644)


HARMS = {
    "a symbolic link": symlink,
    "readable by others": readable,
    "a pipe": lambda file, _: os.mkfifo(file, 0o600),
    "a folder": lambda file, _: file.mkdir(mode=0o700),
    "nothing": lambda file, _: None,
    "too short": lambda file, content: (file.write_bytes(content[:-1]), file.chmod(0o600)),
    "too long": lambda file, content: (file.write_bytes(content + b"x"), file.chmod(0o600)),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_file_that_is_not_as_it_should_be_is_refused_before_memory_is_set_aside(place, folder, harm):
    frames = handed(folder, picture())
    replace(the_file(place), harm)
    tracemalloc.start()
    try:
        with pytest.raises(HandoverLost) as caught:
            decode(frames, FROM_CLIENT, folder.take)
        assert tracemalloc.get_traced_memory()[1] < picture().data.nbytes // 2
    finally:
        tracemalloc.stop()
    assert caught.value.job_id == "j" and str(caught.value).endswith(".")
    assert not folder.holds(Reference.parse(frames[2]))


def test_a_file_of_another_user_is_refused(folder, monkeypatch):
    frames = handed(folder, picture())
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(HandoverLost, match="not a file of this user's alone"):
        decode(frames, FROM_CLIENT, folder.take)
    assert not folder.holds(Reference.parse(frames[2]))


def test_a_file_that_is_cut_short_while_it_is_read_is_refused(place, folder, monkeypatch):
    frames, empty = handed(folder, picture()), np.empty

    def cut(*arguments):
        os.truncate(the_file(place), 1000)
        return empty(*arguments)

    monkeypatch.setattr(module.np, "empty", cut)
    with pytest.raises(HandoverLost, match="shorter than was said"):
        decode(frames, FROM_CLIENT, folder.take)


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_random_name_is_refused(place, folder, name):
    frames = handed(folder, picture())
    frames[2] = frames[2].replace(the_file(place).name.encode(), name.encode())
    with pytest.raises(ProtocolError) as caught:
        decode(frames, FROM_CLIENT, folder.take)
    assert not isinstance(caught.value, HandoverLost)


def test_another_size_than_that_of_the_image_is_refused(folder):
    frames = handed(folder, picture())
    with pytest.raises(ProtocolError, match="needs 480000 bytes, but its buffer has 480001"):
        decode([*frames[:2], frames[2].replace(b"480000", b"480001")], FROM_CLIENT, folder.take)
    with pytest.raises(ProtocolError, match="needs 72 bytes"):
        decode(changed(frames, body=image()), FROM_CLIENT, folder.take)


def test_bytes_in_files_count_for_the_limit_of_a_message():
    described = {"dtype": "float32", "shape": [8192, 8192, 4], "space": "data"}
    images = {f"c{index}": described | {"buffer": index} for index in range(4)}
    reference = Reference("0" * 32, 1 << 30).frame()
    frames = changed(encode(job()), body={"inputs": images})
    with pytest.raises(ProtocolError, match="no more are allowed"):
        decode([*frames, *[reference] * 4], FROM_CLIENT, stand_in)
    del images["c3"]
    assert len(decode([*changed(frames, body={"inputs": images}), *[reference] * 3], FROM_CLIENT, stand_in).files) == 3


def test_thousands_of_mutated_references_are_refused(place, folder):
    chance, frames = random.Random(0), handed(folder, picture())
    seen = set()
    for _ in range(3000):
        odd = [*frames[:2], *mutated([frames[2]], chance)]
        try:
            decode(odd, FROM_CLIENT, folder.take)
            seen.add("understood")
        except ProtocolError as error:
            seen.add(type(error))
    assert seen >= {ProtocolError, HandoverLost} and len(list(place.iterdir())) == 1


def test_a_folder_that_others_may_enter_or_another_users_or_a_link_is_refused(place, monkeypatch):
    (place.parent / "link").symlink_to(place)
    for path in (place.parent / "link", place / "missing", "a\0b"):
        with pytest.raises(HandoverLost, match="cannot be opened"):
            Folder(str(path))
    place.chmod(0o750)
    with pytest.raises(HandoverLost, match="not this user's alone"):
        Folder(str(place))
    place.chmod(0o700)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(HandoverLost, match="not this user's alone"):
        Folder(str(place))


def test_a_full_file_system_leaves_the_image_in_the_message_and_nothing_behind(place, folder):
    """The system's limit on the size of a file breaks the writing off in the middle, as a full one does."""
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
    try:
        frames = handed(folder, picture())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    assert len(frames[2]) == picture().data.nbytes and list(place.iterdir()) == []
    assert decode(frames, FROM_CLIENT).message.inputs["image"].data.shape == (SIDE, SIDE, 3)


def test_half_of_the_room_is_left_to_others(place, folder, monkeypatch):
    system, needed = os.statvfs(place), picture().data.nbytes
    for free, laid_down in ((2 * needed + 4096, True), (2 * needed - 4096, False)):
        few = os.statvfs_result((system.f_bsize, 1, *system[2:4], free, *system[5:]))
        monkeypatch.setattr(os, "fstatvfs", lambda handle, few=few: few)
        assert (len(handed(folder, picture())[2]) < 1000) == laid_down


def test_a_file_that_is_used_again_must_have_room_to_grow(place, folder, monkeypatch):
    small = ChannelImage(np.zeros((130, 130, 1), np.float32), "data")
    handed(folder, small)
    folder.recycle(the_file(place).name)
    system = os.statvfs(place)
    none_free = os.statvfs_result((system.f_bsize, 1, *system[2:4], small.data.nbytes, *system[5:]))
    monkeypatch.setattr(os, "fstatvfs", lambda handle: none_free)
    assert len(handed(folder, picture())[2]) == picture().data.nbytes and list(place.iterdir()) == []
    assert sum(len(frame) for frame in handed(folder, small)) > small.data.nbytes  # nothing to be used again is left


def test_a_folder_that_is_gone_leaves_the_image_in_the_message(place, folder):
    place.rmdir()
    assert len(handed(folder, picture())[2]) == picture().data.nbytes


def test_a_result_is_handed_over_without_a_sum(folder):
    frames = encode(Result("j", {"image": picture()}, {}), None, folder.lay_down)
    assert frames[2].endswith(b'"sum":null}')
    assert np.array_equal(decode(frames, FROM_ENGINE, folder.take).message.outputs["image"].data, picture().data)


@pytest.mark.parametrize(("address", "may"), [("127.0.0.1:1", True), ("[::1]:1", True), ("192.168.1.20", False), ("studio:1", False)])
def test_only_a_connection_to_this_computer_asks_for_files(tmp_path, address, may):
    with Client(address, Credentials.local(tmp_path / "home")) as client:
        assert client._may_share == may
