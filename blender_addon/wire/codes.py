# SPDX-License-Identifier: GPL-3.0-or-later
"""The codes that an engine or a client gives with a sentence. Tasks add codes of their own for a user's mistakes."""

from __future__ import annotations

CODES: dict[str, str] = {
    "bad-message": "the message breaks a rule or a limit of the protocol",
    "version-mismatch": "the two ends speak different versions of the protocol, or are of different releases",
    "queue-full": "as many jobs wait as the engine accepts, or their inputs fill the memory set aside for them",
    "unknown-task": "the engine has no task of that name",
    "unknown-model": "the engine has no model of that name",
    "unable": "the model cannot do the task; the sentence names those that can",
    "model-missing": "the model is known but not on the engine's disk yet: it can be fetched with the task `get-model`",
    "offline": "the model would have to be fetched, and the network is ruled out where the engine runs",
    "token-needed": "the hub gives the model only to accounts that have accepted its licence, known by their token",
    "hub-unreachable": "the hub could not be reached, or broke off; what was fetched is kept",
    "disk-full": "the engine's disk has no room for the model; what was fetched is kept",
    "download-failed": "the hub does not have the model as expected",
    "unknown-job": "the engine holds no job of that name for this client, perhaps because it was started anew",
    "job-id-reused": "the job's name was used before, for another request",
    "result-gone": "the result was dropped: newer ones needed its room, or nobody fetched it in time",
    "handover-lost": "a file of the message is not there, or not as it should be: send the images in the message",
    "engine-stopping": "the engine was told to stop before the job's end",
    "busy": "the worker cannot be unloaded while a job runs",
    "worker-failed-to-start": "the worker process did not come up",
    "worker-died": "the worker process ended in the middle of the job",
    "worker-hung": "the worker process gave no sign of life for too long",
    "out-of-memory": "the job did not fit into the memory of its device",
    "device-failed": "the device itself failed in the middle of the job; the next one gets a new worker",
    "internal": "the engine made a mistake; its log has the details",
    "timeout": "the client's own time limit for the job is over",
}
