"""The page in a real browser, from disk: it fits a phone and a desk, light and dark, and asks nobody for anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 1280)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The wrapper reads the page beside it.
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
    "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--window-size=1400,1000",
    "--dump-dom",
)

# The page in a frame as wide as the screen; what is measured is what the frame says of itself.
WRAPPER = """<!doctype html><title>screens</title>
%s
<pre></pre>
<script>
addEventListener("load", () => {
  const measured = [...document.querySelectorAll("iframe")].map(({ contentWindow: frame }) => {
    const page = frame.document;
    return {
      width: frame.innerWidth,
      room: page.scrollingElement.clientWidth,
      scrolled: page.scrollingElement.scrollWidth,
      dark: frame.matchMedia("(prefers-color-scheme: dark)").matches,
      back: frame.getComputedStyle(page.body).backgroundColor,
      loaded: frame.performance.getEntriesByType("resource").map(entry => entry.name),
      smallest: Math.min(...[...page.querySelectorAll("svg")].flatMap(svg => [...svg.querySelectorAll("text")].map(
        text => parseFloat(frame.getComputedStyle(text).fontSize)
          * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width))),
      pictures: page.querySelectorAll("svg").length,
    };
  });
  document.querySelector("pre").textContent = JSON.stringify(measured);
});
</script>"""


def look(page: Path, folder: Path, *, dark: bool) -> list[dict]:
    """Measure a page at all widths; nothing may be said on the console."""
    assert CHROMIUM is not None
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="border:0;width:{width}px;height:800px"></iframe>' for width in WIDTHS
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(WRAPPER % frames, encoding="utf-8")
    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [CHROMIUM, *FLAGS, *scheme, f"--user-data-dir={folder / 'profile'}", wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    output = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert output == []
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stdout[-500:]
    measured: list[dict] = json.loads(found.group(1))
    return measured


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_phone_and_desk(dark: bool, finished: Path, tmp_path: Path) -> None:
    screens = look(finished / "runs/toy/report.html", tmp_path, dark=dark)
    assert [screen["width"] for screen in screens] == list(WIDTHS)
    for screen in screens:
        assert screen["scrolled"] <= screen["room"] <= screen["width"]
        assert screen["dark"] == dark
        assert screen["back"] == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
        assert screen["loaded"] == []
        assert screen["pictures"] >= 8
        assert screen["smallest"] >= 8, "pixels of the smallest text in a picture"
