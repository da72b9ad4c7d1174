"""Which masks are shown."""

from pipelines.evaluation.pictures import Candidates, FoundMask


def row(image_id, iou, positions=None):
    return {
        "image_id": image_id,
        "reference": f"ref-{image_id}",
        "positions": list(range(len(iou))) if positions is None else positions,
        "figures": [{"name": "box", "values": [0.0] * len(iou)}, {"name": "iou", "values": iou}],
    }


ROWS = [row("b", [0.5, 0.1], [3, 7]), row("a", [0.9, 0.2, 0.6]), row("c", [])]


def choose(rows, num_masks):
    candidates = Candidates()
    for item in rows:
        candidates.add(item)
    return candidates.choose(num_masks)


def test_worst_median_and_best():
    # In order: b7 0.1, a1 0.2, b3 0.5, a2 0.6, a0 0.9.
    assert choose(ROWS, 1) == {
        "worst": [FoundMask("ref-b", 7)],
        "median": [FoundMask("ref-b", 3)],
        "best": [FoundMask("ref-a", 0)],
    }
    assert choose(ROWS, 2)["worst"] == [FoundMask("ref-b", 7), FoundMask("ref-a", 1)]
    assert choose(ROWS, 2)["best"] == [FoundMask("ref-a", 0), FoundMask("ref-a", 2)]


def test_the_order_of_arrival_does_not_matter():
    ties = [row(name, [0.5, 0.5]) for name in "dcba"]
    assert choose(ties, 3) == choose(ties[::-1], 3)
    assert choose(ties, 1)["worst"] == [FoundMask("ref-a", 0)]


def test_fewer_masks_than_asked_for():
    assert len(choose(ROWS, 50)["median"]) == 5
    assert choose([ROWS[2]], 3) == {}
    assert choose(ROWS, 0) == {}
