"""METEOR and CIDEr, where the extra and Java are installed."""

import pytest

from samtok.errors import ConfigError
from samtok.metrics import captions
from samtok.metrics.captions import explain_missing_scorers, score_captions

REFERENCES = [["a red star beside the blue circle"], ["the small green cup on a table"]]


@pytest.mark.slow
@pytest.mark.skipif(explain_missing_scorers() is not None, reason=str(explain_missing_scorers()))
def test_perfect_captions_have_the_highest_scores_and_worse_ones_less():
    perfect = score_captions(["A red star\nbeside the blue circle.", REFERENCES[1][0]], REFERENCES)
    assert perfect.cider == pytest.approx(10)
    assert perfect.meteor == pytest.approx(1)
    worse = score_captions(["a red star by a big blue circle", "a green cup"], REFERENCES)
    assert 0 < worse.cider < 10
    assert 0 < worse.meteor < 1


def test_a_missing_scorer_is_named(monkeypatch):
    monkeypatch.setattr(captions, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pycocoevalcap"):
        score_captions(["a"], [["a"]])
    monkeypatch.setattr(captions, "find_spec", lambda name: object())
    monkeypatch.setattr(captions.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="Java"):
        score_captions(["a"], [["a"]])
