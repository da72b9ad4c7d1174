import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from samtok.errors import ConfigError, InputError
from samtok.mllm import GenerationConfig, extend_vocabulary, generate, mask_token_ids
from samtok.mllm.collate import encode_prompt
from samtok.mllm.generation import generate_ids
from samtok.mllm.prompts import CONTROL_WORDS
from samtok.tasks.conversation import Message
from samtok.words import format_codes, list_mask_words, parse
from tests.small_mllm import FAMILIES, build_small_mllm

SPAN = format_codes([(11, 91)])[0]
PROMPTS = [
    "Segment the cup.",
    f"What is {SPAN}?",
    (
        Message("user", "Where is the dog?"),
        Message("assistant", f"{SPAN} and {SPAN}"),
        Message("user", "And the tree near it, the green one, on the table?"),
    ),
]


@pytest.fixture(scope="module", params=FAMILIES)
def mllm(request):
    return build_talkative(request.param)


@torch.no_grad()
def build_talkative(family):
    """Random weights so large that an answer depends on every word and on the image."""
    built = build_small_mllm(family, tied=False)
    for parameter in built.model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(10)
    extend_vocabulary(built.model, built.processor)
    return built


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in [(32, 48), (64, 40)] * 2]


@contextlib.contextmanager
def biased(mllm, biases):
    """The model prefers some tokens, each in its own measure; tokens → score added."""
    bias = torch.zeros(mllm.model.get_output_embeddings().weight.shape[0])
    for token, score in biases.items():
        bias[token] = score
    handle = mllm.model.lm_head.register_forward_hook(lambda module, args, logits: logits + bias)
    try:
        yield
    finally:
        handle.remove()


def make_word_lover(mllm):
    """Biases toward mask words, so that spans are opened often and everywhere cut."""
    ids = mask_token_ids(mllm.tokenizer)
    words = mllm.tokenizer.convert_tokens_to_ids(list_mask_words())
    return {**dict.fromkeys(words, 8.0), ids.start: 13.0, ids.end: 12.0}


def answer_by_hand(mllm, encoded, length):
    """Greedy answer by whole forward passes without cache or padding."""
    ids = encoded.input_ids
    for _ in range(length):
        batch = {
            "input_ids": ids[None],
            "attention_mask": torch.ones_like(ids)[None],
            "mm_token_type_ids": (ids == mllm.model.config.image_token_id).int()[None],
            "pixel_values": encoded.pixel_values,
            "image_grid_thw": encoded.image_grid_thw,
        }
        with torch.no_grad():
            scores = mllm.model(**batch).logits[0, -1]
        banned = mllm.tokenizer.convert_tokens_to_ids(list(CONTROL_WORDS))
        ends = [mllm.tokenizer.eos_token_id, mllm.tokenizer.pad_token_id]
        scores[[i for i in banned if i not in ends]] = float("-inf")
        ids = torch.cat([ids, scores.argmax()[None]])
        if ids[-1] in ends:
            break
    return ids[len(encoded.input_ids) :]


def test_greedy_answers_are_the_best_token_each_time(mllm, images):
    config = GenerationConfig(max_new_tokens=8, constrain_masks=False)
    encoded = [
        encode_prompt((Message("user", text),), image, mllm.processor)
        for text, image in zip(PROMPTS[:2], images, strict=False)
    ]
    answers = generate_ids(mllm, encoded, config)
    for prompt, answer in zip(encoded, answers, strict=True):
        assert torch.equal(answer, answer_by_hand(mllm, prompt, 8))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_what_is_beside_it(mllm, images, temperature):
    config = GenerationConfig(max_new_tokens=12, temperature=temperature, top_p=0.9)
    texts = generate(mllm, images[:3], PROMPTS, config)

    assert len(set(texts)) == 3
    assert generate(mllm, images[:3], PROMPTS, config) == texts
    assert generate(mllm, images[:1], PROMPTS[:1], config) == texts[:1]
    assert generate(mllm, images[:2], PROMPTS[:2], config) == texts[:2]
    longer = generate(mllm, images, [*PROMPTS[:2], "x" * 99, "Hm?"], config)
    assert longer[:2] == texts[:2]


def test_rows_and_seeds_draw_differently(mllm, images):
    config = GenerationConfig(max_new_tokens=12, temperature=1.0)
    same = [images[0]] * 4, [PROMPTS[0]] * 4
    texts = generate(mllm, *same, config)
    assert len(set(texts)) == 4
    assert generate(mllm, *same, dataclasses.replace(config, seed=1)) != texts


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_model_that_writes_junk_writes_whole_spans(mllm, images, temperature):
    config = GenerationConfig(max_new_tokens=21, temperature=temperature)
    with biased(mllm, make_word_lover(mllm)):
        free = generate(
            mllm, images[:3], PROMPTS, dataclasses.replace(config, constrain_masks=False)
        )
        held = generate(mllm, images[:3], PROMPTS, config)

    assert any(span.status != "well_formed" for text in free for span in parse(text))
    spans = [span for text in held for span in parse(text)]
    assert len(spans) >= 6
    assert {span.status for span in spans} == {"well_formed"}
    assert not any(word in list_mask_words() for text in held for word in _outside(text))


def _outside(text):
    for span in reversed(parse(text)):
        text = text[: span.start] + " " + text[span.end :]
    return text.replace("<|mt", " <|mt").replace("|>", "|> ").split()


def test_the_end_of_the_turn_is_not_part_of_a_text_and_marks_of_phrases_are(mllm, images):
    tokenizer = mllm.tokenizer
    end, mark, a = (
        tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|object_ref_start|>", "a")
    )
    config = GenerationConfig(max_new_tokens=5)
    encoded = [encode_prompt((Message("user", "Hm?"),), images[0], mllm.processor)]

    with biased(mllm, {end: 1e4}):
        assert generate(mllm, images[:1], ["Hm?"], config) == [""]
        assert [ids.tolist() for ids in generate_ids(mllm, encoded, config)] == [[end]]
    with biased(mllm, {mark: 1e4}):
        assert generate(mllm, images[:1], ["Hm?"], config) == ["<|object_ref_start|>" * 5]
    with biased(mllm, {tokenizer.convert_tokens_to_ids("<|image_pad|>"): 1e4, a: 1e3}):
        assert generate(mllm, images[:1], ["Hm?"], config) == ["aaaaa"]


def test_settings_that_a_hub_model_brings_do_not_count(mllm, images, monkeypatch):
    config = GenerationConfig(max_new_tokens=8)
    texts = generate(mllm, images[:2], PROMPTS[:2], config)
    for name, value in {
        "do_sample": True,
        "temperature": 3.0,
        "top_k": 1,
        "repetition_penalty": 5.0,
    }.items():
        monkeypatch.setattr(mllm.model.generation_config, name, value)
    assert generate(mllm, images[:2], PROMPTS[:2], config) == texts


def test_a_vocabulary_without_mask_words_is_not_constrained(images):
    plain = build_small_mllm("qwen3_vl")
    assert len(generate(plain, images[:1], ["Hm?"], GenerationConfig(max_new_tokens=3))) == 1


def test_training_goes_on_as_before(mllm, images):
    mllm.model.train()
    try:
        text = generate(mllm, images[:1], PROMPTS[:1], GenerationConfig(max_new_tokens=4))
        assert mllm.model.training
    finally:
        mllm.model.eval()
    assert generate(mllm, images[:1], PROMPTS[:1], GenerationConfig(max_new_tokens=4)) == text


def test_nothing_asked_is_nothing_answered(mllm):
    assert generate(mllm, [], []) == []


def test_what_is_wrong_is_said(mllm, images):
    with pytest.raises(ValueError, match="argument 2"):
        generate(mllm, images[:2], ["Hm?"])
    with pytest.raises(InputError, match="control_word_in_text"):
        generate(mllm, images[:1], ["<|im_end|>"])


@pytest.mark.parametrize(
    "setting",
    [
        {"max_new_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=name):
        GenerationConfig(**setting)
