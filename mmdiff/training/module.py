"""The one Lightning module: a model of any modality, its loss, its optimiser and its average.

Lightning supplies devices, mixed precision and data parallelism.  What must be exact is ours: learning rate
and noise levels are pure functions of the step and of the samples' positions, so nothing random has
state.  A step happens whole in ``optimizer_step``: gradients, check, update, average, counter.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int64
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.weights import low_discrepancy
from mmdiff.generation.model import Model
from mmdiff.nets import Given
from mmdiff.nets.conv import Conv
from mmdiff.recipe import Recipe, Training
from mmdiff.training.data import Batch
from mmdiff.training.ema import Ema
from mmdiff.training.muon import Muon

# Torch's second value, 0.999, remembers a thousand steps: too long for runs of a few thousand.
BETAS = (0.9, 0.99)


class NonFinite(RuntimeError):
    """The loss or the gradient is not a finite number; the step was not taken.

    Attributes:
        report: what is known about the step, as written to ``nan_report.json``.
    """

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report


def learning_rate(step: int, training: Training) -> float:
    """The learning rate of step 0, 1, ...: linear warm-up, constant, linear fall over the last share."""
    warm = min(1.0, (step + 1) / max(training.warmup, 1))
    tail = training.decay * training.steps
    cool = min(1.0, (training.steps - step) / tail) if tail > 0 else 1.0
    return training.learning_rate * warm * cool


def levels(model: Model, seed: int, position: Int64[Tensor, " b"]) -> NoiseLevel:
    """Returns the noise level at which each position is trained, a function of (seed, position) alone.

    Neighbouring positions fill the unit interval evenly, so a batch covers all levels whatever its size.
    """
    return model.schedule(model.density(model.schedule, low_discrepancy(seed, position)))


class DiffusionModule(LightningModule):
    """Trains a model.

    Attributes:
        step: optimiser steps taken since the run began, over all its sessions.
        losses: global mean loss of each step since the last logged row, likewise ``norms``.
        stop: asked by every process at every step; an answer that is not 0 reaches all as ``stopping``.
    """

    def __init__(self, model: Model, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.ema = Ema(model, recipe.training.ema)
        self.step = 0
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.stop: Callable[[], int] = int
        self.stopping = 0
        self.optimizer_state: dict[str, Any] | None = None
        self._each: Float[Tensor, " b"] = torch.zeros(0)

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:
        """Returns the mean loss of this process's share of the batch, in float32.

        What is logged is the loss itself, also where it is trained in units of what is expected.
        """
        level = levels(self.model, self.recipe.training.seed, batch.position)
        condition = self.model.conditions(batch.ids, batch.present, len(batch.x0))
        x0, weight, valid, counts = self.model.whiten(batch.x0), self.model.weight, batch.valid, batch.valid
        known = None if batch.given is None else Given(batch.given, x0)
        condition = self.model.beside(condition, known, batch.curves)._replace(moving=batch.moving)
        if batch.given is not None:
            counts = (~batch.given).to(x0) if valid is None else valid * ~batch.given
        each = self.model.denoiser.loss(x0, batch.eps, level, condition, weight, valid, counts)
        self._each = each.detach().float()
        if self.model.uncertainty is not None:
            each = self.model.uncertainty(each.float(), level)
        return each.float().mean()

    def configure_optimizers(self) -> Optimizer:
        """The optimiser of the trainable parameters, continued from ``optimizer_state`` if there is one.

        Muon moves the weights of all layers of the net but the first and the last.  Those of conditions are
        as large and gained nothing by it: 0.042 without and 0.041 with them, after 300 steps of image/shapes.
        """
        training, net = self.recipe.training, self.model.denoiser.net
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        options: dict[str, Any] = {"lr": learning_rate(self.step, training), "betas": BETAS, "fused": True}
        options["weight_decay"] = training.weight_decay
        optimizer: Optimizer
        if training.optimizer == "muon":
            layers = (layer for layer in net.modules() if isinstance(layer, nn.Linear | Conv))
            hidden = {layer.weight for layer in layers if layer not in (net.first, net.last)}
            parts = [p for p in parameters if p in hidden], [p for p in parameters if p not in hidden]
            dtype = torch.bfloat16 if training.precision == "bf16" else torch.float32
            optimizer = Muon(*parts, dtype, **options)
        else:
            optimizer = torch.optim.AdamW(parameters, **options)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return optimizer

    def on_fit_start(self) -> None:
        """Takes the average to the device that the parameters went to."""
        self.ema.follow()

    def optimizer_step(
        self, epoch: int, index: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Takes one whole step: forward, backward, check, update, average, counter."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe.training)
        super().optimizer_step(epoch, index, optimizer, optimizer_closure)
        self.ema.update()
        self.step += 1

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradient by its norm, and refuses the step when the loss or the norm is not finite.

        This runs between the backward pass and the update.

        Raises:
            NonFinite: in every process at the same step.
        """
        total = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        norm, clip = float(total), self.recipe.training.clip
        loss, self.stopping = self._agree(self._each.mean())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._refusal(loss, norm)
        if norm > clip:  # scaling by 1 would be one more pass over all gradients
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), clip, total)
        self.losses.append(loss)
        self.norms.append(norm)

    def _agree(self, loss: Tensor) -> tuple[float, int]:
        """Returns the mean loss over all processes, and the largest signal number that any of them heard."""
        if self.trainer.world_size == 1:
            return float(loss), self.stop()
        told = loss.new_zeros(self.trainer.world_size, 2)
        told[self.trainer.global_rank, 0], told[self.trainer.global_rank, 1] = loss, float(self.stop())
        dist.all_reduce(told)
        return float(told[:, 0].mean()), int(told[:, 1].max())

    def _refusal(self, loss: float, norm: float) -> NonFinite:
        """Returns the error with everything that is known about the step."""
        training = self.recipe.training
        start = self.step * training.batch_size
        positions = torch.arange(start, start + training.batch_size, device=self.device)
        each = self.all_gather(self._each)
        assert isinstance(each, Tensor)
        if each.ndim == 2:  # process r has every world-th position: interleave
            each = each.T.flatten()
        rho = levels(self.model, training.seed, positions).rho
        report = {
            "step": self.step,
            "loss": repr(loss),
            "grad_norm": repr(norm),
            "learning_rate": learning_rate(self.step, training),
            "positions": positions.tolist(),
            "rho": rho.tolist(),
            "losses": [repr(value) for value in each.tolist()],
            "parameters": [
                name
                for name, p in self.model.named_parameters()
                if p.grad is not None and not bool(p.grad.isfinite().all())
            ],
        }
        what = f"loss {loss:g}, gradient norm {norm:g}"
        return NonFinite(f"step {self.step}: {what}; the step was not taken", report)
