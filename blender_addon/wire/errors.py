# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can go wrong between a client and an engine. Each error's text is a sentence for the user.

    WireError
      |-- CredentialsError     a key is missing, malformed, or readable by others
      |-- EngineSilent         nobody answers: not running, not reachable, ended, or our key is not listed
      |-- VersionMismatch      the two ends speak different versions of the protocol, or are of different releases
      |-- ProtocolError        a message breaks a rule or a limit of the protocol
      |     '-- HandoverLost   a file of a message is not there, or not as it should be
      |-- JobFailed            the job ended with a code and a sentence
      '-- JobCancelled         the job ended because somebody cancelled it
"""

from __future__ import annotations


class WireError(Exception):
    """The root of the tree; its text is a sentence for the user."""


class CredentialsError(WireError):
    """A key is missing, malformed, or in a file or folder that others can read."""


class EngineSilent(WireError):
    """The engine did not answer in time."""


class VersionMismatch(WireError):
    """The other end speaks version `theirs` of the protocol, this end `ours`; both may be the same, with other messages.

    `request` is the message's number, if known.
    """

    def __init__(self, sentence: str, *, theirs: int = 0, ours: int = 0, request: int | None = None) -> None:
        super().__init__(sentence)
        self.theirs, self.ours, self.request = theirs, ours, request


class ProtocolError(WireError):
    """A message breaks a rule or a limit. `code` is one of `codes.CODES`; `request` is the message's number, if known."""

    def __init__(self, sentence: str, *, code: str = "bad-message", request: int | None = None) -> None:
        super().__init__(sentence)
        self.code, self.request = code, request


class HandoverLost(ProtocolError):
    """A file of the message about `job_id`, or the folder for such files, is not there or not as it should be."""

    def __init__(self, sentence: str, *, job_id: str = "") -> None:
        super().__init__(sentence, code="handover-lost")
        self.job_id = job_id


class JobFailed(WireError):
    """A job ended without a result: `code` for programs, `sentence` for people."""

    def __init__(self, job_id: str, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.job_id, self.code, self.sentence = job_id, code, sentence


class JobCancelled(WireError):
    """A job was cancelled before it had a result."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The job {job_id} was cancelled.")
        self.job_id = job_id
