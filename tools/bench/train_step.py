"""How fast is a training step? This project beside its peers and the machine's own limit, in one run.

  python tools/bench/train_step.py --rank 2d
  python tools/bench/train_step.py --rank 1d --json | tail -1

All nets learn the same task, to predict the noise (MSE, AdamW, no condition) in a picture of 32x32x3 (2d),
in a spectrogram of 80 bins and 256 frames (1d) or in a clip of 16 such pictures (3d), at the same batch size
and about equal forward FLOPs, as torch counts them. A step is forward, backward and optimiser; its work is
taken as three times the forward FLOPs. Reported in GFLOP/s, the median over rounds in which the contenders
take turns:

  ours       mmdiff's U-Net (of pictures and clips patches of 2): bf16, channels_last, compiled, fused AdamW
  shipped    diffusers' UNet2DModel, UNet1DModel or UNet3DConditionModel as users get it: fp32, not compiled
  ... tuned  a peer as well as it can be: bf16, channels_last, heads of 64 where it has a choice, compiled,
             fused AdamW
  ceiling    one bf16 convolution, 3 wide along each axis, forward and backward: what this machine gives

Other work on the machine changes the figures and even their order: compare within one run on a quiet machine.
Compiling takes about a minute for each net. The peers are installed by: pip install 'mmdiff[bench]'
"""

import argparse
import importlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script

from mmdiff.errors import UserError
from mmdiff.nets import SIZES, Shape, UNet
from tools.bench import command

PASSES = 3  # the backward pass does the forward's work twice: for the inputs and for the weights
WARM_UP = 2  # steps; the first one compiles
GIGA = 1e9
SPREAD = 1.08  # of the forward FLOPs of nets that are compared


@dataclass(frozen=True)
class Contender:
    """A net and how it is run; ``tuned`` is bf16, channels_last, compiled, with the fused optimiser."""

    name: str
    build: Callable[[], nn.Module]
    call: Callable[[nn.Module, Tensor, Tensor], Tensor]  # (net, noisy x, clock in [0, 1]) -> estimated noise
    tuned: bool


@dataclass(frozen=True)
class Case:
    """What is compared for one rank."""

    shape: tuple[int, ...]  # of x, without the batch axis
    ours: tuple[Contender, ...]  # the first counts, the others are shown
    peers: tuple[Contender, ...]
    shipped: str  # name of the peer that users get
    layer: Callable[[], nn.Module]  # sets the limit
    layer_shape: tuple[int, ...]
    batch: int


@dataclass(frozen=True)
class Runner:
    """Something to time: ``step`` does ``work`` floating-point operations."""

    name: str
    step: Callable[[], None]
    work: float
    forward: float  # FLOPs of the forward pass of one sample


def peer(module: str, name: str) -> Any:
    """A class of another project. Raises UserError when that is not installed."""
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: pip install 'mmdiff[bench]'") from None


def unet(channels: int, axes: Sequence[int], shape: Shape, seconds: float | None = None) -> nn.Module:
    return UNet(channels, axes, shape, seconds=seconds)


def ours(net: nn.Module, x: Tensor, clock: Tensor) -> Tensor:
    return net(x, clock * torch.pi / 2)


def diffusers_unet(head: int) -> nn.Module:
    """The blocks of its script train_unconditional.py, three levels of them, attention at 16x16."""
    net: nn.Module = peer("diffusers", "UNet2DModel")(
        sample_size=32,
        block_out_channels=(64, 128, 128),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=head,
    )
    return net


def diffusers_call(net: nn.Module, x: Tensor, clock: Tensor) -> Tensor:
    return net(x, (999 * clock).long(), return_dict=False)[0]


def lucid_unet(head: int) -> nn.Module:
    """Its attention has 128 channels at every level, by default 4 heads of 32."""
    kind = peer("denoising_diffusion_pytorch", "Unet")
    net: nn.Module = kind(64, dim_mults=(1, 2, 4), attn_dim_head=head, attn_heads=128 // head)
    return net


def lucid_call(net: nn.Module, x: Tensor, clock: Tensor) -> Tensor:
    return net(x, 999 * clock)


def diffusers_series() -> nn.Module:
    """Its default blocks, which attend in heads of 32 at the coarsest level, wider."""
    net: nn.Module = peer("diffusers", "UNet1DModel")(
        sample_size=SERIES[1],
        in_channels=SERIES[0],
        out_channels=SERIES[0],
        extra_in_channels=288,  # its Fourier features of the clock; its own default does not run
        block_out_channels=(144, 144, 288),
    )
    return net


def diffusers_series_call(net: nn.Module, x: Tensor, clock: Tensor) -> Tensor:
    return net(x, clock, return_dict=False)[0]


def lucid_series(head: int) -> nn.Module:
    """Its attention has 128 channels, by default 4 heads of 32."""
    kind = peer("denoising_diffusion_pytorch", "Unet1D")
    net: nn.Module = kind(
        176, dim_mults=(1, 2), channels=SERIES[0], attn_dim_head=head, attn_heads=128 // head
    )
    return net


def diffusers_clip() -> nn.Module:
    """Its default blocks, two levels of them, for pixels, attention at 16x16, without a text to speak of.

    Its heads are 64 wide by default.
    """
    net: nn.Module = peer("diffusers", "UNet3DConditionModel")(
        sample_size=CLIP[-1],
        in_channels=CLIP[0],
        out_channels=CLIP[0],
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=64,
    )
    return net


def diffusers_clip_call(net: nn.Module, x: Tensor, clock: Tensor) -> Tensor:
    return net(x, (999 * clock).long(), x.new_zeros(len(x), 1, 64), return_dict=False)[0]


def lucid_clip(head: int) -> nn.Module:
    """Its attention has 256 channels, by default 8 heads of 32."""
    kind = peer("video_diffusion_pytorch", "Unet3D")
    net: nn.Module = kind(dim=168, dim_mults=(1, 2), attn_heads=256 // head, attn_dim_head=head)
    return net


def both(
    name: str, call: Callable[..., Tensor], shipped: Callable[[], nn.Module], tuned: Callable[[], nn.Module]
) -> tuple[Contender, Contender]:
    """A peer as users get it and as well as it can be run."""
    return Contender(name, shipped, call, tuned=False), Contender(f"{name}, tuned", tuned, call, tuned=True)


CLIP = (3, 16, 32, 32)  # channels, frames, pixels
SERIES = (80, 256)  # bins, frames
PICTURE = (3, 32, 32)
FRAME, HOP = 1 / 8, 256 / 16000  # seconds from one frame of a clip, or of a spectrogram, to the next
PATCHES = SIZES["base"]
PIXELS = Shape(patch=1, width=64, mults=(1, 2, 2), blocks=3, attention=(1,))
FRAMES = Shape(patch=1, width=256, mults=(1, 1), blocks=2, attention=(1,))
CLIPS = Shape(patch=2, width=344, mults=(1, 2), blocks=2, attention=(1,))
CLIP_PIXELS = Shape(patch=1, width=168, mults=(1, 2), blocks=2, attention=(1,))
DIFFUSERS, DENOISING, VIDEO = "diffusers", "denoising_diffusion_pytorch", "video_diffusion_pytorch"
CASES = {
    "1d": Case(
        shape=SERIES,
        ours=(Contender("mmdiff", partial(unet, SERIES[0], (2,), FRAMES, HOP), ours, tuned=True),),
        peers=(
            *both(DIFFUSERS, diffusers_series_call, diffusers_series, diffusers_series),
            *both(DENOISING, lucid_call, partial(lucid_series, 32), partial(lucid_series, 64)),
        ),
        shipped=DIFFUSERS,
        layer=partial(nn.Conv2d, 256, 256, (1, 3), padding=(0, 1), bias=False),  # faster than nn.Conv1d
        layer_shape=(256, 1, SERIES[1]),
        batch=16,
    ),
    "2d": Case(
        shape=PICTURE,
        ours=(
            Contender("mmdiff", partial(unet, 3, (2, 3), PATCHES), ours, tuned=True),
            Contender("mmdiff, no patches", partial(unet, 3, (2, 3), PIXELS), ours, tuned=True),
        ),
        peers=(
            *both(DIFFUSERS, diffusers_call, partial(diffusers_unet, 8), partial(diffusers_unet, 64)),
            *both(DENOISING, lucid_call, partial(lucid_unet, 32), partial(lucid_unet, 64)),
        ),
        shipped=DIFFUSERS,
        layer=partial(nn.Conv2d, 128, 128, 3, padding=1, bias=False),
        layer_shape=(128, 32, 32),
        batch=32,
    ),
    "3d": Case(
        shape=CLIP,
        ours=(
            Contender("mmdiff", partial(unet, 3, (3, 4), CLIPS, FRAME), ours, tuned=True),
            Contender("mmdiff, no patches", partial(unet, 3, (3, 4), CLIP_PIXELS, FRAME), ours, tuned=True),
        ),
        peers=(
            *both(DIFFUSERS, diffusers_clip_call, diffusers_clip, diffusers_clip),
            *both(VIDEO, lucid_call, partial(lucid_clip, 32), partial(lucid_clip, 64)),
        ),
        shipped=DIFFUSERS,
        layer=partial(nn.Conv2d, 128, 128, 3, padding=1, bias=False),
        layer_shape=(128, 32, 32),
        batch=2,
    ),
}


def forward_flops(
    net: nn.Module, call: Callable[[nn.Module, Tensor, Tensor], Tensor], shape: Sequence[int]
) -> float:
    """FLOPs for one sample; attention is made plain for the count, which misses its fused CPU kernel."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        call(net, torch.zeros(1, *shape), torch.zeros(1))
    return float(counter.get_total_flops())


def training(contender: Contender, shape: Sequence[int], batch: int, compiled: bool) -> Runner:
    """The contender's training step on one fixed batch."""
    net = contender.build().train()
    forward = forward_flops(net, contender.call, shape)
    x, noise = torch.randn(2, batch, *shape)
    clock = torch.rand(batch)
    cast: Callable[[], Any] = nullcontext
    if contender.tuned:
        x, noise = laid_out(x), laid_out(noise)
        for parameter in net.parameters():
            parameter.data = laid_out(parameter.data)
        cast = partial(torch.autocast, "cpu", torch.bfloat16)
        if compiled:
            net.compile(dynamic=False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=contender.tuned or None)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with cast():
            estimate = contender.call(net, x, clock)
        F.mse_loss(estimate.float(), noise).backward()
        optimizer.step()

    return Runner(contender.name, step, PASSES * forward * batch, forward)


def laid_out(x: Tensor) -> Tensor:
    """Channels last, where there is such a layout."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats[x.ndim]) if x.ndim in formats else x


def limit(case: Case, batch: int) -> Runner:
    """Forward and backward of the case's layer alone, all in bf16."""
    layer = case.layer()
    forward = forward_flops(layer, lambda net, x, clock: net(x), case.layer_shape)
    layer = layer.to(torch.bfloat16).to(memory_format=torch.channels_last)
    x = laid_out(torch.randn(batch, *case.layer_shape, dtype=torch.bfloat16)).requires_grad_()
    gradient = torch.randn_like(x)

    def step() -> None:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        layer(x).backward(gradient)

    return Runner("ceiling", step, PASSES * forward * batch, forward)


def seconds_of(step: Callable[[], None], steps: int) -> float:
    """Wall-clock seconds for one step, the mean of ``steps``."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def race(runners: Sequence[Runner], rounds: int, steps: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of a step for each runner and round; no round begins after ``seconds``.

    The runners take turns, so that all meet the same disturbances.
    """
    for runner in runners:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the compiler thinks of the peers' code
            warm = seconds_of(runner.step, WARM_UP) * WARM_UP
        print(f"{runner.name}: ready after {warm:.0f} s", file=sys.stderr, flush=True)
    times: dict[str, list[float]] = {runner.name: [] for runner in runners}
    start = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - start > seconds:
            break
        for runner in runners:
            times[runner.name].append(seconds_of(runner.step, steps))
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return times


def report(
    case: Case, runners: Sequence[Runner], times: Mapping[str, Sequence[float]], batch: int
) -> dict[str, Any]:
    """The medians and their ratios."""
    speed = {r.name: r.work / statistics.median(times[r.name]) / GIGA for r in runners}
    peers = {contender.name: speed[contender.name] for contender in case.peers}
    mine = speed[case.ours[0].name]
    best = max(peers, key=lambda name: peers[name])
    return {
        "ours": mine,
        "best_peer": peers[best],
        "shipped": peers[case.shipped],
        "ceiling": speed["ceiling"],
        "ratio_best_peer": mine / peers[best],
        "ratio_shipped": mine / peers[case.shipped],
        "ceiling_share": mine / speed["ceiling"],
        "best_peer_name": best,
        "peers": peers,
        "variants": {contender.name: speed[contender.name] for contender in case.ours},
        "flops": {r.name: r.forward for r in runners},
        "samples_per_second": {r.name: batch / statistics.median(times[r.name]) for r in runners},
        "seconds": {name: list(each) for name, each in times.items()},
        "batch": batch,
        "shape": list(case.shape),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def show(found: Mapping[str, Any]) -> None:
    """Prints the table."""
    print(f"{'':<36}{'GFLOP/sample':>13}{'samples/s':>11}{'GFLOP/s':>9}")
    speed = found["variants"] | found["peers"] | {"ceiling": found["ceiling"]}
    for name in sorted(speed, key=lambda key: -speed[key]):
        work, rate = found["flops"][name] / GIGA, found["samples_per_second"][name]
        print(f"{name:<36}{work:>13.2f}{rate:>11.1f}{speed[name]:>9.0f}")
    print(
        f"ours is {found['ratio_best_peer']:.2f} x {found['best_peer_name']}, "
        f"{found['ratio_shipped']:.2f} x the shipped peer, {found['ceiling_share']:.0%} of the ceiling"
    )


def refuse_unequal(runners: Sequence[Runner]) -> None:
    """Raises UserError unless all nets do about the same work, as peers of another version might not."""
    least, most = (choose(runners, key=lambda runner: runner.forward) for choose in (min, max))
    if most.forward > SPREAD * least.forward:
        got = ", ".join(f"{each.name} {each.forward / GIGA:.3g}" for each in (least, most))
        raise UserError(f"GFLOP of a sample forward: got {got}, expected them within {SPREAD - 1:.0%}")


def bench(
    rank: str, batch: int | None, rounds: int, steps: int, seconds: float, compiled: bool
) -> dict[str, Any]:
    """Runs one case. Raises UserError when there is none for the rank, or a peer is missing or unlike."""
    if rank not in CASES:
        raise UserError(f"--rank {rank}: expected one of {', '.join(CASES)}")
    case = CASES[rank]
    batch = case.batch if batch is None else batch
    if min(batch, rounds, steps) < 1:
        raise UserError(f"--batch {batch}, --rounds {rounds}, --steps {steps}: expected at least 1 each")
    contenders = (*case.ours, *case.peers)
    runners = [training(contender, case.shape, batch, compiled) for contender in contenders]
    refuse_unequal(runners)
    runners.append(limit(case, batch))
    return {"rank": rank, **report(case, runners, race(runners, rounds, steps, seconds), batch)}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 2 the input was wrong."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("--rank", default="2d", metavar="1d|2d|3d", help="axes of the data (default: %(default)s)")
    add("--batch", type=int, metavar="N", help="samples in a step (default: 16, 32 and 2)")
    add("--rounds", type=int, default=5, metavar="N", help="turns of each contender (default: %(default)s)")
    add("--steps", type=int, default=2, metavar="N", help="steps in a turn (default: %(default)s)")
    add("--seconds", type=float, default=300, metavar="S", help="no turns after that (default: %(default)s)")
    add("--no-compile", action="store_true", help="compile nothing: quick, but no fair figure for anyone")

    def measure(o: argparse.Namespace) -> dict[str, Any]:
        return bench(o.rank, o.batch, o.rounds, o.steps, o.seconds, not o.no_compile)

    return command.run("train_step", parser, arguments, measure, show)


if __name__ == "__main__":
    sys.exit(main())
