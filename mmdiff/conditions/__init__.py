"""Conditions: from raw values to what the network takes."""

from mmdiff.conditions.base import Part, Value
from mmdiff.conditions.bundle import ALIGNED, CONDITIONERS, Conditions
from mmdiff.conditions.encoded import Encoded
from mmdiff.conditions.label import Label
from mmdiff.conditions.number import Number
from mmdiff.conditions.style import Style
from mmdiff.conditions.text import Text

__all__ = [
    "ALIGNED",
    "CONDITIONERS",
    "Conditions",
    "Encoded",
    "Label",
    "Number",
    "Part",
    "Style",
    "Text",
    "Value",
]
