# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong in a job, as a code and a sentence, for errors that no task foresaw. Imports no library to know them."""

from __future__ import annotations

from blender_addon.wire import ProtocolError, Submit, one_line

from .errors import first_line

_OUT_OF_MEMORY_TYPES = ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError")
_OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "could not create a primitive")
"""The last is how oneDNN, which does convolutions on the CPU, says it."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Did an allocation fail? torch says so by a type of its own on a graphics card, only by words on the CPU.

    Also where that is what an error came from: diffusers turns whatever stops it from reading weights into an `OSError`.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        text = str(error).lower()
        if type(error).__name__ in _OUT_OF_MEMORY_TYPES or any(words in text for words in _OUT_OF_MEMORY_WORDS):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def is_broken_device(error: BaseException) -> bool:
    """Did the device itself fail? CUDA answers nothing any more in a process that has met such an error."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def explain(error: Exception, job: Submit) -> tuple[str, str]:
    """The code and the sentence for an error in the job."""
    if is_out_of_memory(error):
        return "out-of-memory", (
            f"The task {job.task} ran out of memory{_size(job)}: use a smaller image, or close other programs that use the device."
        )
    if is_broken_device(error):
        return "device-failed", (
            f"The device failed during the task {job.task} ({first_line(error)}): the next job gets a new worker. Should it fail, too,"
            " start the computer again, or see to the device's driver."
        )
    if isinstance(error, ProtocolError):
        return "internal", f"The task {job.task} made something that cannot be sent: {error}"
    return "internal", f"The task {job.task} failed by a mistake in the engine ({type(error).__name__}: {error}); its log has the details."


def printable(text: str) -> str:
    """A text as one sentence may be on the wire: one line, no control characters, not endless."""
    return one_line(text)[:2000]


def _size(job: Submit) -> str:
    shapes = [image.data.shape for image in job.inputs.values()]
    return f" with an image of {shapes[0][1]} x {shapes[0][0]} pixels" if shapes else ""
