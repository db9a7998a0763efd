# SPDX-License-Identifier: GPL-3.0-or-later
"""Models from the Hugging Face hub: what is offered (data), what is on this disk, and how it gets there. Needs no torch.

    <home>/models/<name>/                  one fetched model: a base in diffusers layout, or an adapter file
    <home>/models/<name>/teamwork.json     its record: where it is from, which commit, which files; there once it is whole
"""
