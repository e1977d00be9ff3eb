"""What the page answers to whom: over real HTTP, with requests of all kinds that a browser or a stranger may send."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from experts.page.serving import Client, Page, choose, made_up, served

from redct.experts import Answer, Ledger


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    documents = made_up(6)
    ledger = choose(tmp_path_factory.mktemp("page") / "experts.sqlite", list(documents))
    with served(ledger, documents, suggestions={"d0": ("for", 0.9)}) as page:
        yield page


@pytest.fixture
def anna(page: Page) -> Client:
    return Client(page).enter("anna")


ANSWER = {"annotator": "anna", "kind": "label", "label": "for", "id": "d0", "seen": 0, "note": ""}


def rows(page: Page) -> list[tuple[str, str, str, str | None]]:
    with Ledger(page.errors.with_suffix(".sqlite")) as ledger:
        return [(answer.annotator, answer.document, answer.kind, answer.label) for answer in ledger.answers()]


@pytest.mark.parametrize("path", ["/", "/adjudicate", "/annotate/document", "/adjudicate/document", "/?token=wrong"])
def test_without_the_token_nothing_is_shown(page: Page, path: str) -> None:
    status, _, text = Client(page).send("GET", path)
    assert status == 401
    assert "Text number" not in text
    assert page.token not in text


def test_the_token_leaves_the_address_for_a_cookie_that_scripts_cannot_read(page: Page) -> None:
    status, headers, _ = Client(page).send("GET", f"/?token={page.token}")
    assert (status, headers["location"]) == (303, "/")
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(attributes)
    assert page.token not in cookie


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_another_host_is_refused(page: Page, anna: Client, host: str) -> None:
    given = host.format(port=page.port)
    for method, path in (("GET", f"/?token={page.token}"), ("GET", "/annotate/document"), ("POST", "/annotate/answer")):
        status, _, text = anna.send(method, path, ANSWER if method == "POST" else None, Host=given)
        assert status == (400 if status == 400 and not given else 403)
        assert "Text number" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/annotate/answer", "/enter", "/leave"])
def test_a_request_of_another_page_changes_nothing(
    page: Page, anna: Client, headers: dict[str, str | None], path: str
) -> None:
    before = rows(page)
    given = {name: value and value.format(port=page.port) for name, value in headers.items()}
    assert anna.send("POST", path, ANSWER, **given)[0] == 403
    assert rows(page) == before


def test_a_form_cannot_answer(anna: Client) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", None):
        assert anna.send("POST", "/annotate/answer", ANSWER, Content_Type=kind)[0] == 415


def test_a_get_request_changes_nothing(page: Page, anna: Client) -> None:
    before = rows(page)
    assert anna.send("GET", "/annotate/answer?kind=label&id=d0&label=for")[0] == 405
    assert rows(page) == before


@pytest.mark.parametrize(
    "path",
    [
        "/static/../desk.py", "/static/..%2fdesk.py", "/static/%2e%2e/%2e%2e/ledger.py", "/static/....//app.py",
        "/../../../../etc/passwd", "/static/", "/static/desk.html", "/experts.sqlite", "/static/%00",
    ],
)  # fmt: skip
def test_no_other_file_is_to_be_had(anna: Client, path: str) -> None:
    assert anna.send("GET", path)[0] == 404


@pytest.mark.parametrize("path", ["/", "/static/desk.js", "/annotate/document", "/nothing", "/?token=wrong"])
def test_every_answer_binds_the_browser(anna: Client, path: str) -> None:
    _, headers, _ = anna.send("GET", path)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert not {"unsafe-inline", "unsafe-eval", "*", "data:"} & set(policy.replace("'", "").split())
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"[]", 422),
        (b"[" * 60_000, 422),
        (b'{"a": "' + b"x" * 70_000 + b'"}', 413),
        ({**ANSWER, "kind": "resolution"}, 422),
        ({**ANSWER, "kind": "skip"}, 422),
        ({**ANSWER, "seen": -1}, 422),
        ({**ANSWER, "seen": True}, 422),
        ({**ANSWER, "note": "\ud800"}, 422),
        ({**ANSWER, "note": "x" * 4001}, 422),
        ({**ANSWER, "id": 7}, 422),
        ({**ANSWER, "label": "FOR"}, 409),
        ({**ANSWER, "id": "d99"}, 409),
        ({**ANSWER, "annotator": "ben"}, 403),
    ],
)
def test_what_is_no_answer_is_not_recorded(page: Page, anna: Client, body: object, status: int) -> None:
    before = rows(page)
    assert anna.send("POST", "/annotate/answer", body)[0] == status
    assert rows(page) == before


def test_neither_gold_nor_a_hidden_suggestion_is_sent(anna: Client) -> None:
    _, _, text = anna.send("GET", "/annotate/document?id=d0")
    shown = json.loads(text)["document"]
    assert (shown["id"], shown["suggestion"]) == ("d0", None)
    assert "gold" not in text
    assert "neutral" not in text  # the gold label of every document


def test_two_tabs_make_one_answer(page: Page) -> None:
    cleo = Client(page).enter("cleo")
    one = two = cleo.show()
    document = one["document"]["id"]
    assert cleo.say(one, "label", label="for")[0] == 200
    assert cleo.say(two, "label", label="for")[0] == 200  # a double click, or a retry after a lost reply
    status, found = cleo.say(two, "label", label="against")
    assert status == 409
    assert "another window" in found["notice"]
    assert [row for row in rows(page) if row[0] == "cleo"] == [("cleo", document, "label", "for")]


def test_another_name_in_the_same_browser_takes_none_of_the_first_ones_answers(page: Page) -> None:
    dora = Client(page).enter("dora")
    view = dora.show()
    assert dora.send("POST", "/enter", {"name": "emil"})[0] == 200  # in another tab, with the same cookie
    status, found = dora.say(view, "label", label="for")
    assert (status, "answers as emil now" in found["error"]) == (403, True)
    assert not {"dora", "emil"} & {row[0] for row in rows(page)}


def test_what_others_write_to_the_ledger_is_seen_at_once(page: Page) -> None:
    finn = Client(page).enter("finn")
    document = finn.show()["document"]["id"]
    with Ledger(page.errors.with_suffix(".sqlite")) as ledger:
        ledger.record(Answer(document, "finn", label="neutral", origin="answers.csv"))
    assert finn.show()["document"]["id"] != document
    assert finn.show(document)["document"]["answer"]["label"] == "neutral"


def test_a_time_that_cannot_be_is_left_out(page: Page) -> None:
    hal = Client(page).enter("hal")
    for seconds in (-1, 1e9, "3", None, float("nan")):
        assert hal.say(hal.show(), "skip", seconds=seconds)[0] == 200
    view = hal.show()
    assert (view["done"], view["pace"], view["left"]) == (5, None, None)


def test_no_text_stands_in_the_log(page: Page, anna: Client) -> None:
    anna.send("POST", "/annotate/answer", {**ANSWER, "id": "Text number 5"})
    anna.send("GET", "/annotate/document?id=Text%20number%205&step=9")
    log = page.errors.read_text()
    assert "Text number" not in log
    assert log.count("\n") == 1  # the greeting alone


def test_killed_after_an_acknowledgement_it_holds_the_answer(tmp_path: Path) -> None:
    documents = made_up(3)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    with served(ledger, documents) as page:
        anna = Client(page).enter("anna")
        first = anna.show()
        assert anna.say(first, "label", label="against", seconds=2.5)[0] == 200
        page.stop(signal.SIGKILL)
    with served(ledger, documents) as page:
        view = Client(page).enter("anna").show()
        assert (view["done"], view["pace"]) == (1, 2.5)
        assert page.stop(signal.SIGINT) == 0
    assert [row[1:] for row in rows(page)] == [(first["document"]["id"], "label", "against")]


def test_others_need_the_passphrase(tmp_path: Path) -> None:
    documents = made_up(2)
    ledger = choose(tmp_path / "experts.sqlite", list(documents))
    options = {"host": "0.0.0.0", "passphrase_env": "PHRASE", "annotators": ["anna"]}
    with served(ledger, documents, environment={"PHRASE": "correct horse"}, **options) as page:
        stranger = Client(page)
        assert stranger.send("GET", "/annotate/document")[0] == 401
        assert "anna" not in stranger.send("GET", "/")[2]  # names are for those who are in
        assert stranger.send("POST", "/enter", {"name": "anna", "passphrase": "wrong horse"})[0] == 401
        assert stranger.send("POST", "/enter", {"name": "anna"})[0] == 401
        assert stranger.send("GET", "/", Host=f"evil.example:{page.port}")[0] == 403
        assert stranger.send("POST", "/enter", {"name": "ben", "passphrase": "correct horse"})[0] == 422
        anna = Client(page).enter("anna", passphrase="correct horse")
        assert anna.show()["document"]["text"].startswith("Text number")
        assert "correct horse" not in page.errors.read_text()


def test_more_labels_than_digits_have_keys(tmp_path: Path) -> None:
    labels = [f"label {n}" for n in range(40)]
    ledger = choose(tmp_path / "experts.sqlite", ["d0"])
    with served(ledger, made_up(1), {"labels": labels}) as page:
        _, _, text = Client(page).enter("anna").send("GET", "/")
    assert all(f'data-label="{label}"' in text for label in labels)
    assert 'data-label="label 9" data-key="0"' in text
    assert 'data-label="label 10" data-key="a"' in text
    assert 'data-label="label 39" data-key=""' in text
