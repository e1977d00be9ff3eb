"""The page in a real browser: what experts do with it, and what texts try to do to it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from experts.page.serving import TASK, Page, choose, made_up, served

from redct.documents import Document
from redct.experts import Answer, Ledger, verdicts

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs the Debian package chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


class Seat:
    """An annotator at the page, by keyboard alone; everything the page complains about is noted."""

    def __init__(self, browser: Any, page: Page, name: str, **settings: Any) -> None:
        self.complaints: list[str] = []
        self.name = name
        self.context = browser.new_context(**settings)
        self.tab = self.open(page.opening)
        self.tab.locator("#name").wait_for()
        self.tab.keyboard.type(name)  # the field has the focus
        self.tab.keyboard.press("Enter")
        self.wait()

    def open(self, url: str) -> Any:
        tab = self.context.new_page()
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (self.complaints.append("a dialog"), dialog.dismiss()))
        tab.goto(url)
        return tab

    def wait(self, tab: Any = None) -> None:
        (tab or self.tab).locator("#text:visible, #end:visible").first.wait_for()
        (tab or self.tab).locator("body:not([aria-busy])").wait_for()

    def press(self, *keys: str, tab: Any = None) -> None:
        for key in keys:
            (tab or self.tab).keyboard.press(key)
            self.wait(tab)

    def text(self) -> str:
        return str(self.tab.locator("#text").text_content())

    def progress(self) -> str:
        return str(self.tab.locator("#progress span").first.text_content())


def recorded(page: Page) -> list[Answer]:
    with Ledger(page.errors.with_suffix(".sqlite")) as ledger:
        return ledger.answers()


def said(page: Page, name: str) -> list[tuple[str, str | None]]:
    return [(answer.kind, answer.label) for answer in recorded(page) if answer.annotator == name]


def test_thirty_documents_by_keyboard_alone(browser: Any, tmp_path: Path) -> None:
    documents = made_up(33)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents) as page:
        anna = Seat(browser, page, "anna")
        seen = []
        for n in range(15):
            seen.append(anna.text())
            anna.press("123"[n % 3])
        anna.tab.reload()
        anna.wait()
        assert anna.progress() == "15 of 33 answered"
        for n in range(15, 30):
            seen.append(anna.text())
            anna.press("123"[n % 3])
        assert len(set(seen)) == 30
        anna.press("u")
        assert anna.text() == seen[-1]
        anna.press("3", "s")
        anna.tab.keyboard.press("f")
        anna.tab.locator("dialog[open]").wait_for()
        anna.tab.keyboard.type("us 1: two posts in one")  # no shortcut while a note is written
        anna.tab.keyboard.press("Control+Enter")
        anna.tab.get_by_text("32 of 33 answered").wait_for()
        # Back to an answered one, which shows its answer and can be changed.
        anna.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
        assert anna.tab.locator("#stands").text_content() == "You answered: neutral"
        anna.press("1")
        assert anna.progress() == "32 of 33 answered"
        anna.tab.keyboard.press("f")
        anna.tab.locator("dialog[open]").wait_for()
        anna.tab.keyboard.press("Escape")
        anna.tab.locator("dialog[open]").wait_for(state="detached")
        anna.press("2")
        assert anna.tab.locator("#end h1").text_content() == "All done"
        assert anna.complaints == []

        by_text = {document.text: document.id for document in documents.values()}
        order, labels = [by_text[text] for text in seen], TASK["labels"]
        found = verdicts(recorded(page))
        expected = {document: labels[n % 3] for n, document in enumerate(order)}
        expected[order[29]] = labels[0]
        votes = {document: verdict.votes.get("anna") for document, verdict in found.items() if verdict.votes}
        (last,) = {document for document, label in votes.items() if document not in expected}
        assert votes == expected | {last: labels[1]}
        assert [v.flagged for v in found.values() if v.flagged] == [{"anna": "us 1: two posts in one"}]
        assert [v.skipped for v in found.values() if v.skipped] == [["anna"]]
        assert len(found) == 33
        durations = [answer.duration_seconds for answer in recorded(page) if answer.kind != "undo"]
        assert all(0 <= seconds < 60 for seconds in durations)
        assert [kind for kind, _ in said(page, "anna")].count("undo") == 1


def test_two_annotators_at_once_and_who_settles_it(browser: Any, tmp_path: Path) -> None:
    documents = made_up(8)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents, annotators=["anna", "ben"], overlap=0.5) as page:
        seats = []
        for name in ("anna", "ben"):
            seat = Seat.__new__(Seat)
            seat.complaints, seat.name, seat.context = [], name, browser.new_context()
            seat.tab = seat.open(page.opening)
            seat.tab.get_by_role("radio", name=name).check()
            seat.tab.keyboard.press("Enter")
            seat.wait()
            seats.append(seat)
        anna, ben = seats
        assert anna.progress() == ben.progress() == "0 of 6 answered"
        for _ in range(6):
            anna.press("1")
            ben.press("2")
        assert anna.tab.locator("#end h1").text_content() == "All done"
        ben.tab.locator("#settle").wait_for()
        ben.tab.keyboard.press("Tab")
        ben.tab.locator("#settle").click()
        ben.wait()
        assert ben.progress() == "0 of 4 settled"
        assert ben.tab.locator("#answers li").all_text_contents() == ["annafor", "benagainst"]
        ben.press("1", "3", "u")
        assert ben.progress() == "1 of 4 settled"
        assert [a.label for a in recorded(page) if a.kind == "resolution"] == ["for", "neutral"]
        found = verdicts(recorded(page))
        assert sorted(len(verdict.votes) for verdict in found.values()) == [1, 1, 1, 1, 2, 2, 2, 2]
        assert [verdict.resolution for verdict in found.values() if verdict.resolution] == ["for"]
        assert anna.complaints == ben.complaints == []


def test_a_double_click_and_two_tabs_make_one_answer(browser: Any, tmp_path: Path) -> None:
    documents = made_up(4)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents) as page:
        anna = Seat(browser, page, "anna")
        other = anna.open(page.url)
        anna.wait(other)
        anna.tab.locator("button.label").first.dblclick()
        anna.wait()
        anna.tab.get_by_text("1 of 4 answered").wait_for()
        assert said(page, "anna") == [("label", "for")]
        anna.press("2", tab=other)  # still shows the first document
        assert "another window" in other.locator("#notice").text_content()
        assert said(page, "anna") == [("label", "for")]
        anna.press("2", tab=other)
        assert said(page, "anna") == [("label", "for"), ("label", "against")]


def test_an_answer_outlives_a_server_that_is_away(browser: Any, tmp_path: Path) -> None:
    documents = made_up(4)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents) as page:
        anna = Seat(browser, page, "anna")
        anna.press("1")
        anna.tab.context.set_offline(True)
        anna.press("2")
        trouble = anna.tab.locator("#trouble")
        trouble.wait_for()
        assert "Not saved yet: against" in trouble.text_content()
        anna.tab.context.set_offline(False)
        anna.press("3")  # tries again what was kept, whatever the key
        trouble.wait_for(state="hidden")
        assert said(page, "anna") == [("label", "for"), ("label", "against")]
        page.stop(signal.SIGKILL)
        anna.press("3")
        assert "Not saved yet: neutral" in trouble.text_content()
    with served(ledger, documents) as page:
        anna = Seat(browser, page, "anna")
        assert anna.progress() == "2 of 4 answered"
        anna.press("3")
        assert said(page, "anna") == [("label", "for"), ("label", "against"), ("label", "neutral")]


def test_time_counts_while_the_page_is_looked_at(browser: Any, tmp_path: Path) -> None:
    documents = made_up(4)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents) as page:
        anna = Seat(browser, page, "anna")
        anna.tab.clock.install()
        anna.tab.reload()
        anna.wait()
        hide = "h => {Object.defineProperty(document, 'hidden', {value: h, configurable: true});"
        hide += "document.dispatchEvent(new Event('visibilitychange'))}"
        anna.tab.clock.fast_forward(50_000)
        anna.press("1")
        anna.tab.clock.fast_forward(3_600_000)  # gone for an hour, with the page open
        anna.press("1")
        anna.tab.clock.fast_forward(10_000)
        anna.tab.evaluate(hide, True)
        anna.tab.clock.fast_forward(60_000)
        anna.tab.evaluate(hide, False)
        anna.tab.clock.fast_forward(20_000)
        anna.press("1")
        # The clock runs on between what it is told, so that a little may be added.
        for answer, expected in zip(recorded(page), (50, 120, 30), strict=True):
            assert expected <= answer.duration_seconds < expected + 5


BIDI = "\u202eright to left\u2066 and \u2069 back"
HOSTILE = {
    "script": "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
    "template": "{{ 7 * 7 }} {% raw %} </textarea></main><style>body{display:none}</style>",
    "bidi": BIDI,
    "long": "All work and no play. " * 50_000,
    "line": "x" * 1_000_000,
    "arabic": "أؤيد الخطة 👩‍👩‍👧 🇪🇺\nسطر ثان",
}


def test_no_text_does_anything_but_be_read(browser: Any, tmp_path: Path) -> None:
    attack = HOSTILE["script"]
    documents = {
        f"<b>{name}</b>/../{n}": Document(f"<b>{name}</b>/../{n}", text, {attack: attack, "target": BIDI}, None)
        for n, (name, text) in enumerate(HOSTILE.items())
    }
    labels = [attack, "plain", BIDI]
    task = {
        "labels": labels,
        "columns": {"context": {attack: "a", "target": "b"}},
        "codebook": attack,
        "definitions": dict.fromkeys(labels, attack),
        "question": "About {target}?",
    }
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents, task, dict.fromkeys(documents, (attack, 0.5)), show_suggestion=True) as page:
        anna = Seat(browser, page, attack)
        shown = []
        for n in range(len(documents)):
            shown.append(anna.text())
            assert (
                anna.tab.locator("#text script, #text img, #context script, #suggestion img, header img").count() == 0
            )
            assert anna.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert anna.tab.locator("#marks").is_visible() == (BIDI in shown[-1])
            anna.press("123"[n % 3])
        assert sorted(shown) == sorted(HOSTILE.values())
        assert anna.tab.locator("#end h1").text_content() == "All done"
        assert anna.tab.evaluate("window.hacked") is None
        assert anna.complaints == []
        assert {answer.annotator for answer in recorded(page)} == {attack}
        assert sorted(str(answer.label) for answer in recorded(page)) == sorted(labels * 2)


@pytest.mark.parametrize("settings", [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}])
def test_text_is_legible_and_everything_is_in_reach(browser: Any, tmp_path: Path, settings: dict[str, Any]) -> None:
    documents = made_up(2)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents) as page:
        anna = Seat(browser, page, "anna", **settings)
        for selector in ("#text", "button.label", "button.label small", "#progress", "#skip", ".codebook"):
            element = anna.tab.locator(selector).first
            if element.is_visible():
                assert element.evaluate(CONTRAST) >= 4.5, selector
        assert anna.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        unnamed = anna.tab.evaluate(
            "[...document.querySelectorAll('button, a, input, [role=group]')]"
            ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"
        )
        assert unnamed == 0
        reached = set()
        for _ in range(25):
            anna.tab.keyboard.press("Tab")
            reached.add(anna.tab.evaluate("document.activeElement.id || document.activeElement.dataset.label || ''"))
        assert {*TASK["labels"], "skip", "flag", "undo", "back", "forth"} <= reached


# Contrast of WCAG 2.2: relative luminance of a text's colour and of the first opaque background behind it.
CONTRAST = """
element => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (colour) => {
    const linear = [...rgba(colour)].slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  let behind = element;
  while (rgba(getComputedStyle(behind).backgroundColor)[3] < 255 && behind.parentElement) behind = behind.parentElement;
  const [text, ground] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(luminance);
  return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
}
"""
