"""What vLLM is asked, by a stand-in that keeps to its documented calls; vLLM itself has not run.

The stand-in reads a request as vLLM does, the image's one token repeated as often as the image
needs, and answers by the model in the folder. So the engine must do what that of transformers does.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from samtok.errors import ConfigError
from samtok.mllm import GenerationConfig, load_mllm, save_mllm
from samtok.mllm.collate import encode_image, encode_prompt
from samtok.mllm.generation import list_control_ids, list_ends
from samtok.mllm.group_generation import generate_groups
from samtok.mllm.grpo import GrpoConfig
from samtok.mllm.grpo.engine import RolloutPrompt, TransformersEngine
from samtok.mllm.grpo.vllm_engine import VllmEngine
from samtok.mllm.training.base import LearningModel
from samtok.tasks.conversation import Message
from tests.samtok.mllm.training.small_sft import build_mllm
from tests.small_mllm import FAMILIES

SEEDS = [[1, 2], [3, 4]]
CONFIG = GrpoConfig(freeze_vision=True)
SAMPLING = GenerationConfig(max_new_tokens=5, temperature=0.7, constrain_masks=False)


class StandIn:
    """In place of ``vllm.LLM``."""

    def __init__(self, model, **options):
        self.mllm = load_mllm(model, device="cpu", dtype=torch.float32)
        self.options = options
        self.known = {}
        self.sampling = []
        self.has_prefixes = False

    def generate(self, requests, sampling, *, use_tqdm):
        self.sampling = sampling
        self.has_prefixes = True
        pairs = zip(requests, sampling, strict=True)
        return [SimpleNamespace(outputs=[self._complete(*pair)]) for pair in pairs]

    def collective_rpc(self, method, *, kwargs):
        assert method == "reload_weights"
        weights = dict(kwargs["weights_iterator"])
        self.mllm.model.load_state_dict(weights, strict=False)
        assert weights.keys() <= self.mllm.model.state_dict().keys()

    def reset_prefix_cache(self):
        self.has_prefixes = False

    def _complete(self, request, sampling):
        processor = self.mllm.processor
        grid = encode_image(request["multi_modal_data"]["image"], processor).image_grid_thw
        times = int(grid.prod()) // processor.image_processor.merge_size**2
        ids = []
        for token in request["prompt_token_ids"]:
            ids += [token] * (times if token == processor.image_token_id else 1)
        config = GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            constrain_masks=False,
        )
        prompt = self.known[tuple(ids)]
        answer = generate_groups(self.mllm, [prompt], [[sampling.seed]], config)[0][0]
        tokens = answer.token_ids.tolist()
        return SimpleNamespace(
            token_ids=tuple(tokens),
            logprobs=[
                {token: SimpleNamespace(logprob=value), -1: SimpleNamespace(logprob=0.0)}
                for token, value in zip(tokens, answer.logprobs.tolist(), strict=True)
            ],
            finish_reason="stop" if answer.has_ended else "length",
        )


@pytest.fixture
def stand_in(monkeypatch):
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = StandIn, SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", module)


def start(folder):
    return VllmEngine(folder, max_length=512, memory_share=0.5, seed=3)


def make_prompts(processor):
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (32, 32 + 8 * n, 3), dtype=np.uint8) for n in range(2)]
    questions = ("Segment the red cup.", "Segment the dog, please.")
    return [
        RolloutPrompt(encode_prompt((Message("user", question),), image, processor), image)
        for question, image in zip(questions, images, strict=True)
    ]


def assert_same(groups, expected):
    flat = [answer for group in groups for answer in group]
    for answer, other in zip(flat, [a for g in expected for a in g], strict=True):
        assert answer.token_ids.tolist() == other.token_ids.tolist()
        torch.testing.assert_close(answer.logprobs, other.logprobs, atol=1e-4, rtol=0)
        assert answer.has_ended == other.has_ended


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_are_those_of_the_other_engine_before_and_after_new_weights(
    family, stand_in, tmp_path
):
    mllm = build_mllm(family)
    engine = start(save_mllm(mllm, tmp_path / "model"))
    llm = engine._llm
    prompts = make_prompts(engine.processor)
    llm.known = {tuple(p.encoded.input_ids.tolist()): p.encoded for p in prompts}
    other = TransformersEngine(mllm, CONFIG)
    before = other.generate(prompts, SEEDS, SAMPLING)
    assert_same(engine.generate(prompts, SEEDS, SAMPLING), before)
    assert llm.has_prefixes

    learner = LearningModel(build_mllm(family), CONFIG, torch.device("cpu"))
    noise = torch.Generator().manual_seed(0)
    weights = {
        name: weight + 0.1 * torch.randn(weight.shape, generator=noise)
        for name, weight in learner.weights().items()
    }
    for each in (engine, other):
        each.load_weights(weights.items())
    assert not llm.has_prefixes
    after = other.generate(prompts, SEEDS, SAMPLING)
    assert_same(engine.generate(prompts, SEEDS, SAMPLING), after)
    texts = [[a.token_ids.tolist() for a in group] for group in after]
    assert texts != [[a.token_ids.tolist() for a in group] for group in before]


def test_control_words_are_not_written_and_ends_end(stand_in, tmp_path):
    engine = start(save_mllm(build_mllm("qwen3_vl"), tmp_path / "model"))
    prompts = make_prompts(engine.processor)
    engine._llm.known = {tuple(p.encoded.input_ids.tolist()): p.encoded for p in prompts}
    engine.generate(prompts, SEEDS, SAMPLING)
    assert [each.seed for each in engine._llm.sampling] == [1, 2, 3, 4]
    first, tokenizer = engine._llm.sampling[0], engine.processor.tokenizer
    assert set(first.logit_bias) == set(list_control_ids(tokenizer))
    assert set(first.logit_bias.values()) == {-100.0}
    assert first.stop_token_ids == list_ends(tokenizer)
    assert engine._llm.options["max_model_len"] == 512


def test_what_vllm_cannot_do_is_said(stand_in, tmp_path, monkeypatch):
    folder = save_mllm(build_mllm("qwen3_vl"), tmp_path / "model")
    constrained = GenerationConfig(constrain_masks=True)
    with pytest.raises(ConfigError, match="cannot constrain masks; take transformers"):
        start(folder).generate([], [], constrained)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match="needs vLLM on the nodes of the rollout actors"):
        start(folder)
