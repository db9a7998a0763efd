# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a model cannot be had, as a code and one sentence with the way out."""

from __future__ import annotations

import errno

from .offers import Offer


class HubError(ValueError):
    """A model cannot be fetched: `code` is one of the protocol's, the text a sentence for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def offline(offer: Offer, why: str) -> HubError:
    """The network was ruled out."""
    return HubError("offline", f"{offer.name} is not on this disk, and {why}: allow it, or fetch the model on another computer.")


def no_room(needed: int, free: int, folder: object) -> HubError:
    """The disk is too small."""
    return HubError(
        "disk-full",
        f"The disk of {folder} is too full: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free."
        " Make room, or set TEAMWORK_HOME to a folder on another disk; what was fetched so far is kept.",
    )


def explained(error: Exception, offer: Offer, token: bool) -> HubError:
    """The sentence for what the hub's library or the system raised while `offer` was fetched, with or without a token."""
    if isinstance(error, HubError):
        return error
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OfflineModeIsEnabled" in kinds:
        return offline(offer, "HF_HUB_OFFLINE is set")
    if "GatedRepoError" in kinds:
        return _gated(offer, token)
    if "RepositoryNotFoundError" in kinds:
        return HubError("download-failed", f"The hub shows no repository {offer.repo} to {_who(token)}; see {offer.page}.")
    if "RevisionNotFoundError" in kinds or "EntryNotFoundError" in kinds:
        return HubError("download-failed", f"{offer.repo} does not hold the files of {offer.name} any more; see {offer.page}.")
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return HubError("disk-full", "The disk became full while fetching: make room and fetch again; what is here is kept.")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return _refused(offer, token)
    if status is not None:
        return HubError("hub-unreachable", f"The hub answered {status} for {offer.repo}: try again later; what is here is kept.")
    if isinstance(error, PermissionError):
        return HubError("download-failed", f"{error.filename} cannot be written: {error.strerror}.")
    return HubError(
        "hub-unreachable", f"The hub cannot be reached ({_brief(error)}): check the network and try again; what is here is kept."
    )


def _gated(offer: Offer, token: bool) -> HubError:
    if token:
        sentence = f"The token's account has not accepted the licence of {offer.name} ({offer.licence}): accept it at {offer.page}."
    else:
        sentence = (
            f"{offer.name} needs a token: accept its licence ({offer.licence}) at {offer.page}, make a token at"
            " https://huggingface.co/settings/tokens, and set HF_TOKEN or run `hf auth login` where the engine runs."
        )
    return HubError("token-needed", sentence)


def _refused(offer: Offer, token: bool) -> HubError:
    if not token:
        return _gated(offer, token)
    return HubError("token-needed", f"The hub does not accept the token for {offer.name}: make a new one, or accept {offer.page}.")


def _who(token: bool) -> str:
    return "the token's account" if token else "those without a token"


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
