"""What somebody else wrote comes out of a picture letter by letter, and has room there."""

from __future__ import annotations

import warnings
from xml.etree import ElementTree

import pytest

from sdp.report.plots import losses
from sdp.report.style import FOREGROUND
from sdp_onnx.bench.interval import Interval

SVG = "{http://www.w3.org/2000/svg}"
DROP = Interval(0.1, 0.0, 0.2)


def picture(*names: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return losses([(name, DROP) for name in names], "F1")


def width(drawn: str) -> float:
    return float(ElementTree.fromstring(drawn).attrib["viewBox"].split()[2])


@pytest.mark.parametrize(
    "name",
    [
        "a$b$c",
        r"$\frac$",
        r"50\$ or 60$",
        "<b>&amp;",
        'id="x" href="#y',
        FOREGROUND,
        "url(#z)",
        "東京の天気",
        "हिन्दी",
        "_hidden",
    ],
)
def test_a_name_is_drawn_as_it_is(name: str) -> None:
    drawn = ElementTree.fromstring(picture(name, "other"))
    assert name in [text.text for text in drawn.iter(f"{SVG}text")]


def test_the_page_gives_the_colour_and_ids_are_the_pictures_own() -> None:
    first, second = picture("a", "b"), picture("a", "c")
    assert "currentColor" in first
    assert FOREGROUND not in first
    ids = [
        {node.attrib["id"] for node in ElementTree.fromstring(p).iter() if "id" in node.attrib} for p in (first, second)
    ]
    assert len(ids[0]) > 10
    assert not ids[0] & ids[1]


def test_wide_letters_have_room_although_the_font_here_lacks_them() -> None:
    # 0.6 em is what is measured of each, and 1 em what it takes; 10.5 points are an em.
    name = "東" * 9
    assert width(picture(name, "b")) >= width(picture("x", "b")) + 8 * 10.5


@pytest.mark.parametrize("name", ["a name that is far too long for it", "東" * 40, "東a" * 20])
def test_a_long_name_leaves_text_readable_on_a_phone(name: str) -> None:
    drawn = picture(name, "b")
    assert "…" in drawn
    # Of 350 pixels, which is what a phone has beside margins.
    assert 10.5 * 350 / width(drawn) >= 8
