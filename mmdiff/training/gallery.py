"""The pictures that a run draws while it trains: always the same prompts and seeds, so that steps can be compared."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mmdiff import files
from mmdiff.generation.pipeline import Pipeline
from mmdiff.generation.sheet import sheet
from mmdiff.recipe import Recipe
from mmdiff.run import Run
