import pytest
import torch

from samtok.mllm.model import load_mllm, save_mllm
from samtok.mllm.tiny import SPECIAL_TOKENS, build_tiny_mllm
from samtok.scenes import generate_scene


@pytest.fixture(scope="module")
def tiny():
    return build_tiny_mllm()


def encode(mllm, image, text):
    content = [{"type": "image"}, {"type": "text", "text": text}]
    prompt = mllm.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return prompt, mllm.processor(text=[prompt], images=[image], return_tensors="pt")


def test_it_is_a_few_million_parameters(tiny):
    assert 3e6 < sum(p.numel() for p in tiny.model.parameters()) < 6e6


def test_turns_are_written_as_the_hub_models_write_them(tiny):
    prompt, _ = encode(tiny, generate_scene(0).image, "Where?")
    assert prompt == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Where?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_scene_becomes_64_image_tokens(tiny):
    _, inputs = encode(tiny, generate_scene(0).image, "Where?")
    assert int((inputs["input_ids"] == tiny.model.config.image_token_id).sum()) == 64


def test_special_tokens_are_one_id_each_and_digits_stand_alone(tiny):
    tokenizer = tiny.processor.tokenizer
    ids = tokenizer("".join(SPECIAL_TOKENS))["input_ids"]
    assert len(ids) == len(SPECIAL_TOKENS) == len(set(ids))
    assert tokenizer("1234").tokens() == ["1", "2", "3", "4"]


def test_text_of_any_kind_comes_back(tiny):
    tokenizer = tiny.processor.tokenizer
    text = 'Ünicode, 漢字 and {"json": [1, 2]}\n\n  end'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_table_has_room_for_all_tokens(tiny):
    assert tiny.model.get_input_embeddings().num_embeddings >= len(tiny.processor.tokenizer)


def test_seeds_give_weights_and_the_same_tokenizer(tiny):
    again, other = build_tiny_mllm(), build_tiny_mllm(seed=1)
    weight = "model.visual.blocks.0.attn.qkv.weight"
    assert torch.equal(again.model.state_dict()[weight], tiny.model.state_dict()[weight])
    assert not torch.equal(other.model.state_dict()[weight], tiny.model.state_dict()[weight])
    vocabularies = [m.processor.tokenizer.get_vocab() for m in (tiny, again, other)]
    assert vocabularies[0] == vocabularies[1] == vocabularies[2]


def test_saved_and_loaded_it_says_the_same(tiny, tmp_path):
    _, inputs = encode(tiny, generate_scene(1).image, "What is this?")
    save_mllm(tiny, tmp_path)
    loaded = load_mllm(tmp_path, device="cpu")
    before = tiny.model.generate(**inputs, max_new_tokens=8, do_sample=False)
    after = loaded.model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert torch.equal(before, after)
