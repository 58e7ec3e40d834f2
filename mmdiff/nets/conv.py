"""Convolutions of maps along one or both axes, and a faster way to their weight gradient on small maps."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

# Where the weight gradient is faster as one matrix product; never along one axis
SMALL = 64  # pixels of a map, at most
WIDE = 192  # channels out of it, at least
FEW = 2**24  # numbers in all neighbourhoods together, at most: the product must read them from memory


class Conv(nn.Module):
    """A convolution without bias, ``size`` positions wide (odd), that keeps the size of its input.

    Its weights have an axis for each of the ``rank`` axes that it runs along, the last ones of a map, and lie
    channels last in memory: so do then the maps, which the library convolves up to twice as fast.  One
    position wide it takes any axes.

    Args:
        axis: of the map, which a convolution along one axis runs along.
    """

    def __init__(self, rank: int, inputs: int, outputs: int, size: int = 3, axis: int = 3) -> None:
        super().__init__()
        self.axis = axis
        bound = 1 / math.sqrt(inputs * size**rank)
        weight = torch.empty(outputs, inputs, *(size,) * rank).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight.movedim(1, -1).contiguous().movedim(-1, 1))  # channels last

    def forward(self, x: Float[Tensor, "b c *axes"]) -> Float[Tensor, "b e *axes"]:
        if self.weight[0, 0].numel() == 1:
            return F.linear(x.movedim(1, -1), self.weight.flatten(1)).movedim(-1, 1)
        if x.device.type == "cpu" and self.weight.ndim > 3 and small(x, self.weight):
            out: Tensor = SmallMap.apply(x, self.weight.to(x.dtype))
            return out
        return convolve(x, self.kernel)

    @property
    def kernel(self) -> Tensor:
        """The weights with all axes of a map."""
        if self.weight.ndim > 3:
            return self.weight
        # For a tall kernel that lies channels last the library's plain convolution refuses to give a gradient
        return self.weight.unsqueeze(2) if self.axis == 3 else self.weight.contiguous().unsqueeze(3)


def small(x: Tensor, weight: Tensor) -> bool:
    """Whether the gradient of the weights is faster as a product."""
    neighbours = x.numel() * weight[0, 0].numel()
    return x[0, 0].numel() <= SMALL and len(weight) >= WIDE and neighbours <= FEW


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x, kernel, padding=[size // 2 for size in kernel.shape[2:]])


def neighbourhoods(x: Float[Tensor, "b c *axes"], size: int) -> Float[Tensor, "p q"]:
    """Returns a row a position with its ``size`` wide neighbourhood: tap by tap, channels last."""
    rank, half = x.ndim - 2, size // 2
    padded = F.pad(x, [half, half] * rank).movedim(1, -1).contiguous()
    batch, *steps, channel = padded.stride()
    shape = (x.shape[0], *x.shape[2:], *(size,) * rank, x.shape[1])
    return padded.as_strided(shape, (batch, *steps, *steps, channel)).reshape(
        x.shape[0] * x[0, 0].numel(), -1
    )


class SmallMap(torch.autograd.Function):
    """The convolution itself, with its weight gradient as one matrix product over all neighbourhoods.

    With 320 channels out of 640 the library's kernels take 1.8 times as long on maps of 4 x 4, and 1.3 times
    on 32 maps of 8 x 8; on larger maps copying the neighbourhoods costs more than it saves.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolve(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        size, grad = weight.shape[-1], grads[0].to(x.dtype)
        # This way round the product lies as the weights do, and the smaller factor is the one that is copied
        rows = grad.movedim(1, -1).flatten(0, -2).T.contiguous()
        product = rows @ neighbourhoods(x, size)
        to_weight = product.unflatten(1, (*weight.shape[2:], weight.shape[1])).movedim(-1, 1)
        if not ctx.needs_input_grad[0]:
            return None, to_weight
        return conv2d_input(x.shape, weight, grad, padding=size // 2), to_weight
