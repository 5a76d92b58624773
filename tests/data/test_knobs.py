"""Controls are what the settings names say, or one error says all that is wrong with the names."""

from __future__ import annotations

import pytest

from nablafx.data import DataError
from nablafx.data.knobs import parse_setting, read_controls


@pytest.mark.parametrize(
    ("setting", "knobs"),
    [
        ("C030_R050_L060", (("C", "030"), ("R", "050"), ("L", "060"))),
        ("MNormal_DSi", (("M", "Normal"), ("D", "Si"))),
        ("Dr100", (("Dr", "100"),)),
    ],
)
def test_names_split_into_letter_and_value(setting, knobs):
    assert parse_setting(setting) == knobs


@pytest.mark.parametrize(
    ("controls", "names", "values"),
    [
        (["D", "T"], ("D", "T"), (0.6, 0.02)),
        (["T", "D"], ("T", "D"), (0.02, 0.6)),
        ([1], ("T",), (0.02,)),
        (["0", 1], ("D", "T"), (0.6, 0.02)),
    ],
)
def test_letters_and_indices_choose_knobs_in_the_order_asked(controls, names, values):
    found, table = read_controls(["D060_T002_MNormal", "D100_T000_MNormal"], controls)
    assert found == names
    assert table["D060_T002_MNormal"] == values


@pytest.mark.parametrize(
    ("settings", "controls", "words"),
    [
        (["D060_T020"], ["Tone"], ["'Tone'", "D060_T020", "did you mean T?"]),
        (["D060_T020"], ["d"], ["'d'", "did you mean D?"]),
        (["D060_T020"], [2], ["no knob number 2", "0: D, 1: T"]),
        (["D060_D020"], ["D"], ["several knobs", "give the number"]),
        (["D060_MHigh"], ["M"], ["D060_MHigh", "'High'", "not numeric", "leave M out"]),
        (["D160"], ["D"], ["D160", "percentage", "rename it"]),
        (["D060_T020", "D060_G020"], ["D"], ["D060_G020", "has the knobs D, G", "D060_T020 has D, T"]),
        (["1-clean"], ["D"], ["1-clean", "names no knob", "D060_T020"]),
    ],
)
def test_errors_name_the_setting_and_the_fix(settings, controls, words):
    with pytest.raises(DataError) as error:
        read_controls(settings, controls)
    for word in words:
        assert word in str(error.value)


def test_all_wrong_values_are_in_one_error():
    with pytest.raises(DataError) as error:
        read_controls(["D060_T020", "DHigh_T020", "D060_T130"], ["D", "T"])
    assert "DHigh_T020" in str(error.value)
    assert "D060_T130" in str(error.value)
