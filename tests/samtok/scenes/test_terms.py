"""The words of scenes by what they stand for: what the language writes is recognised."""

import numpy as np
import pytest

from samtok.metrics.terms import Terms
from samtok.scenes.paint import COLORS, TEXTURES
from samtok.scenes.plan import list_categories
from samtok.scenes.queries import Query
from samtok.scenes.terms import TERM_KINDS, list_terms
from samtok.scenes.wording import name_query

KINDS = {kind: Terms(list_terms(kind)) for kind in TERM_KINDS}


@pytest.mark.parametrize("plural", [False, True])
def test_a_description_names_what_it_was_made_of(plural):
    rng = np.random.default_rng(0)
    for category in list_categories():
        for color in COLORS:
            texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
            query = Query(category=category, color=color, texture=texture)
            text = name_query(query, rng, plural=plural)
            found = {kind: KINDS[kind].find_in_subject(text) for kind in TERM_KINDS[:3]}
            assert found == {"category": category, "color": color, "texture": texture}, text


def test_synonyms_agree():
    assert KINDS["predicate"].agree("is to the left of", "lies to the left of")
    assert not KINDS["predicate"].agree("is left of", "is right of")
