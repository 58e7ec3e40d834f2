"""How good a run is: measures of what it draws, each beside what real data get and what nonsense gets."""

from mmdiff.evaluation.evaluate import evaluate
from mmdiff.evaluation.report import Report

__all__ = ["Report", "evaluate"]
