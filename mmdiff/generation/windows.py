"""Clips of any length from a model of short ones: windows, of which each begins with the end of the last one.

A window is a request like any other. What the one before has made of its first frames is known of it, as a
part of a file is; the rest goes on from there. Frames that are made wait on disk, so a clip of an hour takes
no more memory than a window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mmdiff.errors import UserError
from mmdiff.files import scratch
from mmdiff.generation.given import Given, Known, Source, opened
from mmdiff.generation.model import Model, overlap_of
from mmdiff.generation.request import Request
from mmdiff.modalities import Heard, Modality, Moving, Sample


@dataclass(frozen=True, eq=False)
class Windows:
    """How samples are cut into what the network makes at once.

    Attributes:
        whole: the modality at the size of a sample.
        each: at the size of a window; the same where one is enough.
        overlap: frames of a window that the one before has made; 0 where one is enough.
        sources: the files that the samples are made from; where two are kept the later one is.
    """

    whole: Modality
    each: Modality
    overlap: int = 0
    sources: tuple[Source, ...] = ()

    @property
    def starts(self) -> range:
        """The frame of the sample that each window begins with; the last window may reach beyond its end."""
        return starts(self.whole.shape[1], self.each.shape[1], self.overlap)

    @cached_property
    def made(self) -> Sequence[int]:
        """The windows that the network is needed for, because not all of them is known."""
        numbers = range(len(self.starts))
        return [n for n in numbers if not self._mask(n).all()] if self.sources else numbers

    def known(
        self, number: int, model: Model, before: UInt8[Tensor, "c k *axes"] | None = None
    ) -> Known | None:
        """What is known of a window.

        Args:
            number: of the window, from 0.
            model: of the scale that x0 is on.
            before: what the window before has made of its first frames, packed; None for the first window.
        """
        if not self.sources and before is None:
            return None
        x0, start = torch.zeros(self.each.shape), self.starts[number]
        for source in self.sources:
            if source.varied:
                x0 = source.x0(self.each, start)
        for source in self.sources:
            x0 = torch.where(source.mask(self.each, start), source.x0(self.each, start), x0)
        if before is not None:
            x0[:, : self.overlap] = self.each.unpack(before)
        x0 = model.whiten(x0.to(next(model.parameters()).device)).cpu()
        return Known(x0, self._mask(number), any((s.given.strength or 1) < 1 for s in self.sources))

    def _mask(self, number: int) -> Bool[Tensor, "1 *axes"]:
        """What is known of a window, by a file or because the window before has made it."""
        mask = torch.zeros(1, *self.each.shape[1:], dtype=torch.bool)
        for source in self.sources:
            mask |= source.mask(self.each, self.starts[number])
        if number:
            mask[:, : self.overlap] = True
        return mask

    def decoded(self, x0: Float[Tensor, "c *axes"]) -> Sample:
        """The sample of a window that x0 without whitening stands for; of a sound, what is kept as it was."""
        each, kept = self.each, [source for source in self.sources if source.keeps]
        if not kept or not isinstance(each, Heard):
            return each.decode(x0)
        return each.decode_beside(
            x0, [(each.inside(s.given.places, s.packed, s.begins), s.placed(self.each)) for s in kept]
        )

    def refuse_idle(self) -> None:
        """Raises UserError if no place of a file is kept and nothing of it varied, or if all is kept."""
        length = self.whole.shape[1]

        def masks(sources: Sequence[Source]) -> Iterator[Bool[Tensor, "1 *axes"]]:
            """Where these are kept, window by window."""
            for start in self.starts:
                every = torch.stack([source.mask(self.each, start) for source in sources])
                yield every.any(0)[:, : length - start]

        for source in self.sources:
            if not source.varied and not any(mask.any() for mask in masks([source])):
                given = source.given
                what = f"nothing of it, from {given.start} on," if given.start else "nothing of it"
                raise UserError(f"--given {given.file}: {what} is kept; expected places that last longer")
        if self.sources and all(mask.all() for mask in masks(self.sources)):
            files = ", ".join(source.given.file for source in self.sources)
            raise UserError(
                f"--given {files}: all of a sample of {self.whole.size} is kept, and nothing is left to "
                f"make; expected a larger --{self.whole.extents[0]}, FILE@PLACES or FILE~STRENGTH"
            )


def starts(length: int, window: int, overlap: int) -> range:
    """The frame that each window of a clip begins with; the first ``overlap`` are of the one before."""
    return range(0, max(length - overlap, 1), window - overlap)


def cut(whole: Modality, model: Model, overlap: int | None, given: Sequence[Given] = ()) -> Windows:
    """The windows of samples of one size: clips longer than the model has seen are cut at that length.

    Args:
        whole: the modality at the size of a sample.
        overlap: frames that a window shares with the one before; None for the usual number.
        given: the files that the samples are made from.

    Raises:
        UserError: windows of one frame, an overlap that does not fit, a file that cannot be used, or two that
            are varied.
    """
    trained, shared = model.modality, overlap_of(overlap, model.modality)
    windows = Windows(whole, whole)
    if isinstance(trained, Moving) and whole.shape[1] > trained.frames:
        if not shared:
            raise UserError(f"size {whole.size}: expected 1 frame, because the run knows no clip of more")
        windows = Windows(whole, whole.sized(whole.size_with({"frames": trained.frames})), shared)
    varied = [one.file for one in given if one.strength is not None]
    if len(varied) > 1:
        raise UserError(f"--given {varied[1]}: {varied[0]} is varied already; expected one such file")
    windows = replace(windows, sources=tuple(opened(one, whole) for one in given))
    windows.refuse_idle()
    return windows


class Take:
    """A sample on its way, window by window.

    Args:
        first: the request of its first window.
        windows: how it is cut.
        model: what makes it.

    Attributes:
        sample: what was asked for, once all windows are there.
        problem: why there is none, once that is known.
    """

    def __init__(self, first: Request, windows: Windows, model: Model) -> None:
        self._first, self._windows, self._model = first, windows, model
        self._number = 0
        self._end: Tensor | None = None
        self._reel: Reel | None = None  # opened late: many samples may wait, and few files can be open
        self.sample: Sample | None = None
        self.problem = ""

    def ask(self) -> Request | None:
        """The request of the next window, once the one before has landed; None when all are there."""
        while self.sample is None and not self.problem:
            known = self._first.known
            if self._number:
                known = self._windows.known(self._number, self._model, self._end)
            if self._number in self._windows.made:
                return replace(self._first, window=self._number, known=known)
            assert known is not None
            self.land(known.x0)
        return None

    def land(self, x0: Float[Tensor, "c *axes"]) -> None:
        """Takes the x0 of the window that was asked for; one that is no sample is the ``problem``."""
        windows = self._windows
        try:
            made = windows.decoded(self._model.coloured(x0))
        except ValueError as error:
            self.problem = str(error)
            return
        if len(windows.starts) > 1:
            self._reel = self._reel or Reel()
            first, last = windows.starts[self._number], windows.starts[-1]
            new = windows.overlap if first else 0
            self._end = windows.each.pack(made)[:, -windows.overlap :]
            self._reel.add(made.value[new : windows.whole.shape[1] - first])
            if first < last:
                self._number += 1
                return
            made = replace(made, value=self._reel.value)
        self.sample = made


class Reel:
    """Frames of a clip in a file without a name, which goes when nothing needs it any more."""

    def __init__(self) -> None:
        self._file = scratch(self)
        self._shape = [0, 0, 0, 0]

    def add(self, frames: UInt8[Tensor, "f h w 3"]) -> None:
        """Appends frames."""
        self._file.write(frames.contiguous().numpy().data)
        self._shape = [self._shape[0] + len(frames), *frames.shape[1:]]

    @property
    def value(self) -> UInt8[Tensor, "f h w 3"]:
        """All of them, mapped from the file: in memory is what is looked at, for as long as there is room."""
        self._file.flush()
        return torch.from_numpy(np.memmap(self._file, np.uint8, "c", shape=tuple(self._shape)))
