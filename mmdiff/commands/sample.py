"""``mmdiff sample``: a run draws."""

import argparse
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdiff.commands.progress import shown
from mmdiff.commands.verb import (
    Verb,
    count,
    folder,
    guided,
    pulls,
    rate,
    scale,
    seconds,
    seed,
    setting,
    share,
    size,
)
from mmdiff.errors import UserError
from mmdiff.naming import suggestion

if TYPE_CHECKING:
    from mmdiff.modalities import Modality

LONGEST = 60  # characters of a prompt that a file name keeps
ROOM = 180  # bytes of these: seed, index, extension and what a temporary name adds need the rest of 255


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="the folder of a training run")
    add(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="what to draw; repeatable (default: anything)",
    )
    add(
        "--condition",
        action="append",
        default=[],
        type=setting,
        metavar="NAME=VALUE",
        help="as style=google; repeatable",
    )
    add("-n", type=count, default=1, metavar="N", help="samples of each prompt (default: 1)")
    add("--steps", type=count, metavar="N", help="steps of the sampler *")
    add("--sampler", metavar="NAME", help="such as dpmpp_2m or 'ddim(eta=1)' *")
    add("--grid", metavar="NAME", help="how the steps are spread, such as karras *")
    guided(parser)
    add(
        "--interval",
        nargs=2,
        type=scale,
        metavar=("LOW", "HIGH"),
        help="guide only where sigma / alpha is between these *",
    )
    add("--rescale", type=share, metavar="SHARE", help="take away so much of the spread that guidance adds *")
    add("--seed", type=seed, default=0, metavar="S", help="the same seed gives the same samples (default: 0)")
    add("--size", type=size, metavar="WxH", help="of pictures and clips, in pixels *")
    add("--seconds", type=seconds, metavar="S", help="of sounds and clips, how long they are *")
    add("--frames", type=count, metavar="F", help="of clips, how many *")
    add("--fps", type=rate, metavar="R", help="of clips, frames a second that they are played at *")
    add(
        "--overlap",
        type=count,
        metavar="F",
        help="of clips longer than those of training: frames that each window shares with the one before *",
    )
    add(
        "--given",
        action="append",
        default=[],
        metavar="SPEC",
        help="a file to go on from: FILE, FILE:START (when it begins), FILE@PLACES (what to keep) or "
        "FILE~STRENGTH (0 to 1, to vary it); repeatable",
    )
    add("--weights", choices=["ema", "live"], default="ema", metavar="WHICH", help="ema (default) or live")
    add(
        "--format",
        choices=["png", "jpg", "webp", "wav", "flac", "ogg", "mp3", "mp4", "webm", "gif", "frames"],
        metavar="TYPE",
        help="png (default), jpg, webp; wav (default), flac, ogg, mp3; mp4 (default), webm, gif, frames",
    )
    add(
        "--sheet",
        type=Path,
        metavar="FILE",
        help="also write one PNG of all samples with their prompts; of sounds spectrograms, of clips frames",
    )
    add("--out", type=folder, default="out", metavar="DIR", help="where to (default: out)")


def run(args: argparse.Namespace) -> int:
    from mmdiff.generation.pipeline import load

    guidance, guidance_by = pulls(args.guidance)
    pipeline = load(args.run, weights=args.weights)
    modality = pipeline.model.modality
    asked, kind = extent(args, modality), suffix(args.format, modality)
    paths, done = [], []
    with shown("call") as progress:
        generated = pipeline.sample(
            args.prompt,
            n=args.n,
            steps=args.steps,
            sampler=args.sampler,
            grid=args.grid,
            guidance=guidance,
            guidance_by=guidance_by,
            interval=args.interval and tuple(args.interval),
            rescale=args.rescale,
            overlap=args.overlap,
            seed=args.seed,
            size=asked,
            given=args.given,
            progress=progress,
            **conditions(args.condition, pipeline.recipe.conditions),
        )
        args.out.mkdir(parents=True, exist_ok=True)
        for one in generated:
            paths.append(args.out / f"{file_name(one.prompt, one.seed, one.index)}{kind}")
            one.save(paths[-1])
            if args.sheet:
                done.append(one)
    if args.sheet:
        from mmdiff.generation.sheet import contact

        paths.append(contact(done, [one.prompt for one in done], args.sheet))
    print(*paths, sep="\n")
    return 0


def extent(args: argparse.Namespace, modality: "Modality") -> str | None:
    """How large samples are to be, in the words of their modality; None when it was not said."""
    every = {name: getattr(args, name) for name in ("size", "seconds", "frames", "fps")}
    asked = {name: value for name, value in every.items() if value is not None}
    for name in asked:
        if name not in modality.extents:
            have = " and ".join(f"--{extent}" for extent in modality.extents)
            raise UserError(f"--{name}: this run makes {modality.noun}, which have {have} instead")
    return modality.size_with(asked) if asked else None


def suffix(kind: str | None, modality: "Modality") -> str:
    """The extension of the files, with the dot; none for a folder of frames."""
    if kind is not None and kind not in modality.formats:
        raise UserError(
            f"--format {kind}: this run makes {modality.noun}; expected {', '.join(modality.formats)}"
        )
    return {None: modality.suffix, "frames": ""}.get(kind, f".{kind}")


def conditions(given: Sequence[tuple[str, str]], known: Iterable[str]) -> dict[str, Any]:
    """The values by name; each must be known to the run and given once."""
    values: dict[str, Any] = {}
    for name, value in given:
        if name not in known:
            raise UserError(
                f"--condition {name}={value}: unknown condition {name!r}{suggestion(name, known)}"
            )
        if name in values:
            raise UserError(f"--condition {name}={value}: {name} is given twice")
        values[name] = value
    return values


def file_name(prompt: str, seed: int, index: int) -> str:
    """A name that depends on this sample alone, so that more samples beside it change no name.

    A prompt that the name cannot hold whole, because it is long or has anything but small letters, digits and
    single spaces, adds a part of its hash: two prompts do not share a name, on any file system.
    """
    slug = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")[:LONGEST]
    slug = slug.encode()[:ROOM].decode(errors="ignore")
    if slug.replace("-", " ") != prompt:
        slug = f"{slug}-{hashlib.sha256(prompt.encode()).hexdigest()[:6]}".lstrip("-")
    return f"{slug or 'sample'}-{seed}-{index}"


VERB = Verb(
    summary="draw samples from a run, each with its provenance inside",
    examples="""\
* default: what the run's recipe says

examples:
  mmdiff sample runs/emoji --prompt "red heart" --prompt "dog face" -n 4 --out out
  mmdiff sample runs/emoji --prompt "slice of pizza" --condition style=google --steps 32 --guidance 4
  mmdiff sample runs/notes --condition like=violin.wav --condition pitch=60 --guidance 2 --guidance like=4
  mmdiff sample runs/shapes --prompt "a red circle" -n 16 --seed 7 --sheet sheet.png
  mmdiff sample runs/tones --condition pitch=60 --condition timbre=bell --seconds 2 --format flac
  mmdiff sample runs/notes --condition like=a.wav --condition pitch=60           the timbre of a.wav
  mmdiff sample runs/notes --condition envelope=0:0,0.1:1,1.5:0.2   SECONDS:LEVEL, 0 is -60 dB, 1 full scale
  mmdiff sample runs/notes --given a.wav --seconds 3             goes on where a.wav ends
  mmdiff sample runs/notes --given a.wav@0-0.4,0.8-              keeps these seconds, fills the gap
  mmdiff sample runs/notes --given a.wav:1 --seconds 2           begins a second before a.wav does
  mmdiff sample runs/emoji --given a.png@-16x16+8+8              keeps all but a box: WIDTHxHEIGHT+LEFT+TOP
  mmdiff sample runs/emoji --given a.png~0.6 --prompt "red heart"     a variation
  mmdiff sample runs/motion --prompt "dog face" --frames 24 --format gif
  mmdiff sample runs/motion --given a.png@0                      a clip whose first frame is a.png
  mmdiff sample runs/motion --given a.png@0,15                   ... and whose last one is, of 16: a loop
  mmdiff sample runs/motion --given a.png@0 --given b.png@15     from one picture to another
  mmdiff sample runs/motion --given a.mp4@0-3,12-                keeps these frames, makes the ones between
  mmdiff sample runs/motion --given a.mp4:8 --frames 16          makes the 8 frames before a.mp4
  mmdiff sample runs/motion --seconds 10                         longer than trained: window by window
  mmdiff sample runs/motion --given a.mp4 --seconds 10           goes on where a.mp4 ends

A clip longer than those of training is made in windows of their length. Each begins with the last frames of
the one before (--overlap, default: a quarter of a window), and what is made waits on disk, not in memory.

Files are named PROMPT-SEED-INDEX; a sample depends on its own prompt, seed, index and settings, never on what
is drawn beside it. `mmdiff inspect FILE` shows how a file was made, `mmdiff regenerate FILE` makes it again.
""",
    options=options,
    work=run,
)
