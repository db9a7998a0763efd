# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages survive the wire, and nothing else gets through."""

from __future__ import annotations

import json
import tracemalloc
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_addon.wire import FROM_CLIENT, FROM_ENGINE, SPACES, ChannelImage, ProtocolError, Submit, VersionMismatch
from blender_addon.wire import decode, encode, one_line
from blender_addon.wire.limits import MAGIC, MAX_ARRAYS, MAX_HEADER_BYTES, PROTOCOL
from blender_addon.wire.messages import JobInfo, ModelInfo, Welcome
from blender_addon.wire.schema import Count, Name, Scalar, Seconds, Sentence, fields_of

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=30)
COUNTS = st.integers(0, 2**53)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def images(draw):
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 4)))
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape)
    return ChannelImage(values.astype(draw(st.sampled_from(["float32", "float16"]))), draw(st.sampled_from(SPACES)))


KNOWN = {
    Name: NAMES,
    Sentence: TEXTS,
    Count: COUNTS,
    Seconds: st.floats(0, 1e9),
    Scalar: st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | TEXTS,
    ChannelImage: images(),
    str: TEXTS,
    bool: st.booleans(),
}


def values(hint):
    """A strategy for a field's annotation."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in KNOWN:
        return KNOWN[hint]
    if origin is tuple:
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=3)
    if type(None) in args:
        return st.none() | values(next(a for a in args if a is not type(None)))
    return messages(hint)


def messages(kind):
    """A strategy for a message type."""
    return st.builds(kind, **{name: values(hint) for name, hint in fields_of(kind).items()})


def same(a, b) -> bool:
    if isinstance(a, ChannelImage):
        return a.space == b.space and np.array_equal(a.data.astype(np.float32), b.data)
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in fields_of(type(a)))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


ALL = [(registry, kind) for registry in (FROM_CLIENT, FROM_ENGINE) for kind in registry.kinds.values()]


@pytest.mark.parametrize(("registry", "kind"), ALL, ids=lambda x: getattr(x, "__name__", ""))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_message_comes_back_as_it_was(registry, kind, data):
    message = data.draw(messages(kind))
    number = data.draw(st.none() | COUNTS)
    envelope = decode([bytes(frame) for frame in encode(message, number)], registry)
    assert envelope.request == number
    assert same(message, envelope.message)


@pytest.mark.parametrize("text", ["\u6728\u306e\u3000\u5e8a", "stein\u00a0mauer", "red\tbricks\nand moss", "a\u200db", " "])
def test_any_text_can_be_sent_on_one_line(text):
    line = one_line(text)
    decode(frames_of(job(options={"prompt": line})), FROM_CLIENT)
    assert line == "".join(letter for letter in " ".join(text.split()) if letter != "\u200d")


def job(**changes) -> Submit:
    fields = {"job_id": "j", "task": "echo", "model": "", "inputs": {}, "outputs": (), "options": {}}
    return Submit(**fields | changes)


def frames_of(message=None) -> list[bytes]:
    picture = ChannelImage(np.zeros((2, 3, 3), np.float32), "data")
    return [bytes(f) for f in encode(message or job(inputs={"image": picture}), 1)]


def changed(frames: list[bytes], **entries) -> list[bytes]:
    header = json.loads(frames[1])
    body = header["body"] | entries.pop("body", {})
    return [frames[0], json.dumps(header | {"body": body} | entries).encode(), *frames[2:]]


def image(**changes) -> dict:
    return {"inputs": {"image": {"dtype": "float32", "shape": [2, 3, 3], "space": "data", "buffer": 0} | changes}}


BAD = {
    "no frames": lambda f: [],
    "only the magic": lambda f: f[:1],
    "other magic": lambda f: [b"SOMETHING", *f[1:]],
    "no JSON": lambda f: [f[0], b"{", *f[2:]],
    "pickle": lambda f: [f[0], b"\x80\x04N.", *f[2:]],
    "a list": lambda f: [f[0], b"[]", *f[2:]],
    "a key twice": lambda f: [f[0], b'{"protocol":1,"protocol":1}', *f[2:]],
    "NaN": lambda f: [f[0], f[1].replace(b'"options":{}', b'"options":{"a":NaN}'), *f[2:]],
    "deep nesting": lambda f: [f[0], b"[" * 100_000, *f[2:]],
    "huge header": lambda f: [f[0], b" " * (MAX_HEADER_BYTES + 1), *f[2:]],
    "too many frames": lambda f: [*f, *[b""] * (MAX_ARRAYS + 1)],
    "a number as type": lambda f: changed(f, type=7),
    "extra entry": lambda f: changed(f, extra=1),
    "wrong field": lambda f: changed(f, body={"job_id": 5}),
    "control character": lambda f: changed(f, body={"job_id": "a\n"}),
    "path as a name": lambda f: changed(f, body={"job_id": "../x"}),
    "shape too large": lambda f: changed(f, body=image(shape=[10**9, 10**9, 3])),
    "negative shape": lambda f: changed(f, body=image(shape=[-2, 3, 3])),
    "shape of booleans": lambda f: changed(f, body=image(shape=[True, 3, 3])),
    "wrong bytes": lambda f: changed(f, body=image(shape=[2, 3, 4])),
    "object dtype": lambda f: changed(f, body=image(dtype="object")),
    "unknown space": lambda f: changed(f, body=image(space="srgb")),
    "missing buffer": lambda f: changed(f, body=image(buffer=1)),
    "unused buffer": lambda f: [*f, b"1234"],
    "truncated buffer": lambda f: [*f[:2], f[2][:-1]],
}


@pytest.mark.parametrize("harm", BAD.values(), ids=BAD)
def test_what_is_not_a_message_is_refused_in_a_sentence(harm):
    with pytest.raises(ProtocolError) as caught:
        decode(harm(frames_of()), FROM_CLIENT)
    assert str(caught.value).endswith(".")


CLAIMS = {
    "more pixels than bytes": image(shape=[8000, 8000, 4]),
    "more than any limit": image(shape=[16384, 16384, 4]),
    "endless": image(shape=[2**62, 2**62, 3]),
    "many outputs": {"outputs": ["albedo"] * 20_000},
}


@pytest.mark.parametrize("body", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_is_refused_before_memory_is_set_aside_for_it(body):
    frames = changed(frames_of(), body=body)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode(frames, FROM_CLIENT)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_HEADER_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("registry", "kind"), ALL, ids=lambda x: getattr(x, "__name__", ""))
def test_a_message_goes_one_way_only(registry, kind):
    other = FROM_ENGINE if registry is FROM_CLIENT else FROM_CLIENT
    assert kind not in other.kinds.values()


def test_a_message_over_a_limit_is_not_even_sent():
    pixel = ChannelImage(np.zeros((1, 1, 1), np.float32), "data")
    with pytest.raises(ProtocolError, match="frames; expected 2"):
        encode(job(inputs={f"c{i}": pixel for i in range(MAX_ARRAYS + 1)}))
    with pytest.raises(ProtocolError, match="header has"):
        encode(job(options={f"o{i}": "x" * 4000 for i in range(100)}))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
def test_random_bytes_raise_nothing_but_the_protocols_errors(parts, with_magic):
    with pytest.raises((ProtocolError, VersionMismatch)):
        decode([MAGIC, *parts] if with_magic else parts, FROM_CLIENT)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_another_sound_message(position, value):
    frames = frames_of()
    header = bytearray(frames[1])
    header[position % len(header)] = value
    try:
        decode([frames[0], bytes(header), *frames[2:]], FROM_CLIENT)
    except (ProtocolError, VersionMismatch):
        pass


@pytest.mark.parametrize(("theirs", "older"), [(PROTOCOL + 1, "the engine"), (PROTOCOL - 1, "the add-on")])
def test_another_version_says_which_end_to_update(theirs, older):
    with pytest.raises(VersionMismatch, match=f"update {older}") as caught:
        decode(changed(frames_of(), protocol=theirs), FROM_CLIENT)
    assert (caught.value.theirs, caught.value.ours, caught.value.request) == (theirs, PROTOCOL, 1)


def without(frames: list[bytes], *names: str) -> list[bytes]:
    header = json.loads(frames[1])
    body = {name: value for name, value in header["body"].items() if name not in names}
    return [frames[0], json.dumps(header | {"body": body}).encode(), *frames[2:]]


WELCOME = Welcome(PROTOCOL, "1", "cpu", 0, 0, (ModelInfo("n", "t", "l", (), (), 0, 0, 0, 0),), (), "i")
SAME = f"Both ends speak version {PROTOCOL} of the Teamwork protocol, but"
ODD = {"\n" + "x" * 100: 1} | {f"extra{i}": i for i in range(5)}
OTHER_RELEASES = [
    (FROM_CLIENT, changed(frames_of(), body={"tint": 1}), "sent 'tint' in submit, which is not known here: update the engine."),
    (FROM_CLIENT, without(frames_of(), "task"), "the client sent no 'task' in submit: update the add-on in Blender."),
    (FROM_CLIENT, changed(frames_of(), type="dance"), "the message 'dance', which is not known here: update the engine."),
    (FROM_CLIENT, changed(frames_of(), body=image(alpha=1)), "'alpha' in submit.inputs['image'], which is not known"),
    (FROM_ENGINE, changed(frames_of(WELCOME), body={"tint": 1}), "which is not known here: update the add-on in Blender."),
    (FROM_ENGINE, without(frames_of(WELCOME), "models", "tasks"), "the engine sent no 'models', 'tasks' in welcome: update the engine."),
    (
        FROM_ENGINE,
        changed(without(frames_of(WELCOME), "tasks"), body={"tint": 1}),
        "the engine sent 'tint' and not 'tasks' in welcome: update both to the same release.",
    ),
    (FROM_ENGINE, changed(frames_of(WELCOME), body=ODD), "'extra0', 'extra1' and 3 more in welcome, which is not known"),
]


@pytest.mark.parametrize(("registry", "frames", "told"), OTHER_RELEASES, ids=[told[:40] for _, _, told in OTHER_RELEASES])
def test_other_messages_under_the_same_number_say_which_end_to_update(registry, frames, told):
    with pytest.raises(VersionMismatch) as caught:
        decode(frames, registry)
    sentence = str(caught.value)
    assert sentence.startswith(SAME) and told in sentence and sentence.isprintable() and len(sentence) < 400
    assert (caught.value.theirs, caught.value.ours, caught.value.request) == (PROTOCOL, PROTOCOL, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: job(job_id=""),
        lambda: job(job_id="x" * 65),
        lambda: job(options={"a": float("nan")}),
        lambda: job(options={"a": [1]}),
        lambda: ChannelImage(np.zeros((2, 2), np.float32), "data"),
        lambda: ChannelImage(np.zeros((2, 2, 5), np.float32), "data"),
        lambda: ChannelImage(np.zeros((2, 2, 3)), "data"),
        lambda: ChannelImage(np.zeros((2, 2, 3), np.float32), "sRGB"),
        lambda: ModelInfo("n", "t", "l", ("a b",), (), 0, 0, 0, 0),
        lambda: JobInfo("n", "t", "s", -1),
    ],
)
def test_a_message_that_breaks_a_rule_cannot_even_be_made(make):
    with pytest.raises(ProtocolError):
        make()


def test_images_are_not_copied_and_cannot_be_written():
    frames = [np.frombuffer(f, np.uint8) for f in frames_of()]
    picture = decode(frames, FROM_CLIENT).message.inputs["image"].data
    assert not picture.flags.writeable
    with pytest.raises(ValueError):
        picture[0] = 1
