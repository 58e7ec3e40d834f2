"""The recipe: everything that decides a training run, as frozen dataclasses that a YAML file fills.

A recipe file is one document; the comment at its head is its documentation. ``dump`` writes a recipe
completely and ``load`` of that text gives an equal recipe. Names of core parts (schedule, target, sampler,
...) are strings here, because this module knows no network; the parts that use them check them.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from mmdiff import schema
from mmdiff.errors import UserError
from mmdiff.naming import suggestion
from mmdiff.schema import Form, OneOf, Range

Count = Annotated[int, Range(low=1)]
Whole = Annotated[int, Range(low=0)]
Share = Annotated[float, Range(low=0, high=1)]
Size = Annotated[str, Form(r"[1-9]\d*x[1-9]\d*", "WIDTHxHEIGHT in pixels, such as 32x32")]
RATE = r"[1-9]\d{0,17}(?:/[1-9]\d{0,17})?|[1-9]\d{0,8}\.\d{1,6}"  # what Fraction takes, of bounded length
Rate = Annotated[str, Form(RATE, "frames a second, such as 8 or 24000/1001")]
Level = Annotated[float, Range(low=0)]

# Words of ``Pipeline.sample`` and of guidance, which a condition of that name would be mistaken for
TAKEN = frozenset(
    [
        *("self", "prompt", "n", "steps", "sampler", "grid", "guidance", "guidance_by", "interval"),
        *("rescale", "overlap", "seed", "first", "size", "given", "progress", "main", "null"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What to learn from."""

    path: str | None = None  # a folder or tar; `--data` sets it
    source: Annotated[str, OneOf("folder", "shapes", "tones", "bounce")] = (
        "folder"  # the others are made by code
    )
    size: Size = "32x32"  # of pictures and clips
    # further sizes: each file is brought to the one nearest to its shape, and a batch is of one size
    sizes: tuple[Size, ...] = ()
    frames: Count = 16  # of clips: what training sees of one at a time
    fps: Rate = "8"  # of clips: others are brought to this rate
    sample_rate: Count = 16_000  # of sounds, Hz
    channels: Count = 1  # of sounds
    seconds: Annotated[float, Range(above=0)] = 1.0  # of sounds: what training sees of one at a time
    representation: str = "mdct"  # of sounds, such as mdct(bins=256) or stft(size=512, hop=256)
    level: Annotated[str, OneOf("none", "clip", "peak", "rms", "loudness")] = "none"  # of sounds drawn
    flip: bool = False  # mirror half of the pictures, or clips, left to right
    max_bad: Share = 0.05  # refuse to start when a larger share of the files is unusable
    hold_out: str | None = None  # COLUMN/N or COLUMN+COLUMN/N: every Nth value of these is never trained on
    # COLUMN/SEMITONES: half of all sounds are played up to so many semitones lower, and the column, their
    # MIDI pitch, says so
    detune: str | None = None
    captions: str = "text"  # the metadata column used as caption
    alternatives: str | None = None  # a metadata column with a list of further captions
    alternative_share: Share = 0.0  # how often one of the alternatives is the caption
    tags: str | None = None  # a metadata column with a list of words that go with the caption
    phrases: tuple[str, ...] = ()  # what may be made of a caption, such as "{tag} of {text}" or "a {text}"
    phrase_share: Share = 0.0  # how often one of the phrases is the caption; {tag} is one of the tags
    workers: Whole = 0  # processes that read ahead
    cache_mb: Whole = 2048  # decoded samples kept in memory, MiB
    length: Count = 20_000  # samples of the sources that code makes
    under_way: Share = 0.0  # of bounce: share of the clips that meet a shape on its way, wherever that is

    @property
    def every_size(self) -> tuple[str, ...]:
        """Of pictures and clips, the main one first."""
        return (self.size, *self.sizes)


@dataclass(frozen=True, kw_only=True)
class Net:
    """The U-Net: a preset size, and what differs from it."""

    size: Annotated[str, OneOf("tiny", "small", "base", "large", "custom")] = "small"
    patch: Count | None = None  # pixels a side folded into channels before the net
    width: Count | None = None  # channels of the first level
    mults: tuple[Count, ...] | None = None  # channels of each level in units of width
    blocks: Count | None = None  # residual blocks a level
    attention: tuple[Whole, ...] | None = None  # levels (0 is the finest) with attention


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """The noise and the objective; the names are those of mmdiff.diffusion's tables."""

    schedule: str = "rectified_flow"
    shift: Annotated[float, Range(above=0)] = 1.0  # rho -> shift * rho
    target: str = "flow"
    weight: str = "velocity"
    uncertainty: bool = False  # learn how large the loss is at each level and train in units of that
    density: str = "logit_normal"
    sigma_data: Annotated[float, Range(above=0)] = 0.5
    shared_noise: Share = 0.0  # of clips: the share of the noise's variance that all frames have in common


@dataclass(frozen=True, kw_only=True)
class ConditionSpec:
    """One thing that a sample can be asked for, under the name that the recipe gives it."""

    kind: Annotated[str, OneOf("text", "label", "number", "style", "envelope")]
    # label, number: the metadata column, or what the audit says of files, such as motion or seconds; the
    # condition's own name when not given
    # style: a column whose value a sample shares with its reference; a sample is its own when not given
    column: str | None = None
    dropout: Annotated[float, Range(low=0, below=1)] = 0.1  # how often training withholds it
    values: tuple[str, ...] | None = None  # label: the known values, filled from the data
    # text: learned with the model from the bytes of words; or minilm, which others trained (the extra
    # mmdiff[text]), or a folder or name that the AutoModel of transformers loads
    encoder: str = "bytes"
    tokens: Count = 16  # text: words kept at most, or tokens of an encoder
    low: float | None = None  # number: the smallest value
    high: float | None = None  # number: the largest value


# What only some kinds of condition have
KEYS = {
    "text": {"encoder", "tokens"},
    "label": {"column", "values"},
    "number": {"column", "low", "high"},
    "style": {"column"},
    "envelope": set[str](),
}
REFERENCES = ("style", "envelope")  # kinds whose value is a file


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how to train."""

    steps: Count
    batch_size: Count = 64
    optimizer: Annotated[str, OneOf("adamw", "muon")] = "adamw"
    learning_rate: Annotated[float, Range(above=0)] = 1e-3
    warmup: Whole = 200  # steps of linear rise
    decay: Share = 0.3  # last share of the steps, linear fall to zero
    weight_decay: Annotated[float, Range(low=0)] = 0.0
    clip: Annotated[float, Range(above=0)] = 1.0  # largest gradient norm
    precision: Annotated[str, OneOf("bf16", "fp32")] = "bf16"
    seed: Annotated[int, Range(low=0, high=2**63 - 2)] = 0  # 64 bits; one more is that of made real samples
    given: Share = (
        0.0  # how often a part of a sample is known, so that the model learns to continue and to fill
    )
    ema: Annotated[float, Range(low=0, below=1)] = 0.999  # longest decay of the weight average
    log_every: Count = 20
    checkpoint_every: Count = 1000
    keep: Count = 3  # checkpoints kept
    sample_every: Count = 1000
    compile: bool = False
    devices: Count = 1
    loggers: Annotated[str, OneOf("auto", "files", "wandb", "wandb-offline")] = "auto"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn when nothing else is asked for."""

    sampler: str = "dpmpp_2m"
    grid: str = "uniform"
    steps: Count = 16
    guidance: Level = 3.0
    guidance_by: dict[str, Level] = field(default_factory=dict)  # of conditions with a weight of their own
    interval: tuple[Level, Level] | None = None  # guide only where rho is between the two
    rescale: Share = 0.0
    # of clips longer than those of training: frames that a window shares with the one before; None: a quarter
    overlap: Count | None = None
    n: Count = 4
    prompts: tuple[str, ...] = ()
    conditions: dict[str, str] = field(default_factory=dict)  # values for the grids drawn while training


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run."""

    name: Annotated[str, Form(r"[^./\\\s\x00-\x1f][^/\\\x00-\x1f]*|", "a name without slashes")] = ""
    modality: str
    init: str | None = None  # a run whose weights are the first ones, as far as it has them
    data: Data = Data()
    net: Net = Net()
    diffusion: Diffusion = Diffusion()
    conditions: dict[str, ConditionSpec] = field(default_factory=dict)
    training: Training
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        for name in self.conditions:
            if not name.isidentifier() or name in TAKEN:
                raise UserError(f"conditions: none can be called {name!r}; expected another plain word")
        for name, spec in self.conditions.items():
            _check(name, spec)
        if self.diffusion.shared_noise and self.modality != "video":
            got = f"got {self.diffusion.shared_noise}, expected 0"
            raise UserError(f"diffusion.shared_noise: {got}: {self.modality} has no frames to share it")
        _check_data(self.data, self.modality)
        _check_sampling(self.sampling, self.conditions)

    @property
    def columns(self) -> frozenset[str]:
        """Where labels and numbers are found: metadata columns, or facts of files."""
        specs = self.conditions.items()
        return frozenset(spec.column or name for name, spec in specs if spec.kind in ("label", "number"))

    def override(self, settings: Iterable[str]) -> "Recipe":
        """The recipe with ``a.b=c`` settings applied; ``c`` is read as YAML.

        Raises:
            UserError: not of this form, an unknown key, or a wrong value.
        """
        root = schema.compose(dump(self), "recipe")
        assert root is not None
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals or not key.strip():
                raise UserError(f"--set {setting}: expected KEY=VALUE, such as training.steps=100")
            origin = f"--set {setting}"
            value = schema.compose(text, origin) or schema.compose("null", origin)
            assert value is not None
            schema.graft(root, key.strip(), value)
        recipe: Recipe = schema.convert(root, Recipe)
        return recipe


def _check_data(data: Data, modality: str) -> None:
    """Raises UserError if a key of the data is of no use to the modality or to what code makes."""
    if data.sizes and (modality == "audio" or data.source != "folder"):
        what = modality if modality == "audio" else data.source
        got = f"got {list(data.sizes)}, expected none"
        raise UserError(f"data.sizes: {got}: only files of pictures and clips have shapes, not {what}")
    if len(set(data.every_size)) < len(data.every_size):
        got = f"got {list(data.sizes)} beside {data.size}"
        raise UserError(f"data.sizes: {got}, expected each size once")
    if data.detune and modality != "audio":
        got = f"got {data.detune!r}, expected nothing"
        raise UserError(f"data.detune: {got}: only sounds have a pitch")
    if data.under_way and data.source != "bounce":
        got = f"got {data.under_way} with data.source {data.source!r}, expected 0"
        raise UserError(f"data.under_way: {got}: only clips of 'bounce' can be")


def _check_sampling(sampling: Sampling, conditions: Mapping[str, ConditionSpec]) -> None:
    """Raises UserError if what is asked for is not among the conditions, or nothing lies in an interval."""
    if sampling.interval and sampling.interval[0] >= sampling.interval[1]:
        raise UserError(f"sampling.interval: got {list(sampling.interval)}, expected low < high")
    for key in ("conditions", "guidance_by"):
        for name in getattr(sampling, key):
            if name not in conditions:
                raise UserError(f"sampling.{key}: unknown condition {name!r}{suggestion(name, conditions)}")
    for name in sampling.conditions:
        if conditions[name].kind in REFERENCES:
            raise UserError(
                f"sampling.conditions.{name}: takes a file, which only mmdiff sample can be given"
            )


def _check(name: str, spec: ConditionSpec) -> None:
    """Raises UserError if a condition has a key of another kind, or a number has no range."""
    for key in ("column", "values", "encoder", "tokens", "low", "high"):
        default = ConditionSpec.__dataclass_fields__[key].default
        if getattr(spec, key) != default and key not in KEYS[spec.kind]:
            kinds = " or ".join(kind for kind, keys in KEYS.items() if key in keys)
            raise UserError(f"conditions.{name}.{key}: got it with kind {spec.kind!r}, expected {kinds}")
    if spec.kind == "number":
        for key, end in (("low", spec.low), ("high", spec.high)):
            if end is None:
                expected = f"expected a number, the {key} end of the range"
                raise UserError(f"conditions.{name}.{key}: got nothing, {expected}")
        if spec.low is not None and spec.high is not None and not spec.low < spec.high:
            raise UserError(f"conditions.{name}.high: got {spec.high}, expected more than low, {spec.low}")


def load(source: str | Path) -> Recipe:
    """The recipe in a YAML file, or the built-in one of that name, such as ``image/emoji``.

    Raises:
        UserError: no such file or name, not YAML, an unknown key or a wrong value.
    """
    path = locate(source)
    node = schema.compose(_text(path), str(path))
    if node is None:
        raise UserError(f"{path}: the recipe is empty")
    try:
        recipe: Recipe = schema.convert(node, Recipe)
    except UserError as error:
        raise error if str(error).startswith(str(path)) else UserError(f"{path}: {error}") from error
    return recipe if recipe.name else dataclasses.replace(recipe, name=path.stem.lstrip(". ") or "run")


def dump(recipe: Recipe) -> str:
    """Complete YAML; loading it gives an equal recipe."""
    return schema.dump(recipe)


def describe(source: str | Path) -> str:
    """The comment at the head of a recipe file, without its marks. Raises UserError as `load` does."""
    lines = []
    for line in _text(locate(source)).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" ").rstrip())
    return "\n".join(lines).strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8: {error.reason} at byte {error.start}") from error


def builtin_names() -> list[str]:
    """The recipes that travel with the package, such as ``image/emoji``."""
    folder = _builtin_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def locate(source: str | Path) -> Path:
    """The file of a recipe: the path itself if it exists, else the built-in recipe of that name.

    Raises:
        UserError: neither exists; names the nearest built-in recipe.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a recipe file (YAML)")
    name = Path(source).as_posix().removeprefix("./").removeprefix("recipes/").removesuffix(".yaml")
    if name in builtin_names():
        return _builtin_folder() / f"{name}.yaml"
    raise UserError(
        f"{source}: no such recipe file, and no built-in recipe{suggestion(name, builtin_names())}"
    )


def pixels(size: str) -> tuple[int, int]:
    """(width, height) of ``"32x24"``.

    Raises:
        UserError: not of this form.
    """
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UserError(f"size {size!r}: expected WIDTHxHEIGHT in pixels, such as 32x32")
    return int(width), int(height)


def _builtin_folder() -> Path:
    """``mmdiff/recipes`` in an installed wheel, ``recipes`` beside the package in a checkout."""
    package = Path(__file__).parent
    packed = package / "recipes"
    return packed if packed.is_dir() else package.parent / "recipes"
