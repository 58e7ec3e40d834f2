"""Texts by encoders that others trained."""

import dataclasses
import importlib.util
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mmdiff.conditions import Conditions, Encoded, encoded
from mmdiff.errors import UserError
from mmdiff.generation.model import build, check
from mmdiff.generation.pipeline import load
from mmdiff.recipe import ConditionSpec
from tests.generation.conftest import RECIPE, lively, save

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "heart"]


def test_minilm_hears_what_texts_mean() -> None:
    encoder = Encoded("minilm")
    apple, fruit, car = (
        encoder.ids(text)[0].float() for text in ("a red apple", "a fruit that is red", "a fast car")
    )
    assert F.cosine_similarity(apple, fruit, dim=0) > 0.7
    assert F.cosine_similarity(apple, car, dim=0) < 0.3


def test_a_text_is_its_mean_and_its_tokens_and_nothing_beyond() -> None:
    encoder = Encoded("minilm", width=16, tokens=6)
    short, long, none = (
        encoder.ids(text).float() for text in ("red heart", "a red heart of gold and silver", None)
    )
    assert short.shape == long.shape == none.shape == (7, 384)
    assert [int(ids.any(1).sum()) for ids in (short, long, none)] == [5, 7, 0]  # with the marks of both ends
    torch.testing.assert_close(short[0], short[1:5].mean(0), atol=2e-3, rtol=0)
    part = encoder(torch.stack([short, long, none]).half(), torch.tensor([True, True, False]))
    assert part.vector.shape == (3, 16)
    assert part.mask is not None
    assert part.mask.sum(1).tolist() == [5, 7, 1]
    assert part.tokens is not None
    part.tokens.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_only_its_fingerprint_is_saved_with_the_model() -> None:
    made = Conditions({"text": ConditionSpec(kind="text", encoder="minilm")}, width=8)
    own = ("enter.weight", "enter.bias", "fingerprint", "null")
    assert set(made.state_dict()) == {f"parts.text.{name}" for name in own}


def test_a_model_knows_the_files_of_its_encoder_wherever_they_are(folder, tmp_path) -> None:
    def copied(name: str, change: str = "") -> Conditions:
        place = tmp_path / name
        shutil.copytree(folder, place)
        (place / "README.md").write_text(name)
        if change == "weights":
            tensors = load_file(place / "model.safetensors")
            first = next(key for key, value in tensors.items() if value.is_floating_point())
            save_file(tensors | {first: tensors[first] + 1}, place / "model.safetensors", {"format": "pt"})
        elif change:
            (place / change).write_text((place / change).read_text().replace("heart", "house"))
        return Conditions({"text": ConditionSpec(kind="text", encoder=str(place), tokens=8)}, width=8)

    own = copied("one").state_dict()
    copied("two").load_state_dict(own)
    for number, change in enumerate(("weights", "tokenizer.json")):
        with pytest.raises(UserError, match="its files are not those that the model was trained with"):
            copied(f"other{number}", change).load_state_dict(own)


@pytest.mark.parametrize(("tokens", "works"), [(2, False), (3, True), (512, True), (513, False)])
def test_a_number_of_tokens_that_it_does_not_take_is_refused(tokens, works) -> None:
    spec = ConditionSpec(kind="text", encoder="minilm", tokens=tokens)
    if works:
        assert Conditions({"said": spec}).ids({"said": "red heart " * 300})["said"].any(1).all()
        return
    with pytest.raises(UserError, match=rf"^conditions\.said\.tokens: got {tokens}, expected 3 to 512 for"):
        Conditions({"said": spec})


def test_what_is_no_encoder_of_texts_is_refused(tmp_path) -> None:
    import transformers

    transformers.CLIPConfig().save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="a clip is no encoder of texts"):
        Encoded(str(tmp_path))


def test_threads_change_nothing() -> None:
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            encoded._encoder.cache_clear()
            with torch.autocast("cpu", torch.bfloat16):
                found.append(Encoded("minilm").ids("the quick brown fox jumps over the lazy dog"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.fixture(scope="module", params=["bert", "t5"])
def folder(request, tmp_path_factory):
    """A new encoder as transformers saves it."""
    import transformers

    path = tmp_path_factory.mktemp("encoder")
    (path / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    if request.param == "bert":
        sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        model = transformers.BertModel(transformers.BertConfig(vocab_size=7, hidden_size=12, **sizes))
    else:
        sizes = {"num_layers": 1, "num_heads": 2, "d_ff": 16, "d_kv": 6, "decoder_start_token_id": 0}
        model = transformers.T5Model(transformers.T5Config(vocab_size=7, d_model=12, **sizes))
    model.save_pretrained(path)
    return path


def test_any_encoder_that_transformers_loads_conditions_samples(folder, tmp_path) -> None:
    text = ConditionSpec(kind="text", encoder=str(folder), tokens=4)
    recipe = dataclasses.replace(RECIPE, conditions={"text": text})
    check(recipe)
    pipeline = load(save(lively(build(recipe)), tmp_path / "run", recipe=recipe))
    red, heart, again = (next(pipeline.sample(prompt)).sample.value for prompt in ("red", "heart", "red"))
    assert torch.equal(red, again)
    assert not torch.equal(red, heart)


def test_what_is_missing_is_named(tmp_path, monkeypatch) -> None:
    spec = ConditionSpec(kind="text", encoder=str(tmp_path))
    with pytest.raises(
        UserError, match=r"^conditions\.text\.encoder: encoder '.*': transformers cannot load it: .+"
    ):
        check(dataclasses.replace(RECIPE, conditions={"text": spec}))
    encoded._encoder.cache_clear()
    monkeypatch.setattr(encoded, "_MINILM", "no_such_package")
    with pytest.raises(UserError, match=r"needs a package: pip install 'mmdiff\[text\]'"):
        Encoded("minilm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs transformers: pip install 'mmdiff\[text\]'"):
        Encoded("minilm")
