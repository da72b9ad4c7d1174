"""Figures by task; what each is made of is tested where it is made."""

import json

import pytest

from samtok.answer_forms import REF_END, REF_START
from samtok.metrics.answer_measures import AnswerMeasures
from samtok.metrics.captions import CaptionScores
from samtok.metrics.model_report import ModelTally
from samtok.metrics.segmentation import Overlap
from samtok.metrics.task_figures import Language
from samtok.metrics.terms import Terms
from samtok.words import format_codes

A, B, C = format_codes([(1, 2), (3, 4), (1, 9)])
HALF, NONE, REFUSED = Overlap(1, 1, 2), Overlap(0, 1, 0), Overlap(0, 0, 0)
COLORS = Terms({"grey": "gray", "gray": "gray", "red": "red"})
SHAPES = Terms({"cup": "cup", "pot": "pot"})


def measures(*overlaps, **changes):
    empty = {"has_right_box": None, "phrase_ious": [], "subject_ious": [], "object_ious": []}
    return AnswerMeasures(overlaps=overlaps, **{**empty, **changes})


def report(*conversations, score_captions=None):
    kinds = {"color": COLORS, "category": SHAPES}
    language = Language(kinds=kinds, wording=COLORS, score_captions=score_captions)
    tally = ModelTally(language)
    for conversation in conversations:
        tally.add(*conversation)
    return tally.report()


def test_referring_segmentation():
    figures = report(
        ("referring_segmentation", [A], [A], measures(HALF, has_right_box=True)),
        ("referring_segmentation", ["No target."], ["No target."], measures(REFUSED)),
        ("referring_segmentation", [C], ["No target."], measures(NONE)),
        ("referring_segmentation", [f"{A} {C[:-10]}"], [B], measures(HALF, has_right_box=False)),
    )["referring_segmentation"]
    assert figures == pytest.approx(
        {
            "conversations": 4,
            "g_iou": (0.5 + 1 + 0 + 0.5) / 4,
            "c_iou": 2 / (2 + 0 + 1 + 2),
            "n_acc": 0.5,
            "t_acc": 1,
            "rec_accuracy": 0.5,
            "words_exact": 1 / 2,
            "words_first": 1 / 2,
            "words_all_exact": 2 / 4,
            "well_formed": 3 / 4,
        }
    )


def test_rounds():
    figures = report(
        ("interactive_segmentation", [A, B], [A, B], measures(HALF, NONE)),
        ("interactive_segmentation", [A], [A], measures(Overlap(2, 2, 2))),
    )["interactive_segmentation"]
    assert figures["c_iou_round_1"] == pytest.approx(3 / 4)
    assert figures["c_iou_round_2"] == 0
    assert figures["g_iou"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert figures["words_exact"] == 1


def ref(phrase, words):
    return f"{REF_START}{phrase}{REF_END}{words}"


def test_grounded_conversation():
    spoken = []

    def score(captions, references):
        spoken.append((captions, references))
        return CaptionScores(meteor=0.25, cider=1.5)

    answer = f"{ref('Grey cup', A)} by {ref('pot', '')}."
    target = f"{ref('a gray cup', A)} on {ref('table', B)}."
    figures = report(
        ("grounded_conversation", [answer], [target], measures(HALF, phrase_ious=[[0.8, 0.1]])),
        score_captions=score,
    )["grounded_conversation"]
    assert spoken == [(["Grey cup by pot."], [["a gray cup on table."]])]
    assert figures["mean_iou"] == pytest.approx(0.8)
    assert figures["recall"] == 1 / 2
    assert figures["phrases_named"] == 1 / 2
    assert (figures["meteor"], figures["cider"]) == (0.25, 1.5)


def test_scene_graph_labels_are_compared_by_meaning():
    def graph(color):
        end = {"mask_2d": A, "label": f"{color} cup"}
        return json.dumps([{"subject": end, "predicate": "On", "object": end}])

    found = measures(HALF, subject_ious=[[0.6]], object_ious=[[0.5]])
    grey = report(("scene_graph", [graph("grey")], [graph("gray")], found))["scene_graph"]
    assert (grey["triplet_recall"], grey["triplet_mean_recall"]) == (1, 1)
    red = report(("scene_graph", [graph("red")], [graph("gray")], found))["scene_graph"]
    assert red["triplet_recall"] == 0


def test_region_captioning_judges_what_a_full_description_names():
    figures = report(
        ("region_captioning", ["A grey cup."], ["a gray pot"], measures(REFUSED)),
        ("region_captioning", ["A cup by the red pot."], ["a red cup"], measures(REFUSED)),
        ("region_captioning", ["A gray pot."], ["a grey pot by the red cup"], measures(REFUSED)),
        ("region_captioning", ["The red thing."], ["the cup"], measures(REFUSED)),
    )["region_captioning"]
    assert figures == pytest.approx(
        {"conversations": 4, "names_color": 2 / 3, "names_category": 2 / 3}
    )


def test_questions_are_judged_by_words_and_some_by_masks():
    figures = report(
        ("region_vqa", ["It is grey."], ["it is gray"], measures(REFUSED)),
        ("region_vqa", [f"Two. {A}"], [f"three. {B}"], measures(HALF)),
        ("general_vqa", ["yes"], ["Yes."], measures(REFUSED)),
    )
    assert figures["region_vqa"] == pytest.approx(
        {"conversations": 2, "accuracy": 0.5, "g_iou": 0.5}
    )
    assert figures["general_vqa"] == {"conversations": 1, "accuracy": 1}
