"""A trained run as something that draws: ``load(run).sample(prompt="a red heart")``."""

import dataclasses
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from safetensors.torch import load_file
from torch import nn

from mmdiff.errors import UserError
from mmdiff.generation import provenance as provenances
from mmdiff.generation.asked import ask
from mmdiff.generation.engine import ROWS, Engine
from mmdiff.generation.given import Given
from mmdiff.generation.model import Model, build, guidance_of, unguided
from mmdiff.generation.provenance import Origin, Wish
from mmdiff.generation.request import Request
from mmdiff.generation.windows import Take, cut
from mmdiff.modalities import Modality, Sample
from mmdiff.nets.conv import Conv
from mmdiff.recipe import Recipe, Sampling
from mmdiff.run import Checkpoint, Run

WEIGHTS = ("ema", "live")

Ask = tuple[str, Mapping[str, str]]  # a prompt, "" for none, and the values of the other conditions by name


@dataclass(frozen=True, eq=False)
class Generated:
    """One sample that a model made.

    Attributes:
        prompt: what was asked for, "" when nothing was.
        conditions: the other conditions by name.
        provenance: how it was made; ``save`` puts it into the file.
    """

    prompt: str
    conditions: Mapping[str, str]
    seed: int
    index: int
    provenance: Mapping[str, Any]
    sample: Sample
    modality: Modality

    @property
    def picture(self) -> Pillow.Image:
        """The sample as a Pillow picture; of a sound its spectrogram, of a clip its frames in rows."""
        return self.modality.preview(self.sample)

    def save(self, path: str | Path) -> None:
        """Writes a file of the kind that its suffix says, with the provenance inside, whole or not at all."""
        self.modality.write(self.sample, path, self.provenance)


class Pipeline:
    """Draws samples from a model.

    Args:
        model: in eval mode; it is not changed.
        recipe: its ``sampling`` gives what a call leaves open.
        origin: of the weights, for the provenance.
        precision: "bf16" or "fp32"; that of the training when None.
        rows: of every network call; see ``mmdiff.generation.engine``.
    """

    def __init__(
        self, model: Model, recipe: Recipe, origin: Origin, precision: str | None = None, rows: int = ROWS
    ) -> None:
        self.model, self.recipe, self.origin = model, recipe, origin
        self.precision, self.rows = precision or recipe.training.precision, rows

    def sample(  # noqa: PLR0913  # each argument is a word of the command line
        self,
        prompt: str | Sequence[str] = (),
        n: int = 1,
        *,
        steps: int | None = None,
        sampler: str | None = None,
        grid: str | None = None,
        guidance: float | None = None,
        guidance_by: Mapping[str, float] | None = None,
        interval: tuple[float, float] | None = None,
        rescale: float | None = None,
        overlap: int | None = None,
        seed: int = 0,
        first: int = 0,
        size: str | None = None,
        given: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
        progress: Callable[[int, int], None] | None = None,
        **conditions: str | None,
    ) -> Iterator[Generated]:
        """Yields ``n`` samples of each prompt, prompt by prompt, as soon as each is ready.

        A sample is a function of its own prompt, conditions, seed, index and settings, whatever is drawn
        beside it.  What is None comes from the recipe's ``sampling``.  Without any condition guidance has
        nothing to guide towards and is off.

        Args:
            prompt: one or several captions; none, or "", draws anything.
            n: samples of each prompt.
            steps: of the sampler.
            sampler: such as "dpmpp_2m" or "ddim(eta=1)".
            grid: how the steps are spread, such as "karras".
            guidance: how strongly the conditions pull; 1 is off.
            guidance_by: how strongly some of them do, by name, where they are asked for; each takes one more
                row of the network's calls. What the recipe says of others holds unless ``guidance`` is given.
            interval: the noise, low and high sigma / alpha, between which to guide.
            rescale: how far guided samples are brought back to the spread of unguided ones, 0 to 1.
            overlap: of clips longer than those of training, which are made window by window: frames that a
                window shares with the one before.
            seed: of all samples; a sample's index under it starts at ``first``.
            first: index of the first sample of each prompt.
            size: "WIDTHxHEIGHT" in pixels, seconds such as "1.5s", or of clips "WIDTHxHEIGHTxFRAMES@FPS";
                that of the training when None.
            given: one or several files that samples are made from: "FILE" goes on where it ends, "FILE:START"
                begins later, "FILE@PLACES" keeps parts of it and makes the others, "FILE~STRENGTH" varies it;
                see ``Modality.kept`` for places.
            progress: called after each network call with (rows done, rows in all).
            conditions: values of the run's other conditions by name.

        Raises:
            UserError: an unknown name or a value that cannot be used; at the call, not at the first sample.
                After all others, samples that came out as numbers that are not finite.
        """
        sampling = self.settings(
            steps=steps,
            sampler=sampler,
            grid=grid,
            guidance=guidance,
            guidance_by=guidance_by,
            interval=interval,
            rescale=rescale,
            overlap=overlap,
        )
        prompts = [prompt] if isinstance(prompt, str) else list(prompt) or [""]
        for name, value, least in (("n", n, 1), ("first", first, 0), ("seed", seed, 0)):
            whole(name, value, least)
        values = {name: str(value) for name, value in conditions.items() if value is not None}
        asks = [(text, values) for text in prompts]
        files = [given] if isinstance(given, str | PathLike) else given or ()
        sources = [Given.parse(str(spec)) for spec in files]
        indices = [range(first, first + n)] * len(asks)
        wishes = self._wishes(asks, indices, sampling, seed, size, sources)
        return self._draw(wishes, progress)

    def each(self, asks: Sequence[Ask], n: int = 1, *, seed: int = 0, **settings: Any) -> Iterator[Generated]:
        """Yields ``n`` samples of each ask, drawn together, each from noise of its own.

        Those of ``sample`` share their noise between prompts, which shows what a word changes; what is judged
        or shown side by side should not depend on one noise alone, so here the index runs on from ask to ask.

        Args:
            asks: prompts, each with the values of its other conditions.
            n: samples of each.
            seed: of all samples.
            settings: ``steps``, ``guidance`` and others of the recipe's ``sampling``.
        """
        indices = [range(place * n, (place + 1) * n) for place in range(len(asks))]
        return self._draw(self._wishes(asks, indices, self.settings(**settings), seed, None))

    def settings(self, **given: Any) -> Sampling:
        """The recipe's sampling with what is given and not None, each of the type that it has in a recipe.

        Raises:
            UserError: a value that a recipe could not have.
        """
        changes = {key: value for key, value in given.items() if value is not None}
        by = {name: real(f"guidance by {name}", w) for name, w in changes.pop("guidance_by", {}).items()}
        changes["guidance_by"] = by if "guidance" in changes else {**self.recipe.sampling.guidance_by, **by}
        for name in ("steps", "overlap"):
            if name in changes:
                whole(name, changes[name], 1)
        changes |= {key: real(key, changes[key]) for key in ("guidance", "rescale") if key in changes}
        sampling = dataclasses.replace(self.recipe.sampling, **changes)
        return dataclasses.replace(self.recipe, sampling=sampling).sampling  # looks whether both fit

    def _wishes(
        self,
        asks: Sequence[Ask],
        indices: Sequence[Sequence[int]],
        sampling: Sampling,
        seed: int,
        size: str | None,
        given: Sequence[Given] = (),
        sha256: Mapping[str, str] | None = None,
    ) -> list[Wish]:
        """The requests for every ask, one for each of its indices."""
        modality = self.model.modality if size is None else self.model.modality.sized(size)
        windows = cut(modality, self.model, sampling.overlap, given)
        program = self.model.program(sampling, next((s for one in given if (s := one.strength)), 1.0))
        shape, known, wishes = windows.each.shape, windows.known(0, self.model), list[Wish]()
        for (prompt, conditions), places in zip(asks, indices, strict=True):
            asked = ask(self._words(prompt, conditions), self.recipe.conditions, self.model, modality, sha256)
            how = unguided(sampling) if asked.nothing else sampling
            guidance = guidance_of(how, asked.names)
            shared = self.recipe.diffusion.shared_noise
            apart = modality.seconds_per_position
            for index in places:
                request = Request(
                    shape, program, guidance, asked.raw, seed, index, 0, known, asked.curves, shared, apart
                )
                wishes.append(Wish(prompt, conditions, how, request, windows, asked.sha256))
        return wishes

    def _words(self, prompt: str, conditions: Mapping[str, str]) -> dict[str, str]:
        """All that a sample is asked to be, by the names of the run's conditions."""
        specs = self.recipe.conditions
        texts = [name for name, spec in specs.items() if spec.kind == "text"]
        if prompt and not texts:
            raise UserError(f"this run takes no prompt; its conditions: {', '.join(specs) or 'none'}")
        return {**dict.fromkeys(texts if prompt else (), prompt), **conditions}

    def _draw(
        self, wishes: Sequence[Wish], progress: Callable[[int, int], None] | None = None
    ) -> Iterator[Generated]:
        engine = Engine(self.model, self.precision, self.rows)
        total = sum(engine.cost(wish.request) * len(wish.windows.made) for wish in wishes)

        def done(rows: int) -> None:
            if progress is not None:
                progress(rows, total)

        return self._drawn(engine, wishes, done)

    def _drawn(
        self, engine: Engine, wishes: Sequence[Wish], done: Callable[[int], None]
    ) -> Iterator[Generated]:
        waiting = deque((wish, Take(wish.request, wish.windows, self.model)) for wish in wishes)
        asked, problems = dict[Request, Take](), list[str]()

        def ask(take: Take, ahead: bool) -> None:
            if (request := take.ask()) is not None:
                asked[request] = take
                engine.add(request, ahead)

        for _, take in waiting:
            ask(take, ahead=False)
        while waiting:
            for finished in engine.tick():
                take = asked.pop(finished.request)
                take.land(finished.x0)
                ask(take, ahead=True)
            done(engine.evaluations)
            while waiting and (waiting[0][1].sample is not None or waiting[0][1].problem):
                wish, take = waiting.popleft()
                if take.sample is not None:
                    yield self._generated(wish, take.sample)
                else:
                    request = wish.request
                    problems.append(
                        f"sample {request.index} of {wish.prompt!r} with seed {request.seed}: {take.problem}"
                    )
        if problems:
            raise UserError("; ".join(problems))

    def _generated(self, wish: Wish, sample: Sample) -> Generated:
        return Generated(
            wish.prompt,
            wish.conditions,
            wish.request.seed,
            wish.request.index,
            provenances.describe(wish, self.origin, self.precision, self.rows),
            sample,
            wish.windows.whole,
        )


def load(
    run: str | Path,
    weights: str = "ema",
    *,
    step: int | None = None,
    precision: str | None = None,
    rows: int = ROWS,
) -> Pipeline:
    """The pipeline of a run, from its newest checkpoint whose bytes are as they were saved.

    Args:
        run: the run folder.
        weights: "ema" (the average, which draws better) or "live".
        step: the checkpoint of this training step instead of the newest.
        precision: "bf16" or "fp32"; that of the training when None.
        rows: of every network call: fewer make one sample faster, more make many samples faster.

    Raises:
        UserError: no run, no such checkpoint, or a damaged one.
    """
    if weights not in WEIGHTS:
        raise UserError(f"weights is {weights!r}; expected one of {', '.join(WEIGHTS)}")
    folder = Run(Path(run))
    recipe, checkpoint = folder.recipe(), _checkpoint(folder, step)
    path = checkpoint.ema if weights == "ema" else checkpoint.model
    with torch.random.fork_rng(devices=[]):  # weights are drawn and then replaced; the caller's dice stay put
        model = build(recipe)
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UserError(f"{path}: does not fit {folder.recipe_path}: {error}") from error
    sha256 = checkpoint.facts()["files"][path.name]["sha256"]
    origin = Origin(str(run), recipe.name, sha256, weights, checkpoint.step)
    pipeline = Pipeline(model, recipe, origin, precision, rows)
    prepare(model, pipeline.precision)
    return pipeline


def real(name: str, value: object) -> float:
    """``value`` as a float. Raises UserError unless it is a number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UserError(f"{name} is {value!r}; expected a number")
    return float(value)


def whole(name: str, value: int, low: int) -> None:
    """Raises UserError unless ``value`` is a whole number of at most 63 bits, not below ``low``."""
    if not isinstance(value, int) or not low <= value < 2**63:
        raise UserError(f"{name} is {value!r}; expected a whole number, {low} or more")


def prepare(model: Model, precision: str) -> None:
    """Makes a model that will only draw fast: no gradients, weights cast once.

    The weights that become bfloat16 are those that autocast would cast at every call, so no result changes.
    """
    model.eval().requires_grad_(False)
    for module in model.denoiser.modules() if precision == "bf16" else ():
        if isinstance(module, nn.Linear | Conv):
            module.to(torch.bfloat16)


def regenerate(provenance: Mapping[str, Any], run: str | Path | None = None) -> Generated:
    """Makes a sample again, identical, from its provenance.

    Args:
        provenance: what ``read_provenance`` found in its file.
        run: the run folder, if it is not where it was.

    Raises:
        UserError: the provenance is not complete, or the run does not hold the weights that made the sample.
    """
    provenances.check(provenance)
    expected, step = provenance["model_sha256"], provenance["step"]
    told = (
        f"{provenance['weights']} weights of step {step} of {provenance['run']} ({provenance.get('recipe')})"
    )
    pipeline = load(
        run if run is not None else provenance["run"],
        provenance["weights"],
        step=step,
        precision=provenance["precision"],
        rows=provenance["rows"],
    )
    if pipeline.origin.sha256 != expected:
        raise UserError(
            f"{pipeline.origin.run}: holds other weights (sha256 {pipeline.origin.sha256}); "
            f"the sample was made with {expected}: {told}"
        )
    pipeline.origin = dataclasses.replace(
        pipeline.origin, run=provenance["run"]
    )  # the file comes out the same
    if provenance.get("torch") != torch.__version__:
        was = f"torch {provenance.get('torch')} made it, this is {torch.__version__}"
        warnings.warn(f"the sample may differ in its last bits: {was}", stacklevel=2)
    wishes = pipeline._wishes(
        [(provenance["prompt"], provenance["conditions"])],
        [[provenance["index"]]],
        provenances.sampling_of(provenance),
        provenance["seed"],
        provenance["size"],
        Given.told(provenance.get("given") or ()),
        provenance.get("files"),
    )
    return next(pipeline._draw(wishes))


def _checkpoint(run: Run, step: int | None) -> Checkpoint:
    """The newest checkpoint that verifies, or the one of a step."""
    if step is None:
        newest = run.newest()
        if newest is None:
            raise UserError(f"{run.path}: holds no whole checkpoint yet; train it first")
        return newest
    names = run.checkpoint_names()
    found = [checkpoint for name in names if (checkpoint := run.checkpoint(name)).step == step]
    if not found:
        kept = ", ".join(str(run.checkpoint(name).step) for name in names) or "none"
        raise UserError(f"{run.path}: has no checkpoint of step {step}; it keeps steps: {kept}")
    problems = found[0].verify()
    if problems:
        raise UserError(f"{found[0].path}: is damaged: {'; '.join(problems)}")
    return found[0]
