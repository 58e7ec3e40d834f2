"""What one sample needs to be made, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from mmdiff import counter
from mmdiff.conditions import Value
from mmdiff.diffusion.guidance import Guidance, guide
from mmdiff.diffusion.programs import Program, State, start
from mmdiff.generation.given import Known


@dataclass(frozen=True, eq=False)
class Request:
    """One sample to be made: all that its numbers depend on, beside the model.

    Attributes:
        shape: of x0, without a batch axis.
        program: the compiled sampler.
        raw: conditions by name, as people write them or measured; one that is not there is not given.
        seed: 64 bits, signed.
        index: tells samples of one seed apart.
        window: tells the parts of a long sample apart; the first one is drawn as a sample of its length is.
        known: of the sample, from a file or from the window before; None for nothing.
        curves: what runs along with it, as ``Model.curves`` says; None for nothing.
        shared: the share of the noise's variance that all frames have in common, as in training.
        apart: seconds from one position in time to the next; None for those of training.
    """

    shape: tuple[int, ...]
    program: Program
    guidance: Guidance = field(default_factory=lambda: guide(1.0))
    raw: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0
    index: int = 0
    window: int = 0
    known: Known | None = None
    curves: Float[Tensor, "e *axes"] | None = None
    shared: float = 0.0
    apart: float | None = None

    def first_noise(self) -> Tensor:
        """The noise that the sample starts from: standard normal, float32, on the CPU."""
        return counter.normal(self.seed, "start", *self._place, shape=self.shape, shared=self.shared)

    def noise(self, call: int) -> Tensor:
        """The fresh noise of the step after a call, addressed and not drawn in sequence."""
        return counter.normal(self.seed, "step", *self._place, call, shape=self.shape, shared=self.shared)

    @property
    def _place(self) -> tuple[int, ...]:
        """What tells its random numbers from others of its seed."""
        return (self.index, self.window) if self.window else (self.index,)


@dataclass(frozen=True, eq=False)
class Progress:
    """A request between two calls of the network: nothing else is needed to go on, here or elsewhere.

    Attributes:
        call: how many calls are done.
        state: a batch of one; None before the first call.
    """

    request: Request
    call: int
    state: State | None


def first_state(request: Request) -> State:
    """The state of a request before its first call, a batch of one."""
    x0 = None if request.known is None else request.known.begin()[None]
    return start(request.program, request.first_noise()[None], x0)


@dataclass(frozen=True, eq=False)
class Finished:
    """A request and the x0 that it asked for."""

    request: Request
    x0: Tensor
