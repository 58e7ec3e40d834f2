"""Network parts for tensors of any rank."""

from mmdiff.nets.condition import Condition, Given
from mmdiff.nets.unet import SIZES, Shape, UNet

__all__ = ["SIZES", "Condition", "Given", "Shape", "UNet"]
