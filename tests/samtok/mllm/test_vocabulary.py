import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from transformers import AutoModelForImageTextToText, AutoProcessor

from samtok.errors import ConfigError
from samtok.mllm import extend_vocabulary, mask_token_ids, save_mllm
from samtok.tokenizer import SAMTok
from samtok.words import format_codes, list_mask_words
from tests.small_mllm import FAMILIES, PADDING_ROWS, build_small_mllm, build_tokenizer

WORDS = list_mask_words()
CONTEXTS = ["{}", "a{}b", " {} ", "{}{}", '[{{"mask_2d": "{}", "label": "cup"}}]', "\n{}\n", "<{}>"]


@pytest.fixture(params=FAMILIES)
def fresh(request):
    return build_small_mllm(request.param)


@pytest.mark.parametrize("context", CONTEXTS)
def test_each_word_is_one_token_in_any_context(fresh, context):
    tokenizer = fresh.tokenizer
    extend_vocabulary(fresh.model, fresh.processor)
    around = context.replace("{}", "").replace("{{", "{").replace("}}", "}")
    for word in WORDS[::37] + WORDS[:3] + WORDS[-1:]:
        text = context.format(*[word] * context.count("{}"))
        ids = tokenizer(text)["input_ids"]
        word_id = tokenizer.convert_tokens_to_ids(word)
        assert ids.count(word_id) == text.count(word)
        assert tokenizer.decode([i for i in ids if i != word_id]) == around
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_words_of_a_text_survive_decoding_without_special_tokens(fresh):
    extend_vocabulary(fresh.model, fresh.processor)
    span = format_codes([(11, 91)])[0]
    text = f"<|object_ref_start|>A cup<|object_ref_end|>{span}.<|im_end|>"

    ids = fresh.tokenizer(text)["input_ids"]

    assert fresh.tokenizer.decode(ids, skip_special_tokens=True) == f"A cup{span}."


def test_ids_are_next_to_each_other_after_the_old_ones_which_stay(fresh):
    before = dict(fresh.tokenizer.get_vocab())

    assert extend_vocabulary(fresh.model, fresh.processor) is False

    after = fresh.tokenizer.get_vocab()
    first = max(before.values()) + 1
    assert {word: after[word] for word in before} == before
    assert [after[word] for word in WORDS] == list(range(first, first + 514))
    ids = mask_token_ids(fresh.tokenizer)
    assert (ids.start, ids.end) == (first, first + 1)
    assert ids.book_0.tolist() == list(range(first + 2, first + 258))
    assert ids.book_1.tolist() == list(range(first + 258, first + 514))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("spare_rows", [0, 100, 514, 2000])
def test_tables_use_their_spare_rows_first_and_never_shrink(tied, spare_rows):
    mllm = build_small_mllm("qwen3_vl", tied=tied)
    num_tokens = len(mllm.tokenizer)
    mllm.model.resize_token_embeddings(num_tokens + spare_rows, mean_resizing=False)
    old = [weight.clone() for weight in _tables(mllm)]

    extend_vocabulary(mllm.model, mllm.processor)

    embeddings, head = _tables(mllm)
    assert (head is embeddings) is tied
    for table, before in zip((embeddings, head), old, strict=True):
        assert len(table) >= max(num_tokens + 514, len(before))
        assert len(table) == len(before) or (len(table) == 1024)
        assert torch.equal(table[:num_tokens], before[:num_tokens])
        if spare_rows > 514:  # rows that are still spare
            assert torch.equal(table[num_tokens + 514 :], before[num_tokens + 514 :])
    assert mllm.model.config.get_text_config().vocab_size == len(embeddings)
    assert mllm.model.lm_head.out_features == len(embeddings)


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_lie_around_the_mean_of_the_old_ones(tied):
    mllm = build_small_mllm("qwen2_5_vl", tied=tied)
    num_tokens = len(mllm.tokenizer)
    with torch.no_grad():
        for scale, table in enumerate(_tables(mllm), start=1):
            table.copy_(torch.randn_like(table) * torch.linspace(0.5, 2, table.shape[1]) + scale)
            table[num_tokens:] = 1000.0  # spare rows say nothing

    extend_vocabulary(mllm.model, mllm.processor)

    for table in _tables(mllm):
        old, new = table[:num_tokens], table[num_tokens : num_tokens + 514]
        scaled = (new - old.mean(0)) / (0.02 * old.std(0))
        assert scaled.mean().abs() < 0.05
        assert scaled.std(0).min() > 0.85
        assert scaled.std(0).max() < 1.15


def test_the_seed_decides_the_new_rows():
    tables = []
    for seed in (0, 0, 1):
        mllm = build_small_mllm("qwen3_vl")
        torch.manual_seed(len(tables))  # of no influence
        extend_vocabulary(mllm.model, mllm.processor, seed=seed)
        tables.append(_tables(mllm)[0])
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_rows_of_codes_lie_as_the_codes_do(fresh):
    """Within a book, the same ratios of distances; start and end are brackets; old rows stay."""
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    codebooks, _ = tokenizer.copy_codebooks()
    codebooks = codebooks[..., :6]  # two books fit into the model's channels
    before = _tables(fresh)[0].clone()
    old = sorted(fresh.tokenizer.get_vocab().values())

    extend_vocabulary(fresh.model, fresh.processor, codebooks=codebooks)

    table = _tables(fresh)[0]
    assert torch.equal(table[old], before[old])
    ids = mask_token_ids(fresh.tokenizer)
    brackets = fresh.tokenizer("[]")["input_ids"]
    assert torch.equal(table[[ids.start, ids.end]], before[brackets])
    for book, rows in zip(codebooks, (table[ids.book_0], table[ids.book_1]), strict=True):
        ratios = pdist(rows.detach().numpy()) / pdist(book)
        assert ratios.max() / ratios.min() == pytest.approx(1, rel=1e-3)
        deviation = (rows - before[old].mean(0)).square().mean().sqrt()
        expected = (before[old] - before[old].mean(0)).square().mean().sqrt()
        assert deviation.item() == pytest.approx(expected.item(), rel=0.02)


def test_rows_of_a_model_that_knows_its_words_stay(fresh):
    extend_vocabulary(fresh.model, fresh.processor)
    before = _tables(fresh)[0].clone()
    codebooks = np.random.default_rng(0).normal(size=(2, 256, 6)).astype(np.float32)
    extend_vocabulary(fresh.model, fresh.processor, codebooks=codebooks)
    assert torch.equal(_tables(fresh)[0], before)


def test_ids_and_rows_survive_saving_loading_and_a_second_call(fresh, tmp_path):
    extend_vocabulary(fresh.model, fresh.processor)
    vocabulary = fresh.tokenizer.get_vocab()
    rows = _tables(fresh)[0].clone()
    assert extend_vocabulary(fresh.model, fresh.processor) is True
    assert fresh.tokenizer.get_vocab() == vocabulary
    assert torch.equal(_tables(fresh)[0], rows)

    save_mllm(fresh, tmp_path)

    processor = AutoProcessor.from_pretrained(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert extend_vocabulary(model, processor) is True
    assert processor.tokenizer.get_vocab() == vocabulary
    assert torch.equal(model.get_input_embeddings().weight, rows)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    text = f"A cup {format_codes([(0, 255)])[0]}"
    ids = processor.tokenizer(text)["input_ids"]
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_tokenizer_extended_without_its_model_gets_rows():
    extended, plain = build_small_mllm("qwen3_vl"), build_small_mllm("qwen3_vl")
    extend_vocabulary(extended.model, extended.processor)

    assert extend_vocabulary(plain.model, extended.processor) is False

    assert torch.equal(_tables(plain)[0], _tables(extended)[0])


def test_words_that_are_missing_are_found_out(fresh):
    with pytest.raises(ConfigError, match="lacks 514 of 514 mask words"):
        mask_token_ids(fresh.tokenizer)


def test_the_plain_tokenizer_splits_the_words():
    """Otherwise the tests above would prove nothing."""
    assert len(build_tokenizer()(WORDS[0])["input_ids"]) > 1
    assert PADDING_ROWS < 514


def _tables(mllm):
    return (
        mllm.model.get_input_embeddings().weight,
        mllm.model.get_output_embeddings().weight,
    )
