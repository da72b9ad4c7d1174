import re

import numpy as np
import pytest
import torch
from PIL import Image

from samtok.errors import InputError
from samtok.mllm.collate import Example, collate, encode_example, encode_prompt, pack
from samtok.tasks.conversation import Conversation, Message
from tests.small_mllm import assert_learn_the_same

SPAN = "<|mt_start|><|mt_0011|><|mt_0347|><|mt_end|>"
FORMS = {
    "region_captioning": (f"Describe {SPAN}.", "A red cup."),
    "region_vqa": (f"What colour is {SPAN}?", "red"),
    "grounded_conversation": (
        "Describe the image with masks.",
        f"<|object_ref_start|>A cup<|object_ref_end|>{SPAN} stands here.",
    ),
    "referring_segmentation": (
        "Segment the cup.",
        f'```json\n[{{"mask_2d": "{SPAN}", "label": "cup"}}]\n```',
    ),
    "no_target": ("Segment the dog.", "No target."),
    "interactive_segmentation": (
        *("Segment the cup.", f"Here: {SPAN}"),
        *(f"What is left of {SPAN}?", f"{SPAN}{SPAN}"),
        *("Thanks.", "\n"),
    ),
}
"""What is said in turns: user, assistant, user, …"""


def make_example(form, image):
    roles = ("user", "assistant") * (len(FORMS[form]) // 2)
    conversation = Conversation(
        conversation_id=f"{form}-1",
        task=form,
        messages=tuple(Message(r, c) for r, c in zip(roles, FORMS[form], strict=True)),
        target_words=(),
        mask_ids=(),
    )
    return Example(conversation, image)


def write_by_hand(form, family, num_image_tokens):
    """The text a model sees, answers and the ends of their turns between ⟦ and ⟧."""
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    image = f"<|vision_start|>{'<|image_pad|>' * num_image_tokens}<|vision_end|>"
    text = system if family == "qwen2_5_vl" else ""
    for turn, content in enumerate(FORMS[form]):
        if turn % 2 == 0:
            before = image if turn == 0 else ""
            text += f"<|im_start|>user\n{before}{content}<|im_end|>\n<|im_start|>assistant\n"
        else:
            text += f"⟦{content}<|im_end|>⟧\n"
    return text


def tokenize_by_hand(marked, tokenizer):
    """Ids and labels of a marked text: the whole tokenized at once, answers found by offsets."""
    plain, answers = "", []
    for part in re.split("(⟦.*?⟧)", marked, flags=re.DOTALL):
        is_answer = part.startswith("⟦")
        part = part.strip("⟦⟧")
        if is_answer:
            answers.append((len(plain), len(plain) + len(part)))
        plain += part
    tokens = tokenizer(plain, return_offsets_mapping=True)
    labels = [
        token if any(a <= start and end <= b for a, b in answers) else -100
        for token, (start, end) in zip(tokens["input_ids"], tokens["offset_mapping"], strict=True)
    ]
    return tokens["input_ids"], labels


def encode_all(mllm, image):
    return [encode_example(make_example(form, image), mllm.processor, 2000) for form in FORMS]


@pytest.mark.parametrize("form", [f for f in FORMS if f != "interactive_segmentation"])
def test_ids_labels_and_pixels_of_each_form_are_those_written_by_hand(small_mllm, image, form):
    encoded = encode_example(make_example(form, image), small_mllm.processor, 2000)

    marked = write_by_hand(form, small_mllm.model.config.model_type, num_image_tokens=24)
    ids, labels = tokenize_by_hand(marked, small_mllm.tokenizer)
    assert encoded.input_ids.tolist() == ids
    assert encoded.labels.tolist() == labels
    text = re.sub("[⟦⟧]", "", marked).replace("<|image_pad|>" * 24, "<|image_pad|>")
    theirs = small_mllm.processor(text=[text], images=[Image.fromarray(image)], return_tensors="pt")
    assert torch.equal(encoded.input_ids, theirs["input_ids"][0])
    assert torch.equal(encoded.pixel_values, theirs["pixel_values"])
    assert torch.equal(encoded.image_grid_thw, theirs["image_grid_thw"])


def test_every_round_is_learned(small_mllm, image):
    encoded = encode_example(
        make_example("interactive_segmentation", image), small_mllm.processor, 2000
    )

    is_answer = encoded.labels != -100
    answers = small_mllm.tokenizer.decode(encoded.input_ids[is_answer])
    assert answers == f"Here: {SPAN}<|im_end|>{SPAN}{SPAN}<|im_end|>\n<|im_end|>"
    assert torch.equal(encoded.labels[is_answer], encoded.input_ids[is_answer])


def test_an_answer_begins_with_the_ids_generation_would_have_to_emit(small_mllm, image):
    example = make_example("interactive_segmentation", image)
    messages = example.conversation.messages
    encoded = encode_example(example, small_mllm.processor, 2000)

    prompt = encode_prompt(messages[:5], image, small_mllm.processor)

    end = len(prompt)
    assert torch.equal(encoded.input_ids[:end], prompt.input_ids)
    assert (prompt.labels == -100).all()
    assert encoded.labels[end - 1] == -100
    newline, end_of_turn = small_mllm.tokenizer.convert_tokens_to_ids(["Ċ", "<|im_end|>"])
    assert encoded.labels[end : end + 2].tolist() == [newline, end_of_turn]


def test_a_padded_batch_attends_to_tokens_only(small_mllm, image):
    short, long = (
        encode_example(make_example(form, image), small_mllm.processor, 2000)
        for form in ("no_target", "interactive_segmentation")
    )

    batch = collate([short, long], pad_token_id=7)

    padding = len(long) - len(short)
    assert batch["attention_mask"].tolist() == [
        [1] * len(short) + [0] * padding,
        [1] * len(long),
    ]
    assert batch["input_ids"].tolist() == [
        short.input_ids.tolist() + [7] * padding,
        long.input_ids.tolist(),
    ]
    assert batch["labels"][0].tolist() == short.labels.tolist() + [-100] * padding
    assert torch.equal(batch["position_ids"][:, 1], long.position_ids)
    assert torch.equal(batch["image_grid_thw"], torch.tensor([[1, 8, 12], [1, 8, 12]]))


def test_the_loss_is_the_mean_over_answer_tokens(small_mllm, image):
    encoded = encode_all(small_mllm, image)
    with torch.no_grad():
        loss = small_mllm.model(**collate(encoded, pad_token_id=0)).loss
        log_probs = []
        for example in encoded:  # one by one, positions left to the model
            logits = small_mllm.model(
                input_ids=example.input_ids[None],
                mm_token_type_ids=(example.input_ids == small_mllm.processor.image_token_id).int()[
                    None
                ],
                pixel_values=example.pixel_values,
                image_grid_thw=example.image_grid_thw,
            ).logits[0]
            places = (example.labels != -100).nonzero().flatten().tolist()
            log_probs += [logits[p - 1].log_softmax(-1)[example.labels[p]] for p in places]

    assert loss.item() == pytest.approx(-torch.stack(log_probs).mean().item(), abs=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_and_padded_batches_have_the_same_loss_and_gradient(small_mllm, image, attention):
    wide = np.concatenate([image, image[:, ::-1]], axis=1)
    encoded = encode_all(small_mllm, image) + encode_all(small_mllm, wide)[:3]
    capacity = 2 * max(map(len, encoded))
    assert_learn_the_same(
        small_mllm.model,
        attention,
        collate(encoded, pad_token_id=0),
        pack(encoded, capacity=capacity, pad_token_id=0, attention=attention),
    )


def test_packed_rows_are_full_and_hold_every_example_once(small_mllm, image):
    encoded = encode_all(small_mllm, image)
    capacity = max(map(len, encoded)) + min(map(len, encoded))

    batch = pack(encoded, capacity=capacity, pad_token_id=0)

    assert batch["input_ids"].shape[0] < len(encoded)
    assert batch["input_ids"].shape[1] <= capacity
    assert (batch["labels"] != -100).sum() == sum(int((e.labels != -100).sum()) for e in encoded)
    assert len(batch["image_grid_thw"]) == len(encoded)
    with pytest.raises(ValueError, match="does not fit"):
        pack(encoded, capacity=20, pad_token_id=0)


def test_a_packed_example_sees_itself_only(small_mllm, image):
    first, second = encode_all(small_mllm, image)[:2]

    batch = pack([first, second], capacity=len(first) + len(second), pad_token_id=0)

    longer, shorter = sorted((len(first), len(second)), reverse=True)
    expected = torch.zeros(longer + shorter, longer + shorter, dtype=torch.bool)
    expected[:longer, :longer] = torch.ones(longer, longer).tril().bool()
    expected[longer:, longer:] = torch.ones(shorter, shorter).tril().bool()
    assert torch.equal(batch["attention_mask"][0, 0], expected)
    text_positions = [*range(longer), *range(shorter)]
    assert batch["position_ids"][0, 0].tolist() == text_positions


def test_flash_attention_gets_one_row_without_padding(small_mllm, image):
    """Its kernels need CUDA; here PyTorch's attention finds the sequences by the same positions."""
    encoded = encode_all(small_mllm, image)

    batch = pack(encoded, capacity=1000, pad_token_id=0, attention="flash_attention_2")

    assert "attention_mask" not in batch
    assert batch["input_ids"].shape == (1, sum(map(len, encoded)))
    starts = (batch["position_ids"][0, 0] == 0).nonzero().flatten()
    assert starts.diff(append=torch.tensor([batch["input_ids"].shape[1]])).tolist() == [
        len(e) for e in encoded
    ]
    with torch.no_grad():
        packed = small_mllm.model(**batch, use_cache=False).loss
        padded = small_mllm.model(**collate(encoded, pad_token_id=0)).loss
    assert packed.item() == pytest.approx(padded.item(), abs=1e-5)


def test_rows_that_cannot_be_used_say_why(small_mllm, image, tmp_path):
    example = make_example("no_target", image)
    length = len(encode_example(example, small_mllm.processor, 2000))
    encode_example(example, small_mllm.processor, length)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for bad, max_length, reason in [
        (example, length - 1, "conversation_too_long"),
        (make_example("no_target", np.zeros((8, 2000, 3), np.uint8)), 2000, "image_too_narrow"),
        (make_example("no_target", broken), 2000, "image_unreadable"),
    ]:
        with pytest.raises(InputError) as caught:
            encode_example(bad, small_mllm.processor, max_length)
        assert caught.value.reason == reason
