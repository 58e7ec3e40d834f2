"""Data of users: folders, archives and their metadata to samples."""

from mmdiff.data.badfile import BadFile
from mmdiff.data.bounce import Bounce
from mmdiff.data.library import Library
from mmdiff.data.scan import Entry, Listing, Rejection, scan
from mmdiff.data.shapes import Shapes
from mmdiff.data.tones import Tones

__all__ = ["BadFile", "Bounce", "Entry", "Library", "Listing", "Rejection", "Shapes", "Tones", "scan"]
