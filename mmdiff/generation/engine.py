"""Many requests, one network: rows of different requests share its calls and do not notice each other.

A row is one evaluation of the network; a guided sample needs two or more.  Libraries choose kernels by
the shape of the batch, and kernels round differently, so bits depend on how many rows a call has.  They
do not depend on what the other rows hold.  Therefore **every call has the same number of rows**, spare
ones being repetitions, and a sample comes out the same, bit for bit, alone or beside any others.

Measured on a CPU with AVX512: in float32, linear layers and 1x1 convolutions differ below 16 rows; in
bfloat16, wide linear layers differ below 34.  So padding to a multiple of four is not enough for either.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from mmdiff.conditions import Value
from mmdiff.diffusion.guidance import Guidance, has
from mmdiff.diffusion.programs import Program, State, join, split, step
from mmdiff.errors import UserError
from mmdiff.generation.flight import Batch, Chosen, Flight, Plan, arrange, coming, fitting, unroll
from mmdiff.generation.model import Model
from mmdiff.generation.request import Finished, Progress, Request
from mmdiff.nets import Condition, Given
from mmdiff.nets.axes import per_channel

PRECISIONS = ("bf16", "fp32")
ROWS = 8  # four guided samples; fewer make one sample faster, more make many samples faster
LOOKAHEAD = 4  # requests considered for a call, in units of its rows: bounds the states that are kept
KEPT = 1024  # distinct conditions whose encoding is kept, and unrolled programs
Raw = tuple[tuple[str, Value], ...]


class Engine:
    """Advances requests of any kind together, each as if it were alone.

    Args:
        model: on its device, in eval mode; the engine does not change it.
        precision: "bf16" runs the network under autocast, "fp32" as it is; states are float32 in both.
        rows: of every network call, 2 or more.  Bits depend on it.

    Attributes:
        calls: network calls so far.
        evaluations: rows of them that were no repetitions.
    """

    def __init__(self, model: Model, precision: str = "bf16", rows: int = ROWS) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
        if rows < 2:
            raise UserError(f"rows is {rows}; expected 2 or more, because a guided sample needs two")
        self.model, self.precision, self.rows = model, precision, rows
        self.device = next(model.parameters()).device
        self._autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")
        self.calls = self.evaluations = 0
        self._queues: dict[tuple[int, ...], list[Flight]] = {}  # by shape, in order of arrival
        self._batches: dict[tuple[int, ...], Batch] = {}
        self._encoded: dict[Raw, Condition] = {}
        self._plans: dict[tuple[Program, Guidance], Plan] = {}

    def __len__(self) -> int:
        """Requests that are not finished."""
        return sum(map(len, self._queues.values()))

    @property
    def outstanding(self) -> int:
        """Rows that are still to be evaluated."""
        return sum(flight.plan.cost(flight.call) for queue in self._queues.values() for flight in queue)

    def cost(self, request: Request) -> int:
        """Rows that are evaluated for a request in all."""
        return self._plan(request).cost()

    def add(self, request: Request | Progress, ahead: bool = False) -> None:
        """Takes a request, or one that was paused; at any time, also between the calls of others.

        Args:
            ahead: whether it goes before all that wait, as what goes on with a sample should.
        """
        progress = request if isinstance(request, Progress) else Progress(request, 0, None)
        request = progress.request
        flight = Flight(request, self._plan(request), progress.call, progress.state)
        queue = self._queues.setdefault(request.shape, [])
        queue.insert(0 if ahead else len(queue), flight)

    def pause(self, request: Request) -> Progress:
        """Takes a request out; ``add`` of what is returned goes on with it, in this engine or another.

        Raises:
            ValueError: the engine does not hold it.
        """
        queue = self._queues.get(request.shape, [])
        found = next((flight for flight in queue if flight.request is request), None)
        if found is None:
            raise ValueError(
                "request is not in this engine; expected one that was added and has not finished"
            )
        self._release(request.shape)
        self._keep(request.shape, [flight for flight in queue if flight is not found])
        return Progress(request, found.call, found.state)

    def cancel(self, request: Request) -> None:
        """Drops a request, as ``pause`` does, for good."""
        self.pause(request)

    def run(self, requests: Iterable[Request | Progress]) -> Iterator[Finished]:
        """Adds the requests and yields what finishes, until the engine is empty."""
        for request in requests:
            self.add(request)
        while len(self):
            yield from self.tick()

    def tick(self) -> list[Finished]:
        """One network call for each shape, for the requests that fit; returns those that it finished."""
        return [finished for shape in list(self._queues) for finished in self._advance(shape)]

    def _plan(self, request: Request) -> Plan:
        """The plan of a request; samples of one wish share it.

        Raises:
            UserError: its guidance needs more rows than a call has.
        """
        if len(self._plans) > KEPT:
            self._plans.clear()
        key = request.program, request.guidance
        if key not in self._plans:
            plan = unroll(*key, self.model.denoiser, self.model.names)
            widest = max(plan.branches, key=len)
            if len(widest) > self.rows:
                needed = f"{len(widest)} or more, one for each branch: {', '.join(widest)}"
                raise UserError(f"rows is {self.rows}; expected {needed}")
            self._plans[key] = plan
        return self._plans[key]

    def _advance(self, shape: tuple[int, ...]) -> list[Finished]:
        queue = self._queues[shape]
        with torch.inference_mode():
            batch = self._batch(shape, fitting(queue, self.rows, LOOKAHEAD * self.rows))
            call = next(batch.ahead)
            x0 = self._estimate(batch, call.level)
            noise = self._noise(batch) if call.noisy else batch.silence
            batch.state = step(batch.state, x0, noise, call.rows, call.used)
        for flight in batch.flights:
            flight.call += 1
        if not call.last:
            return []
        landed = {id(f): batch.state.x[i] for i, f in enumerate(batch.flights) if f.landed}
        self._release(shape)
        self._keep(shape, [flight for flight in queue if not flight.landed])
        return [Finished(f.request, _kept(f, landed[id(f)]).clone()) for f in queue if f.landed]

    def _keep(self, shape: tuple[int, ...], flights: list[Flight]) -> None:
        """Makes ``flights`` the queue of a shape."""
        self._queues[shape] = flights
        if not flights:
            del self._queues[shape]

    def _batch(self, shape: tuple[int, ...], chosen: Chosen) -> Batch:
        """The batch of the chosen flights; the one before if it has the same flights and branches."""
        batch = self._batches.get(shape)
        if batch is not None and batch.chosen == chosen:
            return batch
        self._release(shape)
        flights, guided, rows = arrange(chosen)
        rows += rows[:1] * (self.rows - len(rows))
        raws = [_left(flights[place].request.raw, branch) for place, branch in rows]
        condition = Condition.join(self._encode(raws))
        state = join(State(*(part.to(self.device) for part in flight.begun())) for flight in flights)
        for flight in flights:
            flight.state = None
        ahead, silence = coming(flights, self.device), torch.zeros_like(state.x)
        samples = torch.tensor([place for place, _ in rows], device=self.device)
        batch = Batch(chosen, flights, guided, rows, samples, condition, ahead, state, silence)
        condition = condition._replace(apart=self._apart(batch))
        batch.condition = self.model.beside(condition, self._known(batch), self._curves(batch))
        self._batches[shape] = batch
        return batch

    def _known(self, batch: Batch) -> Given | None:
        """What is known of the sample of each row; None where nothing is of any."""
        every = [flight.request.known for flight in batch.flights]
        some = next((known for known in every if known), None)
        if some is None:
            return None
        masks = [torch.zeros_like(some.mask) if known is None else known.mask for known in every]
        x0s = [torch.zeros_like(some.x0) if known is None else known.x0 for known in every]
        return Given(*(batch.spread(torch.stack(part).to(self.device)) for part in (masks, x0s)))

    def _curves(self, batch: Batch) -> Tensor | None:
        """What runs along with each row: zeros of what its branch is without; None where all are zero."""
        every = [flight.request.curves for flight in batch.flights]
        some = next((curves for curves in every if curves is not None), None)
        if some is None:
            return None
        zero = torch.zeros_like(some)
        rows = batch.spread(torch.stack([zero if c is None else c for c in every]).to(self.device))
        held = torch.tensor([[has(branch, name) for name in self.model.curves] for _, branch in batch.rows])
        return rows * per_channel(held.repeat_interleave(2, 1).to(self.device), rows)

    def _apart(self, batch: Batch) -> Tensor | None:
        """How far the frames of each row are apart; None where all are as in training."""
        usual = self.model.modality.seconds_per_position
        every = [flight.request.apart or usual for flight in batch.flights]
        if every.count(usual) == len(every):
            return None
        return batch.spread(torch.tensor(every, device=self.device))

    def _release(self, shape: tuple[int, ...]) -> None:
        """Gives every flight of a shape its own state back."""
        batch = self._batches.pop(shape, None)
        if batch is not None:
            for flight, state in zip(batch.flights, split(batch.state), strict=True):
                flight.state = state

    def _encode(self, raws: Sequence[Raw]) -> list[Condition]:
        """The encoding of each, one row; distinct ones are encoded once, in batches as large as a call."""
        if len(self._encoded) > KEPT:
            self._encoded.clear()
        fresh = [raw for raw in dict.fromkeys(raws) if raw not in self._encoded]
        for begin in range(0, len(fresh), self.rows):
            some = fresh[begin : begin + self.rows]
            padded = [dict(raw) for raw in some + some[:1] * (self.rows - len(some))]
            with self._autocast:
                ids = self._stack(map(self.model.conditions.ids, padded))
                present = self._stack(map(self.model.conditions.present, padded))
                condition = self.model.conditions(ids, present, self.rows)
            for place, raw in enumerate(some):
                self._encoded[raw] = condition.rows(slice(place, place + 1))
        return [self._encoded[raw] for raw in raws]

    def _stack(self, samples: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
        every = list(samples)
        return {name: torch.stack([one[name] for one in every]).to(self.device) for name in every[0]}

    def _estimate(self, batch: Batch, coefficients: Tensor) -> Tensor:
        """The guided estimate of x0 of each sample."""
        x, count = batch.spread(batch.state.x), len(batch.flights)
        with self._autocast:
            out = self.model.denoiser.estimate(x, batch.spread(coefficients), batch.condition).contiguous()
        self.calls += 1
        self.evaluations += sum(len(branches) for _, branches in batch.chosen)
        x0: Tensor = out[:count]
        for begin, end, first, last in batch.guided:
            flight = batch.flights[begin]
            each = x0[begin:end], *out[first:last].split(end - begin)
            here = flight.plan.program.levels.at(flight.call)
            x0[begin:end] = flight.plan.guidance.combine(each, here)
        for place, flight in enumerate(batch.flights):
            if flight.request.known:
                x0[place] = _kept(flight, x0[place])
        return x0

    def _noise(self, batch: Batch) -> Tensor:
        """Fresh noise for the samples whose step needs it, zeros for the others."""
        noise = torch.zeros_like(batch.silence, device="cpu")
        for place, flight in enumerate(batch.flights):
            if flight.noisy:
                noise[place] = flight.request.noise(flight.call)
        return noise.to(self.device)


def _left(raw: Mapping[str, Value], branch: str) -> Raw:
    """The conditions that a branch has, in the order of their names."""
    return tuple((name, raw[name]) for name in sorted(raw) if has(branch, name))


def _kept(flight: Flight, x0: Tensor) -> Tensor:
    """The estimate of a sample, or the sample, with what is known of it."""
    return x0 if flight.request.known is None else flight.request.known.keep(x0)
