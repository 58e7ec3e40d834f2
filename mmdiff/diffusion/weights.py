"""Loss weights and time densities.

A weight is a function of the level and acts on the squared error of x0, whatever the network predicts:
each published weight is one line, without a variant per target.  A density turns a number u in (0, 1) into
the clock t of a schedule; the u come from a counter, not from a generator.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmdiff.diffusion import named
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.schedules import Schedule

Weight = Callable[[NoiseLevel], Tensor]


def snr(level: NoiseLevel) -> Tensor:
    return (level.alpha / level.sigma) ** 2


def eps_simple(level: NoiseLevel) -> Tensor:
    """The plain error of eps (Ho et al., 2020, arXiv:2006.11239, eq. 14)."""
    return snr(level)


def v(level: NoiseLevel) -> Tensor:
    """The plain error of v, "SNR + 1" (Salimans & Ho, 2022, arXiv:2202.00512, sec. 4)."""
    return snr(level) + 1


def edm(level: NoiseLevel, sigma_data: float = 0.5) -> Tensor:
    """The plain error of EDM's unit-variance target (Karras et al., 2022, arXiv:2206.00364, tab. 1)."""
    return snr(level) + sigma_data**-2


def velocity(level: NoiseLevel) -> Tensor:
    """The plain error of the flow's velocity eps - x0 (Lipman et al., 2022, arXiv:2210.02747, eq. 23)."""
    return (1 + level.alpha / level.sigma) ** 2


def min_snr(level: NoiseLevel, gamma: float = 5.0) -> Tensor:
    """``min(snr, gamma)`` (Hang et al., 2023, arXiv:2303.09556, sec. 3.4)."""
    return snr(level).clamp(max=gamma)


def soft_min_snr(level: NoiseLevel, gamma: float = 4.0) -> Tensor:
    """``1 / (1 / snr + 1 / gamma)`` (Crowson et al., 2024, arXiv:2401.11605)."""
    return 1 / (level.rho**2 + 1 / gamma)


def p2(level: NoiseLevel, gamma: float = 1.0, k: float = 1.0) -> Tensor:
    """``snr / (k + snr)^gamma`` (Choi et al., 2022, arXiv:2204.00227, eq. 8)."""
    return snr(level) / (k + snr(level)) ** gamma


def sigmoid(level: NoiseLevel, bias: float = -3.0) -> Tensor:
    """The sigmoid weight (Kingma & Gao, 2023, arXiv:2303.00848; Hoogeboom et al., 2024, arXiv:2410.19324).

    ``e^b sigmoid(logsnr - b)`` times half the speed -dlogsnr/dt of the cosine clock.  With the density
    ``cosine`` it is the published loss on every schedule.
    """
    alpha, sigma = level
    tilt = math.exp(bias)
    return math.pi / 2 * tilt * (alpha / sigma) * (alpha**2 + sigma**2) / (alpha**2 + tilt * sigma**2)


class Uncertainty(nn.Module):
    """EDM2's learned weight u(level): ``loss / e^u + u`` (Karras et al., 2023, arXiv:2312.02696).

    u is a cosine series in the angle, smooth and finite at both ends, which starts as 0.
    """

    def __init__(self, terms: int = 16, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.series, self.sigma_data = nn.Parameter(torch.zeros(terms)), sigma_data

    def forward(self, loss: Float[Tensor, " b"], level: NoiseLevel) -> Float[Tensor, " b"]:
        """The loss per sample in units of what is expected at its level."""
        angle = level.angle(self.sigma_data).to(self.series)
        u = torch.cos(2 * angle[:, None] * torch.arange(len(self.series)).to(angle)) @ self.series
        return loss / u.exp() + u


def uniform(schedule: Schedule, u: Tensor) -> Tensor:
    """Every t alike."""
    return u


def log_normal(schedule: Schedule, u: Tensor, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """``log(rho)`` is normal (Karras et al., 2022, arXiv:2206.00364, tab. 1)."""
    return schedule.t_of_rho(torch.exp(mean + std * torch.special.ndtri(u)))


def logit_normal(schedule: Schedule, u: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """``logit(t)`` is normal (Esser et al., 2024, arXiv:2403.03206, eq. 19)."""
    return torch.sigmoid(mean + std * torch.special.ndtri(u))


def mode(schedule: Schedule, u: Tensor, scale: float = 1.29) -> Tensor:
    """More in the middle, and some everywhere; scale in [-1, 1.75] (Esser et al., 2024, eq. 20)."""
    return 1 - u - scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)


def cosine(schedule: Schedule, u: Tensor) -> Tensor:
    """The angle is uniform, as it is for uniform t on the cosine schedule (Esser et al., 2024, eq. 21)."""
    return schedule.t_of_rho(torch.tan(math.pi / 2 * u))


def low_discrepancy(seed: int, index: Int64[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Numbers in (0, 1), float64: terms ``index`` of the golden-ratio Kronecker sequence begun at ``seed``.

    Any run of consecutive terms covers (0, 1) evenly, and so does every n-th term.  A term depends on its
    index alone: with the global position of a sample as index, nothing needs to be saved.
    """
    golden = 0x9E3779B97F4A7C15 - 2**64  # 2^64 / golden ratio; int64 wraps, so fractions of a turn are exact
    begin = (seed * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) % 2**64 - 2**63
    turn = index * golden + begin
    return ((turn >> 12 & 2**52 - 1).double() + 0.5) / 2**52  # 52 bits: rounding never reaches 1


WEIGHTS: dict[str, Callable[..., Tensor]] = named(
    eps_simple, v, edm, velocity, min_snr, soft_min_snr, p2, sigmoid
)

DENSITIES: dict[str, Callable[..., Tensor]] = named(uniform, log_normal, logit_normal, mode, cosine)
