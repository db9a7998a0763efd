# SPDX-License-Identifier: GPL-3.0-or-later
"""How good a team is, in figures, beside answers that need no network.

samples   folders of pictures -> samples, checked before anything runs
runner    a team and the naive answers over all samples -> scores
metrics   the measures, one equation each          naive   the answers that need no network
report    scores -> table, JSON                     sheet   a picture of inputs, answers and truths
"""
