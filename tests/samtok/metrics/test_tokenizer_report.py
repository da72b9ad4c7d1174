"""The report of a tokenizer: sums by hand, and against direct calls of the library."""

import json

import numpy as np
import pytest

from samtok.metrics.baselines import BASELINES
from samtok.metrics.image_measures import ImageMeasures, MeasureConfig, measure_image
from samtok.metrics.tokenizer_report import TokenizerTally, evaluate_tokenizer
from samtok.scenes import generate_scene


def measures(codes, areas, iou):
    return ImageMeasures(
        codes=np.array(codes), areas=np.array(areas), figures={"iou": np.array(iou, np.float32)}
    )


FIRST = measures([[1, 2], [1, 2], [1, 3]], [50, 1023, 1024], [0.25, 0.5, 0.75])
SECOND = measures([[1, 2]], [100_000], [1.0])


def tally(*parts):
    result = TokenizerTally()
    for part, categories, groups in parts:
        result.add(part, categories, groups)
    return result.report()


@pytest.fixture(scope="module")
def report():
    return tally(
        (FIRST, ["cup", "", "cup"], {"thin": np.array([True, False, True])}),
        (SECOND, ["dog"], {"thin": np.array([False])}),
    )


def test_means_of_all_masks(report):
    assert report.num_images == 2
    assert report.overall.num_masks == 4
    assert report.overall.means == {"iou": 0.625}


def test_means_by_area(report):
    by_area = {name: (group.num_masks, group.means) for name, group in report.by_area.items()}
    assert by_area == {
        "small": (2, {"iou": 0.375}),
        "medium": (1, {"iou": 0.75}),
        "large": (1, {"iou": 1.0}),
    }
    counts = {name: g.num_masks for name, g in report.by_fine_area.items() if g.num_masks}
    assert counts == {"< 64": 1, "< 1,024": 1, "< 4,096": 1, ">= 65,536": 1}
    assert report.by_fine_area["< 512"].means == {}


def test_means_by_category_most_frequent_first(report):
    assert list(report.by_category) == ["cup", "dog"]
    assert report.by_category["cup"].num_masks == 2
    assert report.by_category["cup"].means == {"iou": 0.5}


def test_means_of_named_groups(report):
    assert report.by_group["thin"].num_masks == 2
    assert report.by_group["thin"].means == {"iou": 0.5}


def test_use_of_the_books_and_collisions(report):
    first, second = report.books
    assert (first.codes_in_use, first.dead_codes, first.perplexity) == (1, 255, 1)
    # Codes 2, 2, 3, 2: shares 3/4 and 1/4 have a perplexity of 4 / 3^(3/4).
    assert (second.codes_in_use, second.dead_codes) == (2, 254)
    assert second.perplexity == pytest.approx(4 / 3**0.75, abs=1e-6)
    assert second.histogram[2:4] == [3, 1]
    # The pair (1, 2) of another image does not collide.
    assert report.num_colliding_masks == 2


def test_the_order_of_images_does_not_show():
    rng = np.random.default_rng(0)
    parts = [
        (measures(rng.integers(0, 256, (5, 2)), rng.integers(1, 9999, 5), rng.random(5)), "abcab")
        for _ in range(50)
    ]
    forwards = tally(*((part, list(names), {}) for part, names in parts))
    backwards = tally(*((part, list(names), {}) for part, names in parts[::-1]))
    assert forwards.to_json() == backwards.to_json()


def test_nothing_gives_an_empty_report():
    report = tally()
    assert report.num_images == report.overall.num_masks == 0
    assert report.stability == {}
    json.dumps(report.to_json(), allow_nan=False)


def test_a_smaller_codebook_has_fewer_codes_to_be_dead():
    small = TokenizerTally(codebook_size=8)
    small.add(SECOND)
    assert [book.dead_codes for book in small.report().books] == [7, 7]
    assert [len(book.histogram) for book in small.report().books] == [8, 8]


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.fixture(scope="module")
def scenes():
    return [s for i in range(6) if len((s := generate_scene(i, split="val")).masks)]


def test_figures_are_what_the_library_gives(random_tokenizer, scenes):
    """IoU, first code, boxes and codes recomputed mask by mask."""
    images = [(s.image, s.masks, [o.category for o in s.objects]) for s in scenes]
    report = evaluate_tokenizer(random_tokenizer, images)
    rebuilt, first, boxes, pairs = [], [], [], []
    for scene in scenes:
        image = random_tokenizer.embed(scene.image)
        for mask in scene.masks:
            codes = random_tokenizer.encode(image, mask[None])
            rebuilt.append(overlap(random_tokenizer.decode(image, codes)[0].numpy(), mask))
            codes[:, 1] = -1
            first.append(overlap(random_tokenizer.decode(image, codes)[0].numpy(), mask))
            ys, xs = np.nonzero(mask)
            boxes.append(mask.sum() / (np.ptp(ys) + 1) / (np.ptp(xs) + 1))
            pairs.append(codes[0, 0].item())
    means = report.overall.means
    assert report.overall.num_masks == len(rebuilt)
    assert means["iou"] == pytest.approx(np.mean(rebuilt), abs=2e-6)
    assert means["first_code_iou"] == pytest.approx(np.mean(first), abs=2e-6)
    assert means["box"] == pytest.approx(np.mean(boxes), abs=2e-6)
    assert report.books[0].histogram == np.bincount(pairs, minlength=256).tolist()
    assert sum(g.num_masks for g in report.by_category.values()) == len(rebuilt)
    assert {b["name"] for b in report.baselines} == {b.name for b in BASELINES} < set(means)
    assert report.stability == {}
    json.dumps(report.to_json(), allow_nan=False)


def test_stability_is_reported_by_perturbation(random_tokenizer, scenes):
    config = MeasureConfig(baselines=(), stability=True, noise_sigma=4.0)
    images = [(s.image, s.masks, []) for s in scenes[:2]]
    report = evaluate_tokenizer(random_tokenizer, images, config=config, seed=3)
    assert list(report.stability) == ["shift", "dilate", "noise"]
    for figures in report.stability.values():
        assert list(figures) == [
            "pair_kept",
            "first_kept",
            "decoding_iou",
            "reconstruction_iou",
            "disturbed_iou",
        ]
        assert all(0 <= value <= 1 for value in figures.values())
    assert report.baselines == []
    assert report == evaluate_tokenizer(random_tokenizer, images, config=config, seed=3)


def test_chunks_do_not_change_the_figures(random_tokenizer, scenes, monkeypatch):
    scene = max(scenes, key=lambda s: len(s.masks))
    whole = measure_image(random_tokenizer, scene.image, scene.masks)
    monkeypatch.setattr("samtok.metrics.image_measures._MASK_PIXELS_AT_ONCE", 2 * 128 * 128)
    parts = measure_image(random_tokenizer, scene.image, scene.masks)
    assert np.array_equal(parts.codes, whole.codes)
    assert np.array_equal(parts.areas, scene.masks.sum(axis=(1, 2)))
    for name, values in whole.figures.items():
        assert parts.figures[name] == pytest.approx(values, abs=1e-6)


def test_an_image_without_masks_cannot_be_measured(random_tokenizer, scenes):
    with pytest.raises(ValueError, match="without masks"):
        measure_image(random_tokenizer, scenes[0].image, scenes[0].masks[:0])
