"""``mmdiff regenerate``: a sample is made again from what its own file says."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from mmdiff.commands.inspect import provenance
from mmdiff.commands.verb import Verb


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="a sample that mmdiff made, a file or folder of frames"
    )
    parser.add_argument("--run", type=Path, metavar="DIR", help="the run's folder, if it is not where it was")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the new sample")


def run(args: argparse.Namespace) -> int:
    import torch

    from mmdiff.data.clipfiles import frames_of
    from mmdiff.generation.pipeline import regenerate

    path: Path = args.file
    told = provenance(path)
    again = regenerate(told, args.run)
    with TemporaryDirectory() as folder:
        made = Path(folder) / f"made{path.suffix if path.is_file() else ''}"
        again.modality.write(again.sample, made, told)
        before, after = ([file.read_bytes() for file in frames_of(each) or [each]] for each in (path, made))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        again.save(args.out)
    if before == after:
        print(f"identical: {path} was made again, byte for byte")
        return 0
    # Another program may have rewritten the file around the same samples.
    read = again.modality.read
    old, new = (torch.cat([read(data, path.name).value for data in each]) for each in (before, after))
    if old.shape == new.shape and bool((old == new).all()):
        print(f"identical: {path} was made again, every value of it; only the file around them differs")
        return 0
    changed = f"{(old != new).float().mean():.1%} of its values" if old.shape == new.shape else "its size"
    print(f"not identical: {path} differs from the new sample in {changed}")
    return 1


VERB = Verb(
    summary="make a sample again, and say whether it is identical",
    examples="""\
examples:
  mmdiff regenerate out/red-heart-0-0.png
  mmdiff regenerate red-heart-0-0.png --run runs/emoji --out again.png

It needs the run's folder with the same weights. Exit code: 0 identical, 1 not identical.
""",
    options=options,
    work=run,
)
