import dataclasses

import pytest
import torch

from samtok import SAMTok
from samtok.errors import ConfigError
from samtok.mllm import GenerationConfig, MaskTokenizerReference, chat, generate
from samtok.mllm.chat import read_answer
from samtok.tasks.conversation import Message
from samtok.words import format_codes
from tests.samtok.mllm.test_generation import biased, build_talkative, make_word_lover

SPANS = format_codes([(11, 91), (200, 3)])


@pytest.fixture(scope="module")
def mllm():
    return build_talkative("qwen3_vl")


@pytest.fixture(scope="module")
def tokenizer(small_tokenizer_folder):
    return SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")


def test_an_answer_comes_with_its_masks(mllm, tokenizer, image):
    config = GenerationConfig(max_new_tokens=20)
    with biased(mllm, make_word_lover(mllm)):
        answer = chat(mllm, tokenizer, image, "Segment the cup.", config=config)
        assert [answer.text] == generate(mllm, [image], ["Segment the cup."], config)

    assert answer.spans
    for span, mask in zip(answer.spans, answer.masks, strict=True):
        assert answer.text[span.start : span.end] == format_codes([span.codes])[0]
        assert torch.equal(mask, tokenizer.decode(image, [span.codes])[0])


def test_earlier_turns_are_part_of_the_question(mllm, tokenizer, image):
    turns = (Message("user", "Where?"), Message("assistant", SPANS[0]), Message("user", "And it?"))
    config = GenerationConfig(max_new_tokens=8)
    answer = chat(mllm, tokenizer, image, turns[2].content, history=turns[:2], config=config)
    assert [answer.text] == generate(mllm, [image], [turns], config)
    assert answer.text != chat(mllm, tokenizer, image, turns[2].content, config=config).text


def test_masks_stand_for_the_spans_that_can_be_read(tokenizer, image):
    broken = "<|mt_start|><|mt_end|>"
    text = f"A {SPANS[0]} and {broken} and {SPANS[1][: -len('<|mt_end|>')]}."
    answer = read_answer(text, tokenizer, tokenizer.embed(image))
    assert [span.codes for span in answer.spans] == [(11, 91), (200, 3)]
    assert torch.equal(answer.masks, tokenizer.decode(image, [(11, 91), (200, 3)]))


@pytest.mark.parametrize("embeds", [False, True])
def test_an_answer_without_masks_has_none_of_the_images_size(tokenizer, image, embeds):
    answer = read_answer("No target.", tokenizer, tokenizer.embed(image) if embeds else image)
    assert (answer.spans, answer.masks.shape, answer.masks.dtype) == ((), (0, 32, 48), torch.bool)


def test_the_words_of_another_tokenizer_are_refused(mllm, tokenizer, image):
    def speaking(fingerprint):
        reference = MaskTokenizerReference(name="theirs", fingerprint=fingerprint)
        return dataclasses.replace(mllm, mask_tokenizer=reference)

    config = GenerationConfig(max_new_tokens=1)
    chat(speaking(tokenizer.fingerprint), tokenizer, image, "Where?", config=config)
    with pytest.raises(ConfigError, match="theirs"):
        chat(speaking("ab" * 32), tokenizer, image, "Where?", config=config)
