"""``train``: from a recipe to a trained run folder; the same call again goes on where the last one ended."""

import dataclasses
import json
import shutil
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.flop_counter import FlopCounterMode

from mmdiff import counter, files
from mmdiff import recipe as recipes
from mmdiff import run as runs
from mmdiff.errors import UserError
from mmdiff.generation.model import Model, build, check, parameter_count
from mmdiff.recipe import Recipe
from mmdiff.run import Run
from mmdiff.training import checkpoint
from mmdiff.training.data import DataModule, Positions, collate
from mmdiff.training.gallery import Gallery
from mmdiff.training.inherit import inherit
from mmdiff.training.keeper import Keeper
from mmdiff.training.module import DiffusionModule, NonFinite
from mmdiff.training.prepare import Prepared, prepare, prompts, whiten
from mmdiff.training.progress import Progress, calm_lightning


def train(
    recipe: Recipe | str | Path,
    data: str | Path | None = None,
    run: str | Path | None = None,
    devices: int | None = None,
    overrides: Sequence[str] = (),
    *,
    quiet: bool = False,
) -> Path:
    """Trains and returns the run folder; resumes bit for bit when the folder holds an unfinished run.

    With more than one device this script is started once for each; the extra processes end inside this call.

    Args:
        recipe: a recipe, a YAML file, or the name of a built-in recipe.
        data: a folder or tar, in place of the recipe's ``data.path``.
        run: the run folder; ``runs/NAME`` by default.
        devices: how many devices (or, without a GPU, processes) share each batch.
        overrides: settings such as ``"training.steps=100"``.
        quiet: shows nothing.

    Raises:
        UserError: the recipe, the data or the run folder is not usable.
        NonFinite: the loss or gradient became nan or infinite; ``nan_report.json`` says where.
        SystemExit: 143 after SIGTERM and 130 after Ctrl-C, both after saving.
    """
    asked = _asked(recipe, data, devices, overrides)
    with calm_lightning():
        return _train(asked, Path(run) if run is not None else Path("runs") / (asked.name or "run"), quiet)


def _asked(
    recipe: Recipe | str | Path, data: str | Path | None, devices: int | None, overrides: Sequence[str]
) -> Recipe:
    """The recipe as the call asks for it."""
    asked = (recipe if isinstance(recipe, Recipe) else recipes.load(recipe)).override(overrides)
    if data is not None:
        asked = dataclasses.replace(asked, data=dataclasses.replace(asked.data, path=str(data)))
    if devices is not None:
        asked = dataclasses.replace(asked, training=dataclasses.replace(asked.training, devices=devices))
    share, rest = divmod(asked.training.batch_size, asked.training.devices)
    if rest or not share:
        raise UserError(
            f"training.batch_size: got {asked.training.batch_size} for {asked.training.devices} devices, "
            "expected a multiple of the number of devices (it counts the samples of all devices together)"
        )
    check(asked)
    return asked


def new_model(recipe: Recipe) -> Model:
    """The untrained model of a recipe: its weights are a function of ``training.seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(counter.key(recipe.training.seed, "weights") >> 1)
        return build(recipe)


def _train(asked: Recipe, folder: Path, quiet: bool) -> Path:
    leads = getattr(rank_zero_only, "rank", 0) == 0  # known before the processes have met
    progress = Progress(quiet=quiet or not leads)
    runs.refuse_foreign(Run(folder))  # before all data are decoded
    known = Run(folder).recipe_path.exists()
    prepared = None if known else prepare(asked, folder, progress.checked)
    with runs.held(folder) if leads else nullcontext():
        return _train_held(asked, folder, prepared, progress, leads)


def _train_held(
    asked: Recipe, folder: Path, prepared: Prepared | None, progress: Progress, leads: bool
) -> Path:
    run = runs.create(folder, asked if prepared is None else prepared.recipe)
    recipe, newest = run.recipe(), run.newest()
    steps, start = recipe.training.steps, newest.step if newest else 0
    if start >= steps:
        progress.say(f"{folder}: finished, {start} of {steps} steps; raise training.steps for more")
        return folder
    prepared = prepared or prepare(recipe, folder, progress.checked)
    if leads:
        prepared.remember(run)
    model = new_model(recipe)
    data = Positions(prepared.source, model.conditions, recipe)
    if not newest:
        whiten(model, data)
    born = [inherit(model, recipe)] if recipe.init and not newest else []  # its whitening too
    module = DiffusionModule(model, recipe)
    seconds = checkpoint.restore(newest, module)["seconds"] if newest else 0.0
    for line in [*prepared.summary, *born, *_summary(module, data, folder)]:
        progress.say(line)
    if recipe.training.compile:
        _compile(module.model, progress)
    gallery = Gallery(run, module.model, recipe, prompts(recipe, prepared.source))
    keeper = Keeper(run, gallery, progress, seconds)
    _fit(run, module, data, keeper)
    return _leave(run, module, progress, leads)


def _fit(run: Run, module: DiffusionModule, data: Positions, keeper: Keeper) -> None:
    """Runs Lightning from the module's step to the last one, or until a signal.

    Raises:
        NonFinite: after writing ``nan_report.json``.
    """
    training = module.recipe.training
    trainer = Trainer(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=training.devices,
        strategy=_strategy(training.devices),
        precision="bf16-mixed" if training.precision == "bf16" else "32-true",
        max_steps=training.steps - module.step,  # Lightning counts this session's steps
        max_epochs=-1,
        logger=False,
        callbacks=[keeper],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=run.path,
    )
    start = module.step * training.batch_size
    try:
        trainer.fit(module, datamodule=DataModule(data, module.model.modality.unpack, start))
    except NonFinite as error:
        if not trainer.is_global_zero:
            sys.exit(0)  # Lightning would kill the first process while it writes the report
        names = [data.source.name(data.place(position)) for position in error.report["positions"]]
        path = run.path / "nan_report.json"
        files.write_text(path, json.dumps(error.report | {"samples": names}, indent=1) + "\n")
        newest = run.newest()
        safe = f"the checkpoint of step {newest.step} is safe" if newest else "there is no checkpoint yet"
        message = f"{error}; {safe}; {path} has the details; try a lower learning_rate"
        raise NonFinite(message, error.report) from None
    finally:
        keeper.close()


def _strategy(devices: int) -> Strategy | str:
    """One process for each device; every parameter is used in every step, so none has to be searched for."""
    if devices == 1:
        return "auto"
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    return DDPStrategy(find_unused_parameters=False, process_group_backend=backend)


def _leave(run: Run, module: DiffusionModule, progress: Progress, leads: bool) -> Path:
    """Ends the session: a signal becomes an exit code, further processes end, the first returns the run."""
    if not leads:
        sys.exit(0)
    if module.stopping:
        name = signal.Signals(module.stopping).name
        progress.say(f"{name}: saved at step {module.step}; the same command goes on from there")
        sys.exit(128 + module.stopping)
    progress.say(f"finished: {run.path}, {run.index}")
    return run.path


def _compile(model: Model, progress: Progress) -> None:
    """Compiles the network in place, so that the names of the weights stay what they are."""
    if not torch.cuda.is_available() and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        warnings.warn("training.compile: no C++ compiler was found; goes on without compiling", stacklevel=2)
        return
    progress.say("compile: the first step takes up to a minute or two")
    model.denoiser.net.compile(dynamic=False)  # a size at a time: its own guess at all sizes fails


def _summary(module: DiffusionModule, data: Positions, folder: Path) -> list[str]:
    """What is trained, how large it is, and where."""
    recipe, count = module.recipe, parameter_count(module.model)
    training = recipe.training
    again = f", goes on at step {module.step}" if module.step else ""
    return [
        f"model: {count / 1e6:.1f} M parameters, {_gigaflops(module, data):.2f} GFLOP a sample forward",
        f"run: {folder}, {training.steps:,} steps of {training.batch_size}, {training.precision}{again}",
    ]


def _gigaflops(module: DiffusionModule, data: Positions) -> float:
    """Counted multiplications and additions of one sample's forward pass."""
    batch = collate([data[0]], module.model.modality.unpack)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        module.training_step(batch, 0)
    return counted.get_total_flops() / 1e9
