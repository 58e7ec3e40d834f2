"""The moving average: closed form, invariants, exact exchange."""

import pytest
import torch
from torch import nn

from mmdiff.training.ema import Ema


def module(value: float = 0.0) -> nn.Linear:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.fill_(value)
        layer.bias.fill_(value)
    return layer


def test_closed_form_on_a_known_sequence():
    layer = module(1.0)
    ema = Ema(layer, longest=0.5)
    expected = 1.0
    for n, value in enumerate([3.0, -2.0, 8.0, 0.5, 4.0, 4.0, 7.0, 1.0, 2.0, 9.0]):
        with torch.no_grad():
            layer.weight.fill_(value)
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(ema.shadow["weight"], torch.full((3, 2), expected))
    assert ema.updates == 10


def test_average_of_constant_weights_is_those_weights():
    layer = module(0.3)
    ema = Ema(layer, longest=0.999)
    for _ in range(50):
        ema.update()
    assert all(torch.equal(ema.shadow[name], p) for name, p in layer.named_parameters())


def test_decay_warms_up_and_ends_at_the_longest():
    ema = Ema(module(), longest=0.99)
    decays = []
    for _ in range(2000):
        decays.append(ema.decay)
        ema.update()
    assert decays[0] == pytest.approx(0.1)
    assert decays == sorted(decays)
    assert decays[-1] == 0.99


def test_average_moves_towards_the_weights_and_stays_between():
    layer = module(0.0)
    ema = Ema(layer, longest=0.9)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    before = 0.0
    for _ in range(20):
        ema.update()
        now = float(ema.shadow["weight"][0, 0])
        assert before < now < 1
        before = now


def test_only_trainable_parameters_are_averaged_in_float32():
    layer = module().to(torch.bfloat16)
    layer.bias.requires_grad_(False)
    ema = Ema(layer, longest=0.9)
    assert list(ema.shadow) == ["weight"]
    assert ema.shadow["weight"].dtype == torch.float32


def test_applied_exchanges_and_restores_bit_for_bit_even_after_an_error():
    layer = module(2.0)
    ema = Ema(layer, longest=0.9)
    with torch.no_grad():
        layer.weight.normal_()
    ema.update()
    live = {name: p.detach().clone() for name, p in layer.named_parameters()}
    shadow = {name: p.clone() for name, p in ema.shadow.items()}

    def fail():
        with ema.applied():
            assert torch.equal(layer.weight, shadow["weight"])
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert all(torch.equal(p, live[name]) for name, p in layer.named_parameters())
    assert all(torch.equal(p, shadow[name]) for name, p in ema.shadow.items())
    ema.update()
    assert not torch.equal(ema.shadow["weight"], shadow["weight"])


def test_load_restores_bit_for_bit_and_ignores_what_is_not_averaged():
    layer = module()
    ema = Ema(layer, longest=0.9)
    saved = {name: torch.randn_like(p) for name, p in layer.named_parameters()}
    ema.load(saved | {"buffer": torch.zeros(1)}, updates=7)
    assert ema.updates == 7
    assert all(torch.equal(ema.shadow[name], saved[name]) for name in saved)
