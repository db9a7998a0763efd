# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs on several computers: workers as actors of a Ray cluster (the extra `cluster`).

    executor.py     in the server, which never imports ray: starts the agent and takes its news
    agent.py        a process beside the server: Ray's driver, which starts and ends actors
    actor.py        on the cluster's computers: a worker, the same as everywhere

Ray finds room for workers, starts them and tells when they die. Jobs, progress and results do not pass through it: each
actor connects to the server's own channel, with a key of its own, so all that a worker can do it can do here as well.
"""
