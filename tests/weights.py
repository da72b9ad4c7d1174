"""How far weights have moved, and how far apart two trainings ended."""


def find_distance(one, other, keys=None):
    """Euclidean distance between two sets of weights, over these keys or all of the first."""
    keys = one if keys is None else keys
    return sum(float((one[key] - other[key]).square().sum()) for key in keys) ** 0.5
