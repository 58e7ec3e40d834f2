import dataclasses
import math
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiff import recipe as recipes
from mmdiff import schema
from mmdiff.errors import UserError
from mmdiff.recipe import TAKEN, ConditionSpec, Recipe, Training
from mmdiff.schema import Form, OneOf, Range

MINIMAL = "modality: image\ntraining: {steps: 10}\n"


def written(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def plain(kind: Any) -> st.SearchStrategy[Any]:
    """Every value that a recipe key of this type may have, as YAML's own types."""
    if get_origin(kind) is Annotated:
        base, rule = get_args(kind)
        if isinstance(rule, OneOf):
            return st.sampled_from(rule.names)
        if isinstance(rule, Form):
            return st.from_regex(rule.pattern, fullmatch=True)
        shares = isinstance(rule, Range) and (rule.high == 1 or rule.below == 1)
        return (st.floats(0, 0.999) if shares else plain(base)).filter(rule.holds)
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            return st.lists(plain(kinds[0]), max_size=3)
        return st.tuples(*map(plain, kinds)).map(list)
    if get_origin(kind) is dict:
        return st.dictionaries(NAMES, plain(get_args(kind)[1]), max_size=3)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return st.fixed_dictionaries({name: plain(hint) for name, hint in hints.items()})
    if type(None) in get_args(kind):
        return st.none() | plain(get_args(kind)[0])
    return {int: st.integers(0, 10**6), bool: st.booleans(), str: TEXT, float: NUMBERS}[kind]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)  # no half surrogates: UTF-8 has none
NAMES = TEXT.filter(lambda name: name.isidentifier() and name not in TAKEN)
NUMBERS = st.floats(0, 1e6) | st.floats(1e-9, 0.999)
CONTENT = plain(Recipe)


@st.composite
def contents(draw):
    """Every valid recipe's content: each key by its type, and what the keys owe to each other."""
    content = draw(CONTENT)
    if content["modality"] != "video":
        content["diffusion"]["shared_noise"] = 0.0
    if content["modality"] != "audio":
        content["data"]["detune"] = None
    if content["data"]["source"] != "bounce":
        content["data"]["under_way"] = 0.0
    sizes = dict.fromkeys(content["data"]["sizes"])
    content["data"]["sizes"] = [size for size in sizes if size != content["data"]["size"]]
    if content["modality"] == "audio" or content["data"]["source"] != "folder":
        content["data"]["sizes"] = []
    sampling = content["sampling"]
    low, high = sorted(sampling["interval"] or (0.0, 1.0))
    sampling["interval"] = [low, high] if low < high else None
    for spec in content["conditions"].values():
        alien = {"column", "values", "encoder", "tokens", "low", "high"} - recipes.KEYS[spec["kind"]]
        spec |= {key: ConditionSpec.__dataclass_fields__[key].default for key in alien}
        if spec["kind"] == "number":
            spec["low"], spec["high"] = draw(
                st.lists(NUMBERS, min_size=2, max_size=2, unique=True).map(sorted)
            )
    written = {n: spec for n, spec in content["conditions"].items() if spec["kind"] not in recipes.REFERENCES}
    sampling["conditions"] = {name: draw(TEXT) for name in written}
    sampling["guidance_by"] = {name: draw(NUMBERS) for name in content["conditions"]}
    return content


@settings(max_examples=25)
@given(contents())
def test_a_recipe_loses_nothing_and_its_dump_loads_equal(tmp_path, content):
    recipe = recipes.load(written(tmp_path, schema.dump(content)))
    assert schema.plain(recipe) == content | {"name": content["name"] or "mine"}
    assert recipes.load(written(tmp_path, recipes.dump(recipe))) == recipe
    assert recipe.override([]) == recipe


def test_a_minimal_recipe_has_its_defaults(tmp_path):
    recipe = recipes.load(written(tmp_path, MINIMAL))
    assert recipe == Recipe(name="mine", modality="image", training=Training(steps=10))


def test_text_means_what_the_field_is(tmp_path):
    """YAML 1.1 takes 1e-4 for a string, no for false, 010 for 8 and 1:30 for 90; a recipe does not."""
    recipe = recipes.load(
        written(
            tmp_path,
            """\
            modality: image
            name: 010
            data: {captions: no, path: 2024-01-01}
            conditions: {style: {kind: label, values: [no, 1.0, "null", 1:30]}}
            training: {steps: 2e4, learning_rate: 1e-4, compile: yes, clip: 3}
            """.replace("            ", ""),
        )
    )
    assert (recipe.name, recipe.data.captions, recipe.data.path) == ("010", "no", "2024-01-01")
    assert recipe.conditions["style"].values == ("no", "1.0", "null", "1:30")
    assert recipe.training == Training(steps=20_000, learning_rate=1e-4, compile=True, clip=3.0)


@pytest.mark.parametrize(
    ("body", "line", "says"),
    [
        ("traning: {steps: 5}", 3, "unknown key 'traning'; did you mean 'training'?"),
        ("net:\n  sise: tiny", 4, "unknown key 'net.sise'; did you mean 'net.size'?"),
        (
            "net: {size: smal}",
            3,
            "got 'smal', expected one of tiny, small, base, large, custom; did you mean 'small'?",
        ),
        ("net: {mults: 2}", 3, "net.mults: got '2', expected a list"),
        ("net: {mults: [1, x]}", 3, "net.mults[1]: got 'x', expected a whole number"),
        ("net: {mults: [1, 0]}", 3, "net.mults[1]: got '0', expected >= 1"),
        ("net: [small]", 3, "net: got a list, expected a mapping"),
        ("data: {size: 32}", 3, "data.size: got '32', expected WIDTHxHEIGHT"),
        ("data: {size: 0x32}", 3, "data.size: got '0x32', expected WIDTHxHEIGHT"),
        ("data: {flip: maybe}", 3, "data.flip: got 'maybe', expected true or false"),
        ("data: {max_bad: 1.5}", 3, "data.max_bad: got '1.5', expected >= 0 and <= 1"),
        ("diffusion: {shift: 0}", 3, "diffusion.shift: got '0', expected > 0"),
        ("diffusion: {shift: .nan}", 3, "diffusion.shift: got '.nan', expected a number"),
        ("diffusion: {shift: inf}", 3, "diffusion.shift: got 'inf', expected a number"),
        ("diffusion: {target: null}", 3, "diffusion.target: got 'null', expected text"),
        (
            "conditions: {style: {kind: lable}}",
            3,
            "conditions.style.kind: got 'lable', expected one of text, label",
        ),
        (
            "conditions: {style: {kind: label, dropout: 1}}",
            3,
            "style.dropout: got '1', expected >= 0 and < 1",
        ),
        ("conditions: {style: {}}", 3, "missing key 'conditions.style.kind'"),
        ("sampling: {interval: [1]}", 3, "sampling.interval: got a list, expected a list of 2 values"),
        ("sampling: {interval: [2, 1]}", None, "sampling.interval: got [2.0, 1.0], expected low < high"),
        ("diffusion: {shared_noise: 0.5}", None, "diffusion.shared_noise: got 0.5, expected 0: image has no"),
        ("data: {source: shapes, sizes: [9x9]}", None, "data.sizes: got ['9x9'], expected none: only files"),
        ("data: {sizes: [9x9, 32x32]}", None, "data.sizes: got ['9x9', '32x32'] beside 32x32, expected each"),
        (
            "data: {under_way: 0.5}",
            None,
            "data.under_way: got 0.5 with data.source 'folder', expected 0: only",
        ),
        ("data: {detune: midi/1}", None, "data.detune: got 'midi/1', expected nothing: only sounds have"),
        ("sampling: {conditions: {text: a}}", None, "sampling.conditions: unknown condition 'text'"),
        ("sampling: {guidance_by: {text: 2}}", None, "sampling.guidance_by: unknown condition 'text'"),
        ("sampling: {guidance_by: {text: -2}}", 3, "sampling.guidance_by.text: got '-2', expected >= 0"),
        ("sampling: {steps: 1.5}", 3, "sampling.steps: got '1.5', expected a whole number"),
        ("name: a/b", 3, "name: got 'a/b', expected a name without slashes"),
        ("name: ..", 3, "name: got '..', expected a name"),
        ("data: {flip: true, flip: false}", 3, "key 'data.flip' is given twice"),
        ("data: {[1]: 2}", 3, "data: got a list, expected a plain name as key"),
        ("data: {<<: {flip: true}}", 3, "unknown key 'data.<<'"),
        ("data: {flip: true", 4, "not valid YAML"),
        ("data: !!python/object:os.system {}\nnet: {size: tiny}\nx: 1", 5, "unknown key 'x'"),
    ],
)
def test_errors_say_where_what_came_and_what_was_expected(tmp_path, body, line, says):
    path = written(tmp_path, MINIMAL + body + "\n")
    with pytest.raises(UserError) as caught:
        recipes.load(path)
    message = str(caught.value)
    assert says in message
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("training: {steps: 3}", ":1: missing key 'modality'"),
        ("modality: image", ":1: missing key 'training'"),
        ("modality: image\ntraining: {}", ":2: missing key 'training.steps'"),
        ("- a", "the recipe: got a list, expected a mapping"),
        ("a: b\n---\nc: d", "not valid YAML"),
        ("modality: &a [*a]\ntraining: {steps: 1}", "modality: got a list, expected text"),
    ],
)
def test_documents_that_are_no_recipe(tmp_path, text, says):
    with pytest.raises(UserError, match=r"mine\.yaml") as caught:
        recipes.load(written(tmp_path, text))
    assert says in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        recipes.load(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        recipes.describe(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            "training.stpes=3",
            "--set training.stpes=3: unknown key 'training.stpes'; did you mean 'training.steps'",
        ),
        ("traning.steps=3", "--set traning.steps=3: unknown key 'traning'; did you mean 'training'?"),
        ("training.steps=many", "training.steps: got 'many', expected a whole number"),
        ("training.steps=", "training.steps: got 'null', expected a whole number"),
        ("training.steps", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("training.steps.more=3", "training.steps: got a mapping, expected a whole number"),
        ("net.mults=[1", "not valid YAML"),
        ("conditions.style.dropout=0.5", "missing key 'conditions.style.kind'"),
    ],
)
def test_settings_that_are_wrong(tmp_path, setting, says):
    with pytest.raises(UserError) as caught:
        recipes.load(written(tmp_path, MINIMAL)).override([setting])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_change_their_key_and_no_other(tmp_path):
    before = recipes.load(written(tmp_path, MINIMAL))
    after = before.override(
        [
            "training.learning_rate=5e-4",
            "net.mults=[1, 2]",
            "conditions.style.kind=label",
            "conditions.style.values=[a, b]",
            "sampling.conditions.style=a",
            "sampling.prompts=['x=y', \"it's\"]",
            "data.path=a=b",
            "data.path=c:d",
            "sampling.interval=null",
        ]
    )
    assert after == dataclasses.replace(
        before,
        data=dataclasses.replace(before.data, path="c:d"),
        net=dataclasses.replace(before.net, mults=(1, 2)),
        conditions={"style": ConditionSpec(kind="label", values=("a", "b"))},
        training=dataclasses.replace(before.training, learning_rate=5e-4),
        sampling=dataclasses.replace(before.sampling, conditions={"style": "a"}, prompts=("x=y", "it's")),
    )


def test_built_in_recipes_are_found_by_name_and_by_path(checkout):
    names = recipes.builtin_names()
    assert names
    for name in names:
        paths = (f"recipes/{name}.yaml", checkout / "recipes" / f"{name}.yaml")
        assert all(recipes.load(path) == recipes.load(name) for path in paths)
        assert recipes.load(name).name == name.split("/")[-1]
        assert recipes.describe(name), "each recipe starts with a comment that is its documentation"


def test_recipes_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"did you mean 'image/emoji'"):
        recipes.load("image/emojy")
    with pytest.raises(UserError, match="is a folder"):
        recipes.load(tmp_path)


def test_the_comment_at_the_head_is_the_documentation(tmp_path):
    path = written(tmp_path, "\ufeff# One line.\n#\n#   indented\n" + MINIMAL + "# not this\n")
    assert recipes.describe(path) == "One line.\n\n  indented"
    assert recipes.load(path).training.steps == 10


def test_pixels():
    assert recipes.pixels("32x24") == (32, 24)
    for wrong in ("32", "x", "0x3", "3x-1", "3x3x3", "a x b"):
        with pytest.raises(UserError, match="WIDTHxHEIGHT"):
            recipes.pixels(wrong)


def test_a_range_says_itself():
    assert str(Range(low=1)) == ">= 1"
    assert str(Range(above=0, high=math.inf, below=1)) == "> 0 and < 1"


@pytest.mark.parametrize("name", ["size", "seed", "two words", "a.b", ""])
def test_a_condition_needs_a_name_of_its_own(name):
    spec = ConditionSpec(kind="text")
    with pytest.raises(UserError, match=f"none can be called {name!r}"):
        Recipe(modality="image", training=Training(steps=1), conditions={name: spec})


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("{kind: number, low: 1}", r"conditions\.x\.high: got nothing, expected a number"),
        ("{kind: number, low: 2, high: 2}", r"conditions\.x\.high: got 2\.0, expected more than low, 2\.0"),
        (
            "{kind: number, low: 1, high: 2, values: [a]}",
            r"x\.values: got it with kind 'number', expected label",
        ),
        ("{kind: label, low: 1}", r"conditions\.x\.low: got it with kind 'label', expected number"),
        ("{kind: text, column: a}", r"conditions\.x\.column: .* 'text', expected label or number or style"),
        ("{kind: envelope, tokens: 3}", r"conditions\.x\.tokens: got it with kind 'envelope', expected text"),
    ],
)
def test_a_condition_has_the_keys_of_its_kind(spec, says):
    recipe = Recipe(modality="audio", training=Training(steps=1))
    with pytest.raises(UserError, match=says):
        recipe.override([f"conditions.x={spec}"])


def test_references_are_given_when_samples_are_drawn():
    recipe = Recipe(modality="audio", training=Training(steps=1))
    with pytest.raises(UserError, match=r"sampling\.conditions\.like: takes a file"):
        recipe.override(["conditions.like.kind=style", "sampling.conditions.like=a.wav"])
