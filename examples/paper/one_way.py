"""Pairs of states seen one way only, held against the potential (paper eq. 25 and Fig. 10).

Of n attempts none led back: the rate back is below 1 - 0.05^(1/n), about 3/n, and under detailed
balance the potential falls by at least the log of the rate there over that bound. How often this
fails as it stands, and how often the exact test with its correction says so. The counts are those
of Claude-4 that the paper prints; answers drawn from the measured kernel of SmolLM2-135M-Instruct;
and answers of the simulated lexicon model, in detailed balance and driven round ten loops.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detailed_balance.analyzers import TransitionCounts, check_one_way, estimate_potential
from detailed_balance.paper.console import show_table
from detailed_balance.paper.lexicon import LexiconChatModel
from detailed_balance.paper.temperature import draw_counts, measured_kernel
