"""The colour that a phrase begins with."""

import pytest

from sfumato.condition.colors import HSV, NO_COLOR, split_color


def test_a_colour_is_taken_off_and_its_hue_is_in_turns():
    assert split_color("blue apple") == ("apple", (213 / 360, 0.76, 0.90))
    assert split_color("red sports car") == ("sports car", (0.0, 0.82, 0.88))


def test_a_shade_and_further_colours_are_taken_off_too():
    assert split_color("dark blue apple") == ("apple", (213 / 360, 0.76, 0.6 * 0.90))
    assert split_color("red and blue apple") == ("apple", (0.0, 0.82, 0.88))
    assert split_color("light bulb")[1] == split_color("dark blue")[1] == NO_COLOR


@pytest.mark.parametrize("phrase", ["apple", "blue", "", "blueberry muffin", "red heart"])
def test_what_has_none_or_is_a_name_stays(phrase: str):
    assert split_color(phrase, frozenset({"red heart"})) == (phrase, NO_COLOR)


def test_every_colour_is_in_range():
    assert all(0 <= h < 360 and 0 <= s <= 1 and 0 <= v <= 1 for h, s, v in HSV.values())
