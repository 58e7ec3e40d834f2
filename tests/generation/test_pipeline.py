import dataclasses

import pytest
import torch
from PIL import Image as Pillow

import mmdiff
from mmdiff import cli
from mmdiff import run as runs
from mmdiff.errors import UserError
from mmdiff.generation.model import build
from mmdiff.generation.pipeline import Pipeline, load, prepare, regenerate
from mmdiff.generation.provenance import Origin
from mmdiff.modalities import Image
from mmdiff.recipe import ConditionSpec, Sampling
from mmdiff.run import DamagedCheckpoint, Run
from tests.generation.conftest import RECIPE, lively, save


@pytest.fixture(scope="module")
def pipeline(run) -> Pipeline:
    return load(run)


def pictures(samples) -> list[bytes]:
    return [sample.picture.tobytes() for sample in samples]


def test_the_snippet_of_the_readme(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = mmdiff.load(run)
    for sample in model.sample(prompt=["a red heart", "a slice of pizza"], steps=2, guidance=3.0, seed=0):
        sample.save(f"{sample.prompt}.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a red heart.png", "a slice of pizza.png"]
    with Pillow.open("a red heart.png") as picture:
        assert picture.size == (16, 16)


def test_samples_come_prompt_by_prompt(pipeline):
    made = list(pipeline.sample(["one", "two", "three"], n=2, style="apple"))
    assert [(s.prompt, s.index) for s in made] == [(p, i) for p in ("one", "two", "three") for i in (0, 1)]
    assert len(set(pictures(made))) == 6
    assert {s.conditions["style"] for s in made} == {"apple"}


def test_guidance_by_the_words_of_the_command_line(pipeline, run, tmp_path, capsys):
    words = ["sample", str(run), "--prompt", "dog", "--guidance", "4", "--out", str(tmp_path)]
    assert cli.main([*words, "--interval", "0.2", "50", "--rescale", "0.5"]) == 0
    with Pillow.open(capsys.readouterr().out.strip()) as picture:
        (same,) = pipeline.sample("dog", guidance=4.0, interval=(0.2, 50.0), rescale=0.5)
        (other,) = pipeline.sample("dog", guidance=4.0)
        assert picture.tobytes() == same.picture.tobytes() != other.picture.tobytes()
        assert cli.main([*words, "--condition", "style=apple", "--guidance", "style=2"]) == 0
    with Pillow.open(capsys.readouterr().out.strip()) as picture:
        (same,) = pipeline.sample("dog", guidance=4.0, guidance_by={"style": 2.0}, style="apple")
        (other,) = pipeline.sample("dog", guidance=4.0, style="apple")
        assert picture.tobytes() == same.picture.tobytes() != other.picture.tobytes()
    assert cli.main([*words, "--interval", "2", "1"]) == 2
    assert "sampling.interval: got [2.0, 1.0], expected low < high" in capsys.readouterr().err


def test_asks_have_noise_of_their_own(pipeline):
    asks = [("dog", {"style": "google"}), ("dog", {"style": "google"}), ("cat", {"style": "apple"})]
    made = list(pipeline.each(asks, n=2, seed=3, steps=2))
    assert [(s.prompt, s.index) for s in made] == list(zip(["dog"] * 4 + ["cat"] * 2, range(6), strict=True))
    assert len(set(pictures(made))) == 6
    alone = pipeline.sample("cat", style="apple", seed=3, steps=2, n=2, first=4)
    assert pictures(alone) == pictures(made[4:])


def test_samples_come_as_soon_as_they_are_ready(pipeline):
    seen = []
    stream = pipeline.sample("one", n=9, progress=lambda done, total: seen.append((done, total)))
    assert seen == []
    next(stream)
    assert seen == [(8 * call, 9 * 4 * 2) for call in range(1, 5)]  # four guided samples fit into a call
    assert len(list(stream)) == 8
    assert seen[-1] == (72, 72)


def test_a_file_depends_on_its_own_request_alone(pipeline, tmp_path):
    """More prompts, more samples, another order: the same bytes."""
    (alone,) = pipeline.sample("dog", seed=3, style="google", first=2)
    crowd = list(pipeline.sample(["cat", "dog", ""], n=4, seed=3, style="google"))
    twin = next(s for s in crowd if (s.prompt, s.index) == ("dog", 2))
    for name, sample in (("alone", alone), ("twin", twin)):
        sample.save(tmp_path / f"{name}.png")
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "twin.png").read_bytes()


def test_every_word_changes_the_picture(pipeline):
    words = [
        {"prompt": "cat"},
        {"style": "apple"},
        {"seed": 1},
        {"first": 1},
        {"steps": 3},
        {"sampler": "ddim(eta=1)"},
        {"grid": "karras"},
        {"guidance": 4.0},
        {"guidance_by": {"style": 4.0}},
        {"guidance": 4.0, "guidance_by": {"text": 1.0}},
        {"interval": (0.5, 2.0)},
        {"rescale": 0.5},
    ]
    base = {"prompt": "dog", "style": "google"}
    made = pictures(next(pipeline.sample(**(base | word))) for word in [{}, *words])
    assert len(set(made)) == len(made)


def test_without_a_condition_guidance_is_off(pipeline):
    strong, weak = (next(pipeline.sample(guidance=g, rescale=0.5)) for g in (5.0, 2.0))
    assert strong.picture.tobytes() == weak.picture.tobytes()
    assert (strong.prompt, strong.provenance["guidance"], strong.provenance["rescale"]) == ("", 1.0, 0.0)


@pytest.mark.parametrize("asked", [{}, {"style": "apple"}])
def test_where_every_condition_has_its_own_weight_the_common_one_is_not_used(pipeline, asked):
    by = {"text": 3.0} | dict.fromkeys(asked, 3.0)
    own, common = ({"guidance": 9.0, "guidance_by": by}, {"guidance": 3.0})
    made = [next(pipeline.sample("dog", **asked, **words)) for words in (own, common)]
    assert made[0].picture.tobytes() == made[1].picture.tobytes()


def test_too_few_rows_for_the_guidance_are_told_at_the_call(run):
    with pytest.raises(UserError, match="rows is 2; expected 3 or more, one for each branch: main, null, st"):
        load(run, rows=2).sample("dog", style="apple", guidance_by={"style": 4.0})


def test_files_from_before_guidance_by_condition_are_made_again(run):
    (made,) = load(run).sample("dog", style="apple")
    told = {key: value for key, value in made.provenance.items() if key != "guidance_by"}
    assert regenerate(told).picture.tobytes() == made.picture.tobytes()


def test_what_a_recipe_says_of_one_condition_holds_until_guidance_is_asked_for(model):
    recipe = dataclasses.replace(RECIPE, sampling=Sampling(guidance=2.0, guidance_by={"style": 3.0}))
    settings = Pipeline(model, recipe, Origin("run", "little", "0", "ema", 1)).settings
    assert settings().guidance_by == {"style": 3.0}
    assert settings(guidance_by={"text": 4.0}).guidance_by == {"style": 3.0, "text": 4.0}
    with pytest.raises(UserError, match="guidance by text is 'much'; expected a number"):
        settings(guidance_by={"text": "much"})
    assert (settings(guidance=1).guidance, settings(guidance=1).guidance_by) == (1.0, {})


def test_a_size_may_differ_from_the_training_size(pipeline, tmp_path):
    (wide,) = pipeline.sample("dog", size="20x13")
    wide.save(tmp_path / "wide.webp")
    assert wide.picture.size == (20, 13)
    assert Image.read_provenance(tmp_path / "wide.webp")["size"] == "20x13"


def test_the_provenance_is_complete(pipeline, run, tmp_path):
    (made,) = pipeline.sample(
        "dog",
        seed=7,
        steps=3,
        guidance=2,
        guidance_by={"text": 1},
        grid="karras",
        sampler="heun",
        style="apple",
    )
    made.save(tmp_path / "dog.png")
    told = Image.read_provenance(tmp_path / "dog.png")
    checkpoint = Run(run).newest()
    assert told == {
        "mmdiff": mmdiff.__version__,
        "torch": torch.__version__,
        "run": str(run),
        "recipe": "little",
        "model_sha256": checkpoint.facts()["files"]["ema.safetensors"]["sha256"],
        "weights": "ema",
        "step": 1,
        "prompt": "dog",
        "conditions": {"style": "apple"},
        "seed": 7,
        "index": 0,
        "sampler": "heun",
        "grid": "karras",
        "steps": 3,
        "calls": 5,
        "guidance": 2.0,
        "guidance_by": {"text": 1.0},
        "interval": None,
        "rescale": 0.0,
        "size": "16x16",
        "overlap": None,
        "files": {},
        "given": [],
        "precision": "fp32",
        "rows": 8,
    }


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("weights", ["ema", "live"])
def test_a_file_is_made_again_identical(run, tmp_path, precision, weights):
    asked = {
        "sampler": "dpmpp_2m_sde",
        "seed": 5,
        "interval": (0.2, float("inf")),
        "rescale": 0.3,
        "guidance_by": {"style": 4.0},
        "size": "12x20",
    }
    made = list(
        load(run, weights, precision=precision, rows=4).sample(["", "a dog"], n=2, style="apple", **asked)
    )[3]
    made.save(tmp_path / "first.png")
    regenerate(Image.read_provenance(tmp_path / "first.png")).save(tmp_path / "second.png")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_a_run_may_have_moved_and_gone_on(new_run, tmp_path):
    folder = new_run(step=1)
    (made,) = load(folder).sample("dog")
    new_run(step=2)
    folder.rename(tmp_path / "elsewhere")
    again = regenerate(made.provenance, run=tmp_path / "elsewhere")
    assert again.provenance == made.provenance
    assert again.picture.tobytes() == made.picture.tobytes()


def test_other_weights_are_refused_with_what_was_expected(run, new_run, tmp_path):
    (made,) = load(run).sample("dog")
    other = save(lively(build(RECIPE), seed=1), tmp_path / "other")
    with pytest.raises(UserError, match=r"other: holds other weights .*ema weights of step 1 of .*little"):
        regenerate(made.provenance, run=other)
    with pytest.raises(UserError, match="has no checkpoint of step 1; it keeps steps: 9"):
        regenerate(made.provenance, run=new_run(step=9, name="later"))


def test_another_torch_is_told(pipeline):
    (made,) = pipeline.sample("dog", steps=1)
    with pytest.warns(UserWarning, match=r"torch 1.0 made it"):
        regenerate({**made.provenance, "torch": "1.0"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": None}, "'seed' is missing"),
        ({"steps": "16"}, "'steps' is '16'"),
        ({"guidance_by": {"text": "2"}}, "'guidance_by' is {'text': '2'}"),
        ({"model_sha256": ...}, "never saved"),
        ({"overlap": "4"}, "'overlap' is '4'"),
    ],
)
def test_a_broken_provenance_is_refused(pipeline, change, message):
    (made,) = pipeline.sample("dog", steps=1)
    told = {**made.provenance, **change}
    told = {k: None if v is ... else v for k, v in told.items() if v is not None or k not in change}
    with pytest.raises(UserError, match=message):
        regenerate(told)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"stile": "apple"}, r"unknown condition 'stile'; did you mean 'style'\?"),
        ({"style": "googel"}, r"'googel'; did you mean 'google'"),
        ({"sampler": "dpmp_2m"}, r"unknown sampling.sampler 'dpmp_2m'; did you mean"),
        ({"grid": "karas"}, r"unknown sampling.grid 'karas'; did you mean 'karras'"),
        ({"overlap": 4}, r"sampling.overlap: got 4, expected none: the run makes pictures"),
        ({"steps": 0}, r"steps is 0; expected a whole number, 1 or more"),
        ({"n": 0}, r"n is 0"),
        ({"seed": -1}, r"seed is -1"),
        ({"seed": 2**63}, r"seed is 9223372036854775808"),
        ({"guidance": -2.0}, r"sampling.guidance: got -2.0"),
        ({"guidance_by": {"text": -2.0}}, r"sampling.guidance_by.text: got -2.0"),
        (
            {"guidance_by": {"stile": 2.0}},
            r"sampling.guidance_by: unknown condition 'stile'; did you mean 'st",
        ),
        ({"rescale": 2.0}, r"rescale is 2.0"),
        ({"interval": (3.0, 1.0)}, r"interval"),
        ({"size": "big"}, r"size 'big': expected WIDTHxHEIGHT"),
    ],
)
def test_what_cannot_be_drawn_is_named_at_the_call(pipeline, asked, message):
    with pytest.raises(UserError, match=message):
        pipeline.sample(**({"prompt": "dog"} | asked))


def test_a_run_without_text_takes_no_prompt():
    recipe = dataclasses.replace(RECIPE, conditions={"style": ConditionSpec(kind="label", values=("a", "b"))})
    pipeline = Pipeline(lively(build(recipe)), recipe, Origin("run", "r", None, "live", 0))
    with pytest.raises(UserError, match="takes no prompt; its conditions: style"):
        pipeline.sample("dog")
    assert next(pipeline.sample(style="a", steps=1)).picture.size == (16, 16)


def test_a_run_without_conditions_draws():
    recipe = dataclasses.replace(RECIPE, conditions={})
    pipeline = Pipeline(lively(build(recipe)), recipe, Origin("run", "r", None, "live", 0))
    first, second = pipeline.sample(n=2)
    assert first.picture.tobytes() != second.picture.tobytes()


def test_the_newest_whole_checkpoint_is_taken(new_run):
    folder = new_run(step=1)
    new_run(step=2)
    assert load(folder).origin.step == 2
    damaged = Run(folder).checkpoint("step-00000002").ema
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    with pytest.warns(DamagedCheckpoint):
        assert load(folder).origin.step == 1
    with pytest.raises(UserError, match="is damaged"):
        load(folder, step=2)


def test_what_is_no_run_is_refused(tmp_path, new_run):
    with pytest.raises(UserError, match="not a run folder"):
        load(tmp_path)
    with pytest.raises(UserError, match="weights is 'best'; expected one of ema, live"):
        load(new_run(), weights="best")
    empty = tmp_path / "empty"
    runs.create(empty, RECIPE)
    with pytest.raises(UserError, match="no whole checkpoint yet"):
        load(empty)


def test_loading_leaves_the_callers_dice_alone(run):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load(run)
    assert torch.equal(torch.rand(3), expected)


def test_weights_cast_once_give_the_same_bits(model):
    """``prepare`` stores in bfloat16 what autocast would cast at every call."""
    origin, drawn = Origin("run", "r", None, "live", 0), []
    cast = lively(build(RECIPE))
    prepare(cast, "bf16")
    assert any(weight.dtype == torch.bfloat16 for weight in cast.denoiser.parameters())
    for each in (model, cast):
        drawn.append(pictures(Pipeline(each, RECIPE, origin, "bf16").sample(["dog", "cat"], style="apple")))
    assert drawn[0] == drawn[1]


def test_a_stream_that_is_left_costs_nothing_more(pipeline):
    calls = []
    stream = pipeline.sample("dog", n=100, steps=1, progress=lambda done, total: calls.append(done))
    next(stream)
    stream.close()
    assert calls == [8]
