"""A bundle of somebody who means ill, as a demo: its words are text, and the page runs the model."""

from __future__ import annotations

import pytest

from .made import model
from .served import Written, opened

RUN = "window.ran=1"
ATTACKS = (
    f"</h1></title><script>{RUN}</script>",
    f'" autofocus onfocus="{RUN}" onmouseover="{RUN}',
    f"<img src=x onerror={RUN}> {{{{ 7 * 7 }}}} \u2028 \u202egnp.exe\u202c",
)


@pytest.fixture(scope="module")
def demo(web_runtime, tmp_path_factory):
    facts = {"author": ATTACKS[0], "license": f"javascript:{RUN}", "comment": ATTACKS[1], "gear_make": ATTACKS[2]}
    hostile = model("knobbed", **facts)._replace(name=ATTACKS[0], control_names=ATTACKS[1:])
    written = Written(tmp_path_factory.mktemp("hostile"), hostile)
    yield written
    written.server.shutdown()
    written.server.server_close()


def test_words_of_a_bundle_are_text(chromium, demo):
    visit = opened(chromium, demo)
    page = visit.page
    for element in page.locator("label, dd, h1").all():
        element.dispatch_event("mouseover")
    assert page.evaluate("window.ran") is None
    assert visit.wrong == []
    assert all(url.startswith((demo.address, "data:", "blob:")) for url in visit.asked)
    assert page.locator("h1").text_content() == ATTACKS[0]
    assert page.locator("#knobs label").all_text_contents() == list(ATTACKS[1:])
    told = page.locator("section dl").last.text_content()
    assert all(text in told for text in (*ATTACKS, f"javascript:{RUN}"))
    assert page.locator("img, [onerror], [onfocus], [onmouseover], a[href^='javascript']").count() == 0
    # and had it become an element, its policy would keep it from running
    page.evaluate(f"document.body.insertAdjacentHTML('beforeend', `<img src=x onerror={RUN}>`)")
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in line for line in visit.wrong)
