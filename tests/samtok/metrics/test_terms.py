"""Words that mean the same."""

import pytest

from samtok.metrics.terms import Terms

COLORS = Terms({"gray": "gray", "grey": "gray", "red": "red", "plum red": "plum"})


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("A Grey star beside a red one.", "gray"),
        ("a star that is red", "red"),
        ("a plum red star", "plum"),
        ("a redder, greyish star", None),
        ("", None),
    ],
)
def test_the_first_term_tells_what_a_text_is_about(text, meaning):
    assert COLORS.find_first(text) == meaning


def test_texts_agree_but_for_wording():
    assert COLORS.agree("It is grey.", "it is gray")
    assert COLORS.agree("the grey star", "A gray star!")
    assert not COLORS.agree("it is red", "it is gray")


def test_without_terms_texts_are_compared_as_they_are():
    assert Terms({}).agree("The cup.", "cup")
    assert Terms({}).find_first("cup") is None
