"""Algorithm 4 against the documents' numbers, against its loops as they stand, and a kernel."""

import itertools
import time
from typing import Any

import numpy as np
import pytest

from jnn.tuning import naive_accesses, tiled_accesses, work_size
from tests.golden import golden


def loops(image, window, *, planes, largest, tiles, group, memory, item, padding):
    """Algorithm 4, corrected, one hypothesis after the other; and how many there were."""
    (s_x, s_y), (r_x, r_y) = image, (window[0] - 1, window[1] - 1)
    best, least, hypotheses = None, np.inf, 0
    for p_x, p_y in itertools.product(range(padding + 1), repeat=2):
        for s_lx, s_ly in itertools.product(range(1, largest + 1), repeat=2):
            g_x, g_y = s_x + p_x - r_x, s_y + p_y - r_y
            if g_x % s_lx or g_y % s_ly or g_x * g_y / (s_lx * s_ly) < tiles:
                continue
            if s_lx * s_ly > group or (s_lx + r_x) * (s_ly + r_y) > memory / item:
                continue
            hypotheses += 1
            load = r_x * s_ly + r_y * s_lx + r_x * r_y + s_lx * s_ly
            accesses = planes * g_x * g_y + g_x * g_y / (s_lx * s_ly) * load
            if accesses < least:
                best, least = ((s_lx, s_ly), (p_x, p_y), accesses), accesses
    return best, hypotheses


@pytest.mark.parametrize("name", ["ALG4-0", "ALG4-1", "ALG4-2", "ALG4-3"])
def test_golden(name):
    case = golden(name)
    g, out = case["inputs"], case["outputs"]
    args = ((g["Sx"], g["Sy"]), (g["Fx"], g["Fy"]))
    settings: Any = {
        "planes": g["Sz"], "largest": g["S_l_max"], "tiles": g["U"], "group": g["work_group_max"],
        "memory": g["local_mem"], "item": 1, "padding": g["P_max"],
    }  # fmt: skip
    found = work_size(*args, **settings)
    assert (*found.tile, *found.padding) == tuple(out["best_Slx_Sly_Px_Py"])
    assert found.accesses == out["accesses"]
    assert loops(*args, **settings)[1] == out["n_hypotheses"]


def test_equals_its_loops(random):
    fitting = 0
    for _ in range(30):
        window = tuple(random.integers(1, 5, 2).tolist())
        image = tuple((window + random.integers(0, 14, 2)).tolist())
        settings: Any = {
            "planes": int(random.integers(1, 4)), "largest": int(random.integers(1, 12)),
            "tiles": int(random.integers(1, 6)), "group": int(random.integers(1, 60)),
            "memory": int(random.integers(16, 400)), "item": int(random.choice([1, 2, 4])),
            "padding": int(random.integers(0, 4)),
        }  # fmt: skip
        expected, _ = loops(image, window, **settings)
        if expected is None:
            with pytest.raises(ValueError, match="such that some tile fits"):
                work_size(image, window, **settings)
        else:
            fitting += 1
            assert tuple(work_size(image, window, **settings)) == expected
    assert fitting > 10


def test_a_large_problem_is_planned_within_a_second():
    start = time.process_time()
    found = work_size((512, 512), (7, 7), planes=64, tiles=132, memory=2**17)
    assert time.process_time() - start < 1
    assert tiled_accesses(
        (512, 512), (7, 7), found.tile, planes=64, padding=found.padding
    ) == found.accesses < naive_accesses((512, 512), (7, 7), planes=64)  # fmt: skip


def test_accesses_are_those_that_a_kernel_makes():
    image, window, tile = np.zeros((9, 11)), (3, 4), (7, 2)
    outputs = [s - f + 1 for s, f in zip(image.shape, window, strict=True)]
    naive = read = 0
    for x, y in np.ndindex(*outputs):
        naive += image[x : x + 3, y : y + 4].size
        if x % tile[0] == y % tile[1] == 0:
            read += image[x : x + tile[0] + 2, y : y + tile[1] + 3].size
    assert naive == naive_accesses(image.shape, window)
    written = outputs[0] * outputs[1]
    assert read + written == tiled_accesses(image.shape, window, tile)
    as_printed = (9 - 4) * (11 - 5) * 12  # with R = F + 1
    assert as_printed != naive


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"work_size: `window` must be within an image of size 4"):
        work_size((4, 9), (5, 3))
    with pytest.raises(ValueError, match=r"`tile` must be such that it divides the outputs \(7, 7"):
        tiled_accesses((9, 9), (3, 3), (2, 7))
    with pytest.raises(ValueError, match=r"naive_accesses: `window` must be within the image"):
        naive_accesses((2, 2), (3, 1))
