"""Words that mean the same."""

import pytest

from samtok.metrics.terms import Terms

COLORS = Terms({"gray": "gray", "grey": "gray", "red": "red", "plum red": "plum"})


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("A Grey star, behind the red one.", "gray"),
        ("The grey star", "gray"),
        ("the star left of the red one", None),
        ("a star that is red", "red"),
        ("a plum red star", "plum"),
        ("a redder, greyish star", None),
        ("other grey star", "gray"),
        ("", None),
    ],
)
def test_the_first_term_of_the_subject_tells_what_a_text_is_about(text, meaning):
    assert COLORS.find_in_subject(text) == meaning


def test_texts_agree_but_for_wording():
    assert COLORS.agree("It is grey.", "it is gray")
    assert COLORS.agree("the grey star", "A gray star!")
    assert not COLORS.agree("it is red", "it is gray")


def test_without_terms_texts_are_compared_as_they_are():
    assert Terms({}).agree("The cup.", "cup")
    assert Terms({}).find_in_subject("cup") is None
