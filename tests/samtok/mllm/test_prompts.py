import pytest

from samtok.errors import ConfigError, InputError
from samtok.mllm.prompts import Piece, render_prompt, split_answers
from samtok.tasks.conversation import Message

ROUNDS = (
    Message("user", "Segment the cup."),
    Message("assistant", "No target."),
    Message("user", "And the dog?"),
    Message("assistant", " \nA dog. \n"),
)


def test_answers_are_cut_out_with_the_word_that_ends_them(small_mllm):
    first, *rest = split_answers(small_mllm.processor, ROUNDS)

    assert first.text.endswith(
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Segment the cup.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert rest == [
        Piece("No target.<|im_end|>", is_answer=True),
        Piece(
            "\n<|im_start|>user\nAnd the dog?<|im_end|>\n<|im_start|>assistant\n", is_answer=False
        ),
        Piece(" \nA dog. \n<|im_end|>", is_answer=True),
        Piece("\n", is_answer=False),
    ]


def test_a_prompt_is_what_comes_before_the_answer(small_mllm):
    pieces = split_answers(small_mllm.processor, ROUNDS)

    assert render_prompt(small_mllm.processor, ROUNDS[:1]) == pieces[0].text
    assert render_prompt(small_mllm.processor, ROUNDS[:3]) == "".join(p.text for p in pieces[:3])


@pytest.mark.parametrize("word", ["<|im_end|>", "<|image_pad|>", "<|im_start|>"])
@pytest.mark.parametrize("turn", [0, 1])
def test_a_message_cannot_end_its_turn_or_claim_an_image(small_mllm, word, turn):
    messages = [Message(m.role, m.content) for m in ROUNDS[:2]]
    messages[turn] = Message(messages[turn].role, f"a {word}b")

    with pytest.raises(InputError, match="control_word_in_text"):
        split_answers(small_mllm.processor, messages)


def test_a_template_that_rewrites_earlier_turns_is_refused(small_mllm, monkeypatch):
    forgetful = (
        "{% for message in messages %}{{ message.role }}: "
        "{% if loop.last %}{{ message.content[-1].text }}{% endif %}\n{% endfor %}"
    )
    monkeypatch.setattr(small_mllm.processor, "chat_template", forgetful)

    with pytest.raises(ConfigError, match="rewrites turn 1"):
        split_answers(small_mllm.processor, ROUNDS)
