"""Samplers: functions from decreasing levels to a program.

One recipe makes them all.  Hold a prediction q (x0, eps or the velocity) still, and the way from one level
to the next is known: ``renoise``.  Let q follow the Lagrange polynomial through its values at several
levels, and the way gains ``sum_j w_j (q_j - q_0)`` with ``w_j = int K(u) l_j(u) du``: ``moved``.  With
primes for the far level, lambda = log(alpha / sigma) and rho = sigma / alpha:

    q           u                 K(u)
    x0          lambda            alpha' (1 + eta) exp(-(1 + eta) (lambda' - u))    DPM-Solver++, UniPC
    eps         lambda            -alpha' exp(-u)                                   DPM-Solver, DEIS
    eps         rho               alpha'                                            LMS, EDM's Heun
    eps - x0    rho / (1 + rho)   alpha' + sigma'                                   Heun on the straight line

Levels of the past make a multistep method, the level ahead a corrector, levels between a singlestep method.
The integrals are Gauss-Legendre sums, exact to rounding, without the cancellation of phi functions.  Into
pure data and out of pure noise only ``renoise`` is left, which is finite there: nothing is clamped.  All of
it depends on (x / alpha, rho) alone, so a sampler gives the same samples on every schedule.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import NOISE, PAST, SAVED, X0, Program, X, stack

Call = tuple[NoiseLevel, Tensor]  # where the network runs, and the rows that follow
Known = Iterable[tuple[NoiseLevel, Tensor]]  # levels, and the form of the prediction there
Kernel = Callable[[NoiseLevel, Tensor], Tensor]  # (far level, u) -> K(u)
ZERO = torch.zeros_like(X)


def call(level: NoiseLevel, x: Tensor, saved: Tensor = ZERO, push: Tensor = ZERO) -> Call:
    """Run the network at ``level``, then set the registers to these linear forms."""
    return level, torch.stack([x, saved, push])


def expect(name: str, value: object, *valid: object) -> None:
    if value not in valid:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, valid))}")


def walk(levels: NoiseLevel) -> list[NoiseLevel]:
    """The levels one by one.  Raises ValueError unless there are two or more and sigma / alpha falls."""
    points = [NoiseLevel(*pair) for pair in zip(levels.alpha.double(), levels.sigma.double(), strict=True)]
    if len(points) < 2:
        raise ValueError(f"levels has length {len(points)}; expected one more than the steps")
    for i, (here, there) in enumerate(pairwise(points)):
        if not there.sigma * here.alpha < here.sigma * there.alpha:
            raise ValueError(f"rho is {here.rho:g} at level {i} and then {there.rho:g}; expected it to fall")
    return points


class Prediction(NamedTuple):
    """What is extrapolated (a form of x and x0 at a level), over which coordinate, and with which kernel."""

    form: Callable[[NoiseLevel], Tensor]
    coordinate: Callable[[NoiseLevel], Tensor]
    kernel: Kernel


def lam(level: NoiseLevel) -> Tensor:
    return level.logsnr / 2


def noise_form(level: NoiseLevel) -> Tensor:
    return (X - level.alpha * X0) / level.sigma


def data(eta: float) -> Prediction:
    rate = 1 + eta
    kernel: Kernel = lambda there, u: there.alpha * rate * torch.exp(rate * (u - lam(there)))
    return Prediction(lambda level: X0, lam, kernel)


NOISE_LOG = Prediction(noise_form, lam, lambda there, u: -there.alpha * torch.exp(-u))
NOISE_RHO = Prediction(noise_form, lambda level: level.rho, lambda there, u: there.alpha.expand_as(u))
VELOCITY = Prediction(
    lambda level: (X - (level.alpha + level.sigma) * X0) / level.sigma,
    lambda level: level.sigma / (level.alpha + level.sigma),
    lambda there, u: (there.alpha + there.sigma).expand_as(u),
)


def gauss_legendre(points: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [-1, 1], from the eigenvectors of the Jacobi matrix (Golub & Welsch, 1969)."""
    k = torch.arange(1, points, dtype=torch.float64)
    side = k / torch.sqrt(4 * k**2 - 1)
    nodes, vectors = torch.linalg.eigh(torch.diag(side, 1) + torch.diag(side, -1))
    return nodes, 2 * vectors[0] ** 2


ABSCISSAE, WEIGHTS = gauss_legendre(24)  # exact to 1e-15 for a kernel that falls by e^20 in one step


def integrals(kernel: Callable[[Tensor], Tensor], nodes: Tensor, end: Tensor) -> Tensor:
    """``int kernel(u) l_j(u) du`` from the first node to ``end``; l_j are the Lagrange polynomials."""
    u = torch.lerp(nodes[0], end, (ABSCISSAE + 1) / 2)
    same = torch.eye(len(nodes), dtype=torch.bool)
    above = torch.where(same[..., None], 1.0, u - nodes[:, None]).prod(1)
    below = torch.where(same, 1.0, nodes[:, None] - nodes).prod(1)
    return (end - nodes[0]) / 2 * (above * kernel(u) * WEIGHTS).sum(1) / below


def moved(q: Prediction, known: Known, there: NoiseLevel, solver: str = "exact") -> Tensor:
    """``sum_j w_j (q_j - q_0)``: what the change of q adds between the first known level and ``there``.

    ``solver="midpoint"`` is the approximation of the DPM-Solver papers for two known levels: q changes for
    half of the step, and then has the weight of all of it.
    """
    expect("solver", solver, "exact", "midpoint")
    finite = [(at, form) for level, form in known if (at := q.coordinate(level)).isfinite()]
    if len(finite) < 2 or there.sigma == 0:
        return ZERO
    at, end, kernel = torch.stack([at for at, _ in finite]), q.coordinate(there), partial(q.kernel, there)
    if solver == "midpoint" and len(at) == 2:
        weights = integrals(kernel, at[:1], end) * (end - at[0]) / 2 / (at[1:] - at[0])
    else:
        weights = integrals(kernel, at, end)[1:]
    changes = torch.stack([form - finite[0][1] for _, form in finite[1:]])
    return (weights[:, None] * changes).sum(0)


def renoise(
    here: NoiseLevel, there: NoiseLevel, noise: Tensor | float = 0.0, x: Tensor = X, x0: Tensor = X0
) -> Tensor:
    """``alpha' x0 + sqrt(sigma'^2 - noise^2) eps + noise xi``, the far level if x0 stays what it is.

    Every first-order sampler is this form with its own amount of fresh noise (Song et al., 2020,
    arXiv:2010.02502, eq. 12).
    """
    keep = torch.sqrt(there.sigma**2 - noise**2) / here.sigma
    return keep * x + (there.alpha - keep * here.alpha) * x0 + noise * NOISE


def ddim(levels: NoiseLevel, eta: float = 0.0) -> Program:
    """DDIM at eta = 0, DDPM at eta = 1 (Song et al., 2020, arXiv:2010.02502, eq. 16).

    Euler, in the natural frame of any schedule, is the first; k-diffusion's ancestral Euler is the second.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}; expected 0 to 1")
    calls = []
    for here, there in pairwise(walk(levels)):
        noise = eta * there.sigma * torch.sqrt(1 - (there.rho / here.rho) ** 2)
        calls.append(call(here, renoise(here, there, noise)))
    return Program(*stack(calls))


def lcm(levels: NoiseLevel) -> Program:
    """Jump to x0, add fresh noise: for consistency models (Song et al., 2023, arXiv:2303.01469, alg. 1)."""
    calls = [call(here, renoise(here, there, there.sigma)) for here, there in pairwise(walk(levels))]
    return Program(*stack(calls))


def multistep(
    q: Prediction, levels: NoiseLevel, order: int, eta: float = 0, solver: str = "exact"
) -> Program:
    """The recipe over levels of the past; the first steps have lower order."""
    expect("order", order, 1, 2, 3, 4)
    points, calls = walk(levels), []
    for i, (here, there) in enumerate(pairwise(points)):
        newest = q.form(here)
        known = list(zip(points[i::-1], (newest, *PAST), strict=False))[:order]
        noise = there.sigma * torch.sqrt(1 - (there.rho / here.rho) ** (2 * eta))
        calls.append(call(here, renoise(here, there, noise) + moved(q, known, there, solver), push=newest))
    return Program(*stack(calls))


def dpmpp(levels: NoiseLevel, order: int = 2, eta: float = 0.0, solver: str = "exact") -> Program:
    """DPM-Solver++ multistep, as the ODE (eta = 0) or the reverse SDE (eta = 1), with exact integrals.

    Lu et al., 2022, arXiv:2211.01095, alg. 2; with ``solver="midpoint"`` to the letter.
    """
    return multistep(data(eta), levels, order, eta, solver)


def deis(levels: NoiseLevel, order: int = 3) -> Program:
    """DEIS with polynomials in log rho (Zhang & Chen, 2022, arXiv:2204.13902), or DPM-Solver multistep."""
    return multistep(NOISE_LOG, levels, order)


def lms(levels: NoiseLevel, order: int = 4) -> Program:
    """Linear multistep (Crowson, k-diffusion)."""
    return multistep(NOISE_RHO, levels, order)


def unipc(levels: NoiseLevel, order: int = 3, solver: str = "exact") -> Program:
    """UniPC: each call also corrects the step that led to it, so ``order`` p gives p + 1 for the same calls.

    Zhao et al., 2023, arXiv:2302.04867, alg. 1-2.  Their B(h) cancels from exact integrals; where the paper
    replaces those (two nodes), ``solver="midpoint"`` is its B2.
    """
    expect("order", order, 1, 2, 3)
    points, calls, q, x = walk(levels), [], data(0.0), X
    for i, (here, there) in enumerate(pairwise(points)):
        past = list(zip(points[:i][::-1], PAST, strict=False))
        if past:
            known = [past[0], (here, X0), *past[1:order]]
            x = renoise(past[0][0], here, x=SAVED, x0=PAST[0]) + moved(q, known, here, solver)
        ahead = renoise(here, there, x=x) + moved(q, [(here, X0), *past][:order], there, solver)
        calls.append(call(here, ahead, saved=x, push=X0))
    return Program(*stack(calls))


def heun_step(q: Prediction, here: NoiseLevel, there: NoiseLevel, fresh: Tensor = ZERO) -> list[Call]:
    """Euler, and a call at its end that corrects it unless that is pure data; then ``fresh`` is added."""
    euler = renoise(here, there)
    if there.sigma == 0 or q.coordinate(here).isinf():
        return [call(here, euler + fresh)]
    gain = moved(q, [(here, PAST[0]), (there, q.form(there))], there)
    return [call(here, euler, saved=euler, push=q.form(here)), call(there, SAVED + gain + fresh)]


def heun(levels: NoiseLevel) -> Program:
    """Heun on the straight line of ``x / (alpha + sigma)``: one for every schedule, finite at both ends."""
    steps = pairwise(walk(levels))
    return Program(*stack(c for here, there in steps for c in heun_step(VELOCITY, here, there)))


def edm(
    levels: NoiseLevel, churn: float = 0.0, low: float = 0.0, high: float = math.inf, inflate: float = 1.0
) -> Program:
    """EDM's Heun in rho, with churn its stochastic sampler (Karras et al., 2022, arXiv:2206.00364, alg. 2).

    The arguments are the paper's S_churn, S_min, S_max (of rho) and S_noise.  The noise that raises a level
    joins the step before, as the network is always called at ``x``; the first level starts raised.
    """
    points = walk(levels)
    gain = 1 + min(churn / (len(points) - 1), math.sqrt(2) - 1)
    raised = [NoiseLevel(p.alpha, p.sigma * (gain if low <= p.rho <= high else 1)) for p in points[:-1]]
    calls = []
    for here, there, up in zip(raised, points[1:], [*raised[1:], points[-1]], strict=True):
        fresh = inflate * torch.sqrt(up.sigma**2 - there.sigma**2) * NOISE
        calls += heun_step(NOISE_RHO, here, there, fresh)
    return Program(*stack(calls))


def dpm_step(here: NoiseLevel, there: NoiseLevel, order: int) -> list[Call]:
    """DDIM to the first of ``order - 1`` stages, even in lambda; each leads from ``here`` to the next."""
    if order == 1 or there.sigma == 0 or here.alpha == 0:
        return [call(here, renoise(here, there))]
    shares, solver = [k / order for k in range(1, order)], "midpoint" if order == 2 else "exact"
    stages = [NoiseLevel(*(a ** (1 - k) * b**k for a, b in zip(here, there, strict=True))) for k in shares]
    calls = [call(here, renoise(here, stages[0]), saved=X, push=noise_form(here))]
    for stage, after in pairwise([*stages, there]):
        still = after.alpha / here.alpha * SAVED + (after.sigma - after.alpha * here.rho) * PAST[0]
        gain = moved(NOISE_LOG, [(here, PAST[0]), (stage, noise_form(stage))], after, solver)
        calls.append(call(stage, still + gain, saved=SAVED, push=PAST[0]))
    return calls


def dpm(levels: NoiseLevel, order: int = 2) -> Program:
    """DPM-Solver, ``order`` calls per step (Lu et al., 2022, arXiv:2206.00927, eq. 3.7, alg. 1 and 2)."""
    expect("order", order, 1, 2, 3)
    steps = pairwise(walk(levels))
    return Program(*stack(c for here, there in steps for c in dpm_step(here, there, order)))


# Each with its order of convergence, of samples or, if it adds noise, of distributions.  A multistep method
# starts at lower order, unseen at high noise, where predictions hardly move.  lcm solves no equation.
TABLE: dict[str, tuple[Callable[..., Program], int]] = {
    "ddpm": (partial(ddim, eta=1.0), 1),
    "ddim": (ddim, 1),
    "euler": (ddim, 1),
    "euler_ancestral": (partial(ddim, eta=1.0), 1),
    "heun": (heun, 2),
    "edm": (edm, 2),
    "lms": (lms, 4),
    "deis": (deis, 3),
    "deis_1": (partial(deis, order=1), 1),
    "deis_2": (partial(deis, order=2), 2),
    "deis_3": (partial(deis, order=3), 3),
    "dpm": (dpm, 2),
    "dpm2": (partial(dpm, order=2), 2),
    "dpm_1": (partial(dpm, order=1), 1),
    "dpm_2": (partial(dpm, order=2), 2),
    "dpm_3": (partial(dpm, order=3), 3),
    "dpmpp_1": (partial(dpmpp, order=1), 1),
    "dpmpp_2m": (partial(dpmpp, order=2), 2),
    "dpmpp_3m": (partial(dpmpp, order=3), 3),
    "dpmpp_1_sde": (partial(dpmpp, order=1, eta=1.0), 1),
    "dpmpp_2m_sde": (partial(dpmpp, order=2, eta=1.0), 2),
    "dpmpp_3m_sde": (partial(dpmpp, order=3, eta=1.0), 2),
    "unipc": (unipc, 4),
    "unipc_1": (partial(unipc, order=1), 2),
    "unipc_2": (partial(unipc, order=2), 3),
    "unipc_3": (partial(unipc, order=3), 4),
    "lcm": (lcm, 0),
}
SAMPLERS: dict[str, Callable[..., Program]] = {name: sampler for name, (sampler, _) in TABLE.items()}
ORDERS: dict[str, int] = {name: order for name, (_, order) in TABLE.items()}
