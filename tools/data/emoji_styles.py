"""Where the emoji of each art style come from; a style is a function ``(concept, size) -> picture``."""

import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from tools.data.concepts import Concept, concept_id
from tools.data.packages import Package, Say, fetch, unpack, wheel

VECTOR = 1 << 20  # the largest size of a source that is not made of pixels

SHEETS = Package(
    name="emoji-datasource",
    version="16.0.0",
    sha256="2006725061dc0098daa832d65f854a7bec0740af2eb47cb5b23d89f7e2c849f9",
    megabytes=25.2,
)
GOOGLE = Package(
    name="emoji-datasource-google",
    version="16.0.0",
    sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    megabytes=74.3,
)
TWITTER = Package(
    name="emoji-datasource-twitter",
    version="16.0.0",
    sha256="f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    megabytes=61.7,
)
FLUENT_3D = Package(
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    megabytes=15.8,
)
FLUENT_FLAT = Package(
    name="@iconify-json/fluent-emoji-flat",
    version="1.2.6",
    sha256="7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    megabytes=1.2,
)
NOTO_V1 = Package(
    name="@iconify-json/noto-v1",
    version="1.2.5",
    sha256="2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
    megabytes=1.6,
)
RESVG = "resvg_py", "0.5.0"
RESVG_WHEELS = (  # Linux (glibc, musl), macOS and Windows, each on x86-64 and arm64
    "84f2378ecc7a8e38b03429efaefc816daec1b1970114909a6f973393b297c91b",
    "1e66216f78c84a27d34ce75f4535d8e26565771be4f1848ddc71e8a7ce78973a",
    "feee1ee6c2c0b64018c046a7604240c233c6cf14496e475238370c7d9a9db455",
    "7c3e8c2324fc2bcf03c1010b7987adf5ff4ce43e8fc1a7c9b8271cbbcca6ba37",
    "9d3f5c2544d6b5f74847513e07e6ab6a70f9e7f0d8a141bc16bd4b0c555f4234",
    "7b43f942157f5d16126e108dab8ab37e4bc2b198099e5f6274b753a3b1ac7b6e",
    "1f6b8956c4143dbfe107bcd35799d0dfd778a40a8cd537893c0bf489898a6c3c",
    "8016e2006c09953570af466e7674c398c1f255cb00022152b15e18f9e8ca3af8",
)

Files = Mapping[str, bytes]  # path inside a package -> contents
Source = Callable[[str, int], Image.Image | None]  # (concept, size wanted) -> a picture of any size, if any


def slug(label: str) -> str:
    """The name that icon sets give to the emoji with this label: ASCII words joined by "-"."""
    text = "".join(c for c in unicodedata.normalize("NFD", label.lower()) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "-", re.sub("['\u2019]", "", text)).strip("-")


def sheet(files: Files, concepts: Mapping[str, Concept]) -> Source:
    """One vendor's sheet of emoji-datasource: cells of 32 px inside a border of 1 px."""
    (name,) = (name for name in files if name.endswith("sheets/32.png"))
    page, vendor = Image.open(io.BytesIO(files[name])).convert("RGBA"), name.split("/")[1]
    cells = {
        concept_id(code): (item["sheet_x"] * 34 + 1, item["sheet_y"] * 34 + 1)
        for item in json.loads(files["emoji.json"])
        for code in (item["unified"], item["non_qualified"])
        if code and item[f"has_img_{vendor}"]
    }

    def get(concept: str, size: int) -> Image.Image | None:
        if concept not in cells:
            return None
        left, top = cells[concept]
        return page.crop((left, top, left + 32, top + 32))

    return get


def pictures(files: Files, concepts: Mapping[str, Concept]) -> Source:
    """One picture file for each emoji, named by its code points."""
    named = {concept_id(Path(name).stem): files[name] for name in sorted(files) if name != "LICENSE"}
    return lambda concept, size: Image.open(io.BytesIO(named[concept])) if concept in named else None


def icons(files: Files, concepts: Mapping[str, Concept], render: Callable[[str], bytes]) -> Source:
    """An Iconify set of SVG, by the code points that it lists, or else by the slug of the label.

    Its aliases count only together with code points: by slug alone, one may lead to another emoji's picture.
    """
    data = json.loads(files["icons.json"])
    names = {concept_id(code): name for code, name in json.loads(files["chars.json"]).items()}
    if not names:
        slugs = {concept: slug(info["label"]) for concept, info in concepts.items()}
        uses = Counter(slugs.values())
        names = {key: name for key, name in slugs.items() if uses[name] == 1 and name in data["icons"]}

    def get(concept: str, size: int) -> Image.Image | None:
        name = names.get(concept)
        alias = data.get("aliases", {}).get(name, {})
        icon = data["icons"].get(alias.get("parent", name))
        if icon is None or alias.keys() - {"parent", "hFlip"}:
            return None
        image = Image.open(io.BytesIO(render(svg(data, icon, size))))
        return ImageOps.mirror(image) if alias.get("hFlip") else image

    return get


def svg(data: Mapping[str, Any], icon: Mapping[str, Any], size: int) -> str:
    """The SVG file of one Iconify icon; what it does not say, the set ``data`` says, or else the format."""
    least = {"left": 0, "top": 0, "width": 16, "height": 16}
    box = " ".join(str(icon.get(key, data.get(key, value))) for key, value in least.items())
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size}" height="{size}" viewBox="{box}">{icon["body"]}</svg>'
    )


def renderer(cache: Path, say: Say) -> Callable[[str], bytes]:
    """Returns what turns an SVG text into the bytes of a PNG, without a look at this machine's fonts."""
    to_png = wheel(*RESVG, RESVG_WHEELS, cache, say).svg_to_bytes
    return lambda text: bytes(to_png(svg_string=text, skip_system_fonts=True))


@dataclass(frozen=True)
class Origin:
    """Where the pictures of a style come from, and up to which size they need no enlarging."""

    package: Package
    largest: int
    wanted: str  # regular expression of the paths in the package
    make: Callable[..., Source]


def _sheet(vendor: str) -> Origin:
    return Origin(SHEETS, 32, rf"LICENSE|emoji\.json|img/{vendor}/sheets/32\.png", sheet)


def _files(package: Package, vendor: str) -> Origin:
    return Origin(package, 64, rf"LICENSE|img/{vendor}/64/.*\.png", pictures)


# The first origin that is large enough is used; a style that has none is left out.
STYLES = {
    "google": (_sheet("google"), _files(GOOGLE, "google")),
    "twitter": (_sheet("twitter"), _files(TWITTER, "twitter")),
    "fluent-3d": (Origin(FLUENT_3D, 256, r"assets/.*\.webp", pictures),),
    "fluent-flat": (Origin(FLUENT_FLAT, VECTOR, r"(icons|chars)\.json", icons),),
    "noto-v1": (Origin(NOTO_V1, VECTOR, r"(icons|chars)\.json", icons),),
}


def open_styles(
    size: int, concepts: Mapping[str, Concept], cache: Path, say: Say
) -> tuple[dict[str, Source], dict[str, str]]:
    """Opens every style that can show ``size`` pixels without enlarging; says which ones are left out.

    Returns the styles, and the licence text of each that brings one.
    """
    found: dict[str, Source] = {}
    licences = {}
    for style, origins in STYLES.items():
        origin = next((origin for origin in origins if origin.largest >= size), None)
        if origin is None:
            say(f"{style}: left out, its pictures have at most {origins[-1].largest} of {size} pixels")
            continue
        files = unpack(fetch(origin.package, cache, say), re.compile(origin.wanted))
        make = origin.make
        if make is icons:
            make = partial(icons, render=renderer(cache, say))
        found[style] = make(files, concepts)
        if "LICENSE" in files:
            licences[style] = files["LICENSE"].decode()
    return found, licences
