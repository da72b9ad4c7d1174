import pytest

from jobs.extend_vocabulary import ExtendVocabularyConfig, run
from samtok.errors import ConfigError
from samtok.mllm import load_mllm, mask_token_ids, save_mllm
from tests.small_mllm import build_small_mllm


def test_a_model_gets_the_words_once(run_job, tmp_path):
    model = save_mllm(build_small_mllm("qwen3_vl"), tmp_path / "model")
    first, second = tmp_path / "first", tmp_path / "second"

    done = run_job("extend_vocabulary", "--model", model, "--output", first)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "now has all mask words: 900 tokens, 1024 rows (606 new)" in done.stdout
    again = run(ExtendVocabularyConfig(model=str(first), output=str(second)))
    assert "had all mask words: 900 tokens, 1024 rows (0 new)" in again.report[0]
    ids = [mask_token_ids(load_mllm(f, device="cpu").tokenizer) for f in (first, second)]
    assert ids[0].book_1.tolist() == ids[1].book_1.tolist()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not an empty folder"):
        ExtendVocabularyConfig(model="tiny", output=str(tmp_path))
