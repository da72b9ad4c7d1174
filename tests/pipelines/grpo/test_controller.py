import pytest
import torch

from pipelines.grpo.controller import choose_groups, deal_out_groups
from pipelines.grpo.figures import measure_groups
from pipelines.grpo.prompt_stream import PromptStream
from pipelines.grpo.records import RolloutGroup
from pipelines.grpo.rollout_actor import seed_of_answer
from pipelines.training.conversations import open_training_conversations
from pipelines.training.plan import Mixture
from samtok.mllm.group_generation import SampledAnswer
from samtok.rewards import Reward
from tests.pipelines.grpo.small_grpo import SPANS, row
from tests.pipelines.training.small_conversations import write_conversations


def group(number, rewards, texts=None, lengths=None):
    texts = texts or [""] * len(rewards)
    return RolloutGroup(
        number=number,
        task="referring_segmentation",
        question="?",
        target=SPANS[0],
        version=0,
        prompt=[0] * 5,
        answers=[
            SampledAnswer(torch.zeros(n, dtype=torch.long), torch.zeros(n), n < 4)
            for n in lengths or [1] * len(rewards)
        ],
        texts=texts,
        rewards=[Reward(value, {"answer_matching": value}) for value in rewards],
    )


def test_groups_that_teach_something_go_first_then_flat_ones():
    groups = [group(0, [1, 1]), group(1, [0, 1]), group(2, [0, 0]), group(3, [0.4, 1])]
    assert [g.number for g in choose_groups(groups, 2)] == [1, 3]
    assert [g.number for g in choose_groups(groups, 3)] == [0, 1, 3]


def test_every_group_is_in_one_lane_of_one_worker_in_its_minibatch():
    groups = [group(n, [0, 1], lengths=[1 + n % 2, 1]) for n in range(16)]
    shares = [deal_out_groups(groups, 2, 2, rank, 2) for rank in range(2)]
    first, second = [[[g.number for g in lane] for lane in share] for share in shares]
    # Of each minibatch: lanes of two, the short (even) ones first, dealt out in turn.
    assert first == [[0, 2], [1, 3], [8, 10], [9, 11]]
    assert second == [[4, 6], [5, 7], [12, 14], [13, 15]]
    (lane,) = deal_out_groups(groups, 1, 16, 0, 1)
    assert [g.number for g in lane] == [*range(0, 16, 2), *range(1, 16, 2)]


def test_figures_are_those_of_hand():
    figures = measure_groups(
        [
            group(0, [0.0, 1.0], [SPANS[0], "no"], [2, 6]),
            group(1, [1.0, 1.0], [SPANS[0] * 4, SPANS[0] + "<|mt_start|>"], [1, 3]),
        ]
    )
    assert figures["reward/total"] == figures["reward/answer_matching"] == 0.75
    assert figures["reward/spread"] == pytest.approx(0.5**0.5 / 2)
    assert figures["reward/flat_share"] == 0.5
    assert figures["responses/length"] == 3
    assert figures["responses/ended_share"] == 0.75
    assert figures["responses/refusal_rate"] == 0.25
    assert figures["responses/repeat_rate"] == 0.25
    assert figures["responses/well_formed_share"] == pytest.approx(6 / 7)


def test_prompts_come_once_an_epoch_in_the_same_order_from_any_number_on(tmp_path):
    write_conversations(tmp_path / "talks", [row(index) for index in range(24)], "f")
    corpus = open_training_conversations(str(tmp_path / "talks"), "f")
    mixture = Mixture.of([corpus.starts], (), num_lanes=1, images_per_window=8, seed=3)
    stream = PromptStream((corpus,), mixture)
    tasks = stream.take(48)
    assert [task.number for task in tasks] == list(range(48))
    names = [task.row["conversation_id"] for task in tasks]
    assert len(set(names[:24])) == len(set(names[24:])) == 24
    assert names[:24] != names[24:]
    stream.seek(13)
    assert [task.row["conversation_id"] for task in stream.take(20)] == names[13:33]
    assert stream.next_number == 33


def test_every_answer_has_a_seed_of_its_own():
    seeds = {seed_of_answer(0, prompt, answer) for prompt in range(50) for answer in range(8)}
    assert len(seeds) == 400
    assert seed_of_answer(0, 3, 2) == seed_of_answer(0, 3, 2) != seed_of_answer(1, 3, 2)
