"""``mmdiff doctor``: what this machine has, and what that means for training here."""

import argparse
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmdiff.commands.verb import Verb
from mmdiff.run import versions

GIB = 2**30


def run(args: argparse.Namespace) -> int:
    facts = [*_software(), *_processor(), *_machine()]
    width = max(len(name) for name, _ in facts)
    for name, fact in facts:
        print(f"{name:<{width}}  {fact}")
    return 0


def _software() -> Iterator[tuple[str, str]]:
    yield from versions().items()
    for name, use in {"tensorboard": "logs for it", "diffusers": "parity tests and benchmarks"}.items():
        yield name, "installed" if importlib.util.find_spec(name) else f"not installed (only needed for {use})"


def _processor() -> Iterator[tuple[str, str]]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield "gpu", ", ".join(gpus) or "none: training runs on the processor"
    yield "cores", f"{len(os.sched_getaffinity(0))} usable, {torch.get_num_threads()} threads"
    flags = _flags()
    yield "vectors", f"{torch.backends.cpu.get_cpu_capability()}"
    fast = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    yield "bf16", f"fast ({', '.join(fast)})" if fast else "no special support seen: --set training.precision=fp32 may be faster"


def _machine() -> Iterator[tuple[str, str]]:
    compiler = shutil.which("g++") or shutil.which("clang++")
    yield "compiler", compiler or "none: --set training.compile=true needs g++"
    yield "memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.1f} GiB"
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / GIB:.1f} GiB free in {Path.cwd()}"


def _flags() -> frozenset[str]:
    """What the processor says it can, where the system tells (Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(word for line in lines if line.startswith("flags") for word in line.split())


VERB = Verb(
    summary="say what this machine has: versions, processor, memory, disk, compiler, tracking",
    run=run,
)
