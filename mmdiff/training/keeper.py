"""Keeps the run folder while training: after every step it logs, samples, saves and stops, in this order.

So a checkpoint of step ``k`` means that every row and every sample grid up to ``k`` is there, and a run
that is killed and resumed ends with the same files as one that was not.
"""

import math
import statistics
import time
import warnings
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from mmdiff.run import Run
from mmdiff.training import checkpoint, page
from mmdiff.training.gallery import Gallery, played
from mmdiff.training.loggers import Files, Row, Trackers, trackers
from mmdiff.training.module import DiffusionModule, learning_rate
from mmdiff.training.progress import Progress
from mmdiff.training.signals import Stop

PAGE_SECONDS = 15.0  # between two refreshes of index.html that only bring new rows


class Keeper(Callback):
    """Watches one training session; only the first process writes.

    Args:
        run: the folder.
        gallery: draws the sample grids.
        progress: what the person sees.
        seconds: training time of the sessions before.
    """

    def __init__(self, run: Run, gallery: Gallery, progress: Progress, seconds: float) -> None:
        self._run, self._gallery, self._progress, self._seconds = run, gallery, progress, seconds
        self._stop = Stop()
        self._mark = self._paged = time.monotonic()
        self._logged = seconds  # training time at the last row
        self._steps = 0  # since the last row, in this session
        self._pace = math.nan  # seconds a step, smoothed
        self._files: Files | None = None
        self._trackers: Trackers | None = None

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        """Opens the logs where training goes on, and listens for signals in place of Lightning."""
        self._stop.listen()
        module.stop = lambda: self._stop.signum
        if trainer.is_global_zero:
            self._files = Files(self._run, module.step)
            self._trackers = trackers(self._run, module.recipe, module.step)
        self._progress.begin(module.step, module.recipe.training.steps)
        self._mark = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Does what is due after a step."""
        training, step = module.recipe.training, module.step
        self._lap()
        self._progress.advance(step, module.losses[-1], training.batch_size / self._pace)
        last = step == training.steps
        if step % training.log_every == 0 or last:
            self._row(module)
        if trainer.is_global_zero:
            if step % training.sample_every == 0 or last:
                self._sample(module)
            if step % training.checkpoint_every == 0 or last or module.stopping:
                checkpoint.save(self._run, module, trainer.optimizers[0], self._seconds, trainer.world_size)
            if last or module.stopping or time.monotonic() - self._paged > PAGE_SECONDS:
                self._page(finished=last)
        trainer.should_stop = bool(module.stopping)
        self._mark = time.monotonic()

    def close(self) -> None:
        """Closes the logs; Lightning's own teardown does not reach callbacks when an error ends training."""
        self._progress.close()
        for log in (self._files, self._trackers):
            if log is not None:
                log.close()
        self._files = self._trackers = None

    def _lap(self) -> None:
        """Counts the time of the step that ended: waiting for its data included, saving and sampling not."""
        lap = time.monotonic() - self._mark
        self._seconds += lap
        self._steps += 1
        self._pace = lap if math.isnan(self._pace) else 0.9 * self._pace + 0.1 * lap

    def _row(self, module: DiffusionModule) -> None:
        """Logs means over the steps since the last row; a checkpoint between two rows keeps their terms."""
        training = module.recipe.training
        rate = self._steps * training.batch_size / (self._seconds - self._logged)
        row: Row = {
            "step": module.step,
            "samples_seen": module.step * training.batch_size,
            "loss": statistics.fmean(module.losses),
            "grad_norm": statistics.fmean(module.norms),
            "learning_rate": learning_rate(module.step - 1, training),
            "samples_per_second": round(rate, 2),
            "seconds": round(self._seconds, 3),
        }
        module.losses.clear()
        module.norms.clear()
        self._logged, self._steps = self._seconds, 0
        if self._files is not None and self._trackers is not None:
            self._files.row(row)
            self._trackers.row(row)

    def _sample(self, module: DiffusionModule) -> None:
        """Draws the grid of this step; a grid that fails is a pity, a run that dies of it is a loss."""
        try:
            module.eval()
            with module.ema.applied():
                path = self._gallery.draw(module.step)
        except Exception as error:
            message = (
                f"samples at step {module.step} failed, training goes on: {type(error).__name__}: {error}"
            )
            warnings.warn(message, stacklevel=2)
            return
        finally:
            module.train()
        if self._trackers is not None:
            self._trackers.picture(module.step, path)
            self._trackers.played(module.step, played(path.parent))
        self._page(finished=False)

    def _page(self, finished: bool) -> None:
        page.write(self._run, finished)
        self._paged = time.monotonic()
