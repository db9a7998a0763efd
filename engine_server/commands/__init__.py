# SPDX-License-Identifier: GPL-3.0-or-later
"""The subcommands of `python -m engine_server`: each a module with `add_arguments(parser)` and `main(args) -> int`.

Only the chosen one is imported, so that a command without torch starts without torch.
"""

COMMANDS: dict[str, str] = {
    "serve": "answer Blender: run the engine until it is stopped",
    "run": "make channels from pictures in files",
    "batch": "have a running engine work on folders of photos or frames",
    "train": "train an autoencoder, a base or a team",
    "evaluate": "measure a team on pictures with known maps",
    "models": "list models, with licence and size; fetch and remove them",
    "keys": "show the engine's key; list, add and remove the keys of clients",
    "status": "what a running engine does; unload its models",
}
