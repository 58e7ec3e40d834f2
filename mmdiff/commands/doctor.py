"""``mmdiff doctor``: what this machine has, and what that means for training here."""

import argparse
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmdiff.commands.verb import Verb
from mmdiff.run import versions

GIB = 2**30


def run(args: argparse.Namespace) -> int:
    facts = dict([*_software(), *_processor(), *_machine()])
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:<{width}}  {fact}")
    return 0


def _software() -> Iterator[tuple[str, str]]:
    from mmdiff.training.loggers import has_key

    yield from versions().items()
    installed = importlib.util.find_spec("tensorboard") is not None
    yield "tensorboard", "installed: runs also log to it" if installed else "not installed, and not needed"
    yield (
        "wandb",
        "a key is there: runs are logged online" if has_key() else "no key: runs are logged offline",
    )


def _processor() -> Iterator[tuple[str, str]]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield "gpu", ", ".join(gpus) or "none: training runs on the processor"
    yield "cores", f"{os.cpu_count()}, of which torch uses {torch.get_num_threads()}"
    yield "vectors", torch.backends.cpu.get_cpu_capability()
    fast = sorted(_flags() & {"avx512_bf16", "amx_bf16", "bf16"})
    slow = "not seen: --set training.precision=fp32 may be faster"
    yield "bf16", f"in hardware ({', '.join(fast)})" if fast else slow


def _machine() -> Iterator[tuple[str, str]]:
    compiler = shutil.which("g++") or shutil.which("clang++")
    yield "compiler", compiler or "none: --set training.compile=true needs g++"
    yield "memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.1f} GiB"
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / GIB:.1f} GiB free in {Path.cwd()}"


def _flags() -> set[str]:
    """What the processor says that it can, where the system tells (Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split()}


VERB = Verb(summary="say what this machine has that matters for training", work=run)
