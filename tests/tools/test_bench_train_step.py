"""The training-step bench with small nets in place of the real ones, and the real ones only counted."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from mmdiff.errors import UserError
from tests.needs import needs
from tools.bench import train_step
from tools.bench.train_step import Case, Contender, Runner


def flat(net, x, clock):
    return net(x)


def small(channels):
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 3, 3, padding=1))


SMALL = Case(
    shape=(3, 8, 8),
    ours=(Contender("mmdiff", partial(small, 8), flat, tuned=True),),
    peers=(
        Contender("peer", partial(small, 8), flat, tuned=False),
        Contender("peer, tuned", partial(small, 8), flat, tuned=True),
    ),
    shipped="peer",
    layer=lambda: nn.Conv2d(4, 4, 3, padding=1, bias=False),
    layer_shape=(4, 8, 8),
    batch=4,
)


def test_the_last_line_is_the_report(monkeypatch, capsys):
    monkeypatch.setitem(train_step.CASES, "2d", SMALL)
    assert train_step.main(["--rounds", "2", "--steps", "1", "--no-compile", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["peers"]) == {"peer", "peer, tuned"}
    assert found["best_peer"] == max(found["peers"].values())
    assert found["shipped"] == found["peers"]["peer"]
    assert found["ratio_best_peer"] == pytest.approx(found["ours"] / found["best_peer"])
    assert found["ratio_shipped"] == pytest.approx(found["ours"] / found["shipped"])
    assert found["ceiling_share"] == pytest.approx(found["ours"] / found["ceiling"])
    assert [len(each) for each in found["seconds"].values()] == [2] * 4
    rate, work = found["samples_per_second"]["mmdiff"], found["flops"]["mmdiff"]
    assert found["ours"] == pytest.approx(3 * rate * work / 1e9)


@pytest.mark.parametrize(("rank", "expected"), [("4d", "1d, 2d, 3d"), ("2", "1d, 2d, 3d")])
def test_a_rank_without_a_case_is_one_line(capsys, rank, expected):
    assert train_step.main(["--rank", rank]) == 2
    assert capsys.readouterr().err == f"train_step: --rank {rank}: expected one of {expected}\n"


def test_nets_that_do_other_work_are_not_compared(monkeypatch, capsys):
    smaller = Contender("smaller", partial(small, 4), flat, tuned=False)
    monkeypatch.setitem(train_step.CASES, "2d", replace(SMALL, peers=(*SMALL.peers, smaller)))
    assert train_step.main(["--no-compile"]) == 2
    assert "got smaller 2.76e-05, mmdiff 5.53e-05, expected them within 8%" in capsys.readouterr().err


def test_a_missing_peer_says_how_to_install_it():
    with pytest.raises(UserError, match=r"no_such_peer.*pip install 'mmdiff\[bench\]'"):
        train_step.peer("no_such_peer", "Unet")


def test_a_convolution_counts_two_flops_a_product():
    layer = train_step.CASES["2d"].layer()
    assert train_step.forward_flops(layer, flat, (128, 32, 32)) == 2 * 128 * 128 * 9 * 32 * 32


def test_attention_is_counted():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    tokens, width = 64, 32
    counted = train_step.forward_flops(Attention(), flat, (1, tokens, width))
    assert counted == 2 * (2 * tokens * tokens * width)


@pytest.mark.parametrize("tuned", [False, True])
def test_a_step_trains(tuned):
    contender = Contender("x", lambda: nets.append(small(4)) or nets[0], flat, tuned)
    nets = []
    runner = train_step.training(contender, (3, 8, 8), 4, compiled=False)
    before = [parameter.detach().clone() for parameter in nets[0].parameters()]
    runner.step()
    for old, parameter in zip(before, nets[0].parameters(), strict=True):
        assert parameter.grad.dtype == torch.float32
        assert not torch.equal(old, parameter)
    assert runner.work == 3 * 4 * runner.forward


def test_runners_take_turns_after_a_warm_up():
    calls = []
    runners = [Runner(name, partial(calls.append, name), 1.0, 1.0) for name in "ab"]
    times = train_step.race(runners, rounds=3, steps=2, seconds=60)
    assert "".join(calls) == "aabb" + 3 * "aabb"
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}
    assert len(train_step.race(runners, rounds=100, steps=1, seconds=0)["a"]) == 1


def test_series_have_no_channels_last():
    contender = Contender("x", lambda: nn.Conv1d(3, 3, 3, padding=1), flat, tuned=True)
    train_step.training(contender, (3, 8), 2, compiled=False).step()
    case = replace(SMALL, layer=lambda: layer, layer_shape=(4, 8))
    layer = nn.Conv1d(4, 4, 3, padding=1)
    train_step.limit(case, 2).step()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("rank", train_step.CASES)
def test_our_contenders_take_a_step(rank):
    case = train_step.CASES[rank]
    for contender in case.ours:
        train_step.training(contender, case.shape, 1, compiled=False).step()


@pytest.mark.slow
@needs("diffusers", "denoising_diffusion_pytorch", "video_diffusion_pytorch")
@pytest.mark.parametrize("rank", train_step.CASES)
def test_forward_flops_are_equal_within_eight_percent(rank):
    case = train_step.CASES[rank]
    counts = [
        train_step.forward_flops(contender.build(), contender.call, case.shape)
        for contender in (*case.ours, *case.peers)
    ]
    assert max(counts) < train_step.SPREAD * min(counts)
