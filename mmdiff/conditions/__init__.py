"""Conditions: from raw values to what the network takes."""

from mmdiff.conditions.base import Part
from mmdiff.conditions.bundle import CONDITIONERS, Conditions
from mmdiff.conditions.label import Label
from mmdiff.conditions.number import Number
from mmdiff.conditions.text import Text

__all__ = ["CONDITIONERS", "Conditions", "Label", "Number", "Part", "Text"]
