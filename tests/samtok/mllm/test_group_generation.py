import dataclasses

import numpy as np
import pytest
import torch

from samtok.mllm import GenerationConfig
from samtok.mllm.collate import encode_prompt
from samtok.mllm.generation import generate_ids
from samtok.mllm.group_generation import generate_groups
from samtok.tasks.conversation import Message
from tests.samtok.mllm.test_generation import build_talkative
from tests.small_mllm import FAMILIES

CONFIG = GenerationConfig(max_new_tokens=12, temperature=1.0, constrain_masks=False, seed=5)
GROUP_SIZE = 3


@pytest.fixture(scope="module", params=FAMILIES)
def mllm(request):
    return build_talkative(request.param)


@pytest.fixture(scope="module")
def prompts(mllm):
    """Two prompts of different lengths about images of different sizes."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in [(32, 48), (64, 40)]]
    texts = ["Segment the cup.", "And the tree near it, the green one, on the table?"]
    return [
        encode_prompt((Message("user", text),), image, mllm.processor)
        for text, image in zip(texts, images, strict=True)
    ]


def list_seeds(config, num_rows):
    """Those that generate_ids draws with."""
    return [
        int(np.random.SeedSequence([config.seed, row]).generate_state(1)[0])
        for row in range(num_rows)
    ]


def score_by_hand(mllm, prompt, answer, temperature):
    """Log-probabilities by one pass over the whole text, without cache or padding."""
    ids = torch.cat([prompt.input_ids, answer])
    with torch.no_grad():
        logits = mllm.model(
            input_ids=ids[None],
            attention_mask=torch.ones_like(ids)[None],
            mm_token_type_ids=(ids == mllm.model.config.image_token_id).int()[None],
            pixel_values=prompt.pixel_values,
            image_grid_thw=prompt.image_grid_thw,
        ).logits[0, len(prompt) - 1 : -1]
    table = torch.log_softmax(logits / temperature, dim=1)
    return table.gather(1, answer[:, None])[:, 0]


@pytest.mark.parametrize("changes", [{}, {"constrain_masks": True, "top_p": 0.9}])
def test_groups_are_the_samples_of_prompts_that_are_read_each_time(mllm, prompts, changes):
    config = dataclasses.replace(CONFIG, **changes)
    alone = generate_ids(mllm, [p for p in prompts for _ in range(GROUP_SIZE)], config)
    seeds = list_seeds(config, 2 * GROUP_SIZE)
    groups = generate_groups(mllm, prompts, [seeds[:GROUP_SIZE], seeds[GROUP_SIZE:]], config)
    shared = [answer for group in groups for answer in group]
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one, other.token_ids)
    assert len({tuple(answer.token_ids.tolist()) for answer in groups[0]}) == GROUP_SIZE


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logprobs_are_those_of_a_pass_over_the_whole_text(mllm, prompts, temperature):
    config = dataclasses.replace(CONFIG, temperature=temperature)
    groups = generate_groups(mllm, prompts, [[1, 2], [3, 4]], config)
    for prompt, group in zip(prompts, groups, strict=True):
        for answer in group:
            expected = score_by_hand(mllm, prompt, answer.token_ids, temperature or 1.0)
            torch.testing.assert_close(answer.logprobs, expected, atol=2e-4, rtol=2e-4)


def test_answers_that_end_leave_the_others_as_they_are(mllm, prompts):
    """A model that ends a third of its answers at every token."""
    end = mllm.tokenizer.eos_token_id

    def end_a_third(module, args, logits):
        logits = logits.clone()
        logits[..., end] = logits.logsumexp(-1) - np.log(2)
        return logits

    handle = mllm.model.lm_head.register_forward_hook(end_a_third)
    try:
        seeds = [list(range(8)), list(range(8, 16))]
        groups = generate_groups(mllm, prompts, seeds, CONFIG)
        alone = [
            generate_groups(mllm, [prompt], [[seed]], CONFIG)[0][0]
            for prompt, own in zip(prompts, seeds, strict=True)
            for seed in own
        ]
    finally:
        handle.remove()
    answers = [answer for group in groups for answer in group]
    lengths = {len(answer.token_ids) for answer in answers}
    assert len(lengths) > 2
    for one, other in zip(answers, alone, strict=True):
        assert torch.equal(one.token_ids, other.token_ids)
        assert one.has_ended == other.has_ended == (end in one.token_ids.tolist())
        assert end not in one.token_ids[:-1].tolist()
