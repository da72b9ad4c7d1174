import pytest
import torch

from samtok.mllm.positions import find_positions

IMAGE = 9


def test_positions_of_text_and_an_image_by_hand():
    ids = torch.tensor([1, 2, *[IMAGE] * 6, 3, 4])

    positions = find_positions(ids, IMAGE, torch.tensor([[1, 4, 6]]), merge_size=2)

    assert positions.tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
    ]


@pytest.mark.parametrize("grids", [[[1, 4, 6]], [[1, 8, 4], [1, 4, 6]], []])
def test_positions_equal_those_of_the_models(small_mllm, grids):
    image_id = small_mllm.processor.image_token_id
    ids = [5] * 3
    for index, (time, height, width) in enumerate(grids):
        ids += [image_id] * (time * height * width // 4) + [7] * (index + 2)
    ids = torch.tensor(ids)
    grid = torch.tensor(grids, dtype=torch.long).view(-1, 3)

    theirs, _ = small_mllm.model.model.get_rope_index(
        ids[None], mm_token_type_ids=(ids == image_id).int()[None], image_grid_thw=grid
    )

    assert torch.equal(find_positions(ids, image_id, grid, 2), theirs[:, 0])


def test_placeholders_must_fill_the_grids():
    with pytest.raises(ValueError, match="5 image tokens"):
        find_positions(torch.tensor([IMAGE] * 5), IMAGE, torch.tensor([[1, 4, 6]]), merge_size=2)
