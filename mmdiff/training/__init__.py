"""Training: from a recipe to a run folder."""

from mmdiff.training.session import train

__all__ = ["train"]
