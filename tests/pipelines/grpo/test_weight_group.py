"""Weights broadcast between processes of this machine, one of which may die."""

import multiprocessing
import os

import pytest
import torch

from pipelines.grpo.weight_group import WeightGroup, list_layout, open_meeting

CPU = torch.device("cpu")
TIMEOUT = 60.0


def receive(meeting, rank, layout, answers, dies):
    group = WeightGroup(meeting, rank, CPU, TIMEOUT)
    try:
        for _ in range(2):
            weights = []
            for name, weight in group.receive(layout):
                if dies and weights:
                    os._exit(1)
                weights.append((name, weight.tolist()))
            answers.put((rank, weights))
    except RuntimeError:
        answers.put((rank, "lost"))


def start_receivers(meeting, layout, dying=()):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    for rank in (1, 2):
        arguments = (meeting, rank, layout, answers, rank in dying)
        context.Process(target=receive, args=arguments, daemon=True).start()
    return answers


def send_twice(group, weights):
    group.send(weights)
    group.send(weights)


def test_all_members_receive_what_is_sent_as_often_as_it_is():
    sent = [
        {
            "table": torch.randn(7, 3),
            "scale": torch.tensor(float(n)),
            "bias": torch.randn(4).flip(0),
        }
        for n in range(2)
    ]
    meeting, store = open_meeting("127.0.0.1", 3, TIMEOUT)
    answers = start_receivers(meeting, list_layout(sent[0]))
    group = WeightGroup(meeting, 0, CPU, TIMEOUT, store)
    for weights in sent:
        group.send(weights)
    received = sorted((answers.get(timeout=TIMEOUT) for _ in range(4)), key=lambda each: each[0])
    expected = [[(name, weight.tolist()) for name, weight in weights.items()] for weights in sent]
    assert received == [(1, expected[0]), (1, expected[1]), (2, expected[0]), (2, expected[1])]


def test_a_member_that_dies_is_an_error_for_the_others():
    weights = {name: torch.randn(1000, 1000) for name in "abcdef"}
    meeting, store = open_meeting("127.0.0.1", 3, TIMEOUT)
    answers = start_receivers(meeting, list_layout(weights), dying=(2,))
    group = WeightGroup(meeting, 0, CPU, TIMEOUT, store)
    with pytest.raises(RuntimeError):  # by the second time, whatever is on the way in the first
        send_twice(group, weights)
    del group, store
    assert answers.get(timeout=TIMEOUT) == (1, "lost")
