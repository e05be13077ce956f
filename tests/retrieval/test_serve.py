"""The page of an index: for this machine only, without a script, whatever a document or a query holds."""

import http.client
import threading
from urllib.parse import quote

import pytest
from browsing import MARKS
from families import tiny_encoder

from textcl.errors import UserError
from textcl.retrieval.index import Index
from textcl.retrieval.serve import SearchServer

NASTY = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"> & {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve") / "index"
    rows = [{"id": "<b>1", "text": NASTY}, {"id": "2", "text": "a dog runs"}]
    with SearchServer(Index.build(tiny_encoder(), rows, folder)) as opened:
        thread = threading.Thread(target=opened.serve_forever, daemon=True)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def get(server, path, host=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host or f"localhost:{server.server_port}"})
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    return answer, page


def test_hits_are_shown_and_everything_is_escaped(server):
    answer, page = get(server, f"/?q={quote(NASTY)}&k=1")
    assert answer.status == 200
    assert page.count("<article ") == 1
    assert "&lt;b&gt;1" in page
    assert "{{ 7 * 7 }}" in page
    assert "<script" not in page
    assert "<img" not in page
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost:1", ""]
)
def test_a_page_of_another_host_gets_nothing(server, host):
    answer, page = get(server, "/?q=dog", host or " ")
    assert answer.status == 403
    assert "a dog runs" not in page


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/?q=+++", "GET", 200),
        ("/?q=dog&k=x", "GET", 200),
        ("/?q=dog&k=0", "GET", 200),
        (f"/?q=dog&k={'9' * 50}", "GET", 200),
        ("/../etc/passwd", "GET", 404),
        ("/manifest.json", "GET", 404),
        ("/?q=" + "a" * 9000, "GET", 414),
        ("/", "POST", 501),
    ],
)
def test_odd_requests_are_answered(server, path, method, status):
    assert get(server, path, method=method)[0].status == status


def test_only_this_machine_is_served_and_a_taken_port_is_one_sentence(server):
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(UserError, match=f"port {server.server_port} cannot be used"):
        SearchServer(server.index, server.server_port)


@pytest.mark.browser
class TestInABrowser:
    pytestmark = MARKS

    def test_a_query_is_typed_and_nothing_in_a_document_acts(self, server, browser):
        browser.driver.get(server.address)
        field = browser.driver.find_element("css selector", "input[type=search]")
        field.send_keys("a dog runs")
        browser.driver.find_element("css selector", "button").click()
        browser.wait("return document.querySelectorAll('article').length === 2")
        assert browser.run("return document.title") == "a dog runs"
        assert browser.run("return document.querySelectorAll('script, img').length") == 0
        asked = [url for url in browser.asked_for() if not url.startswith(("data:", "chrome"))]
        assert all(url.startswith(server.address) for url in asked)
        assert not [line for line in browser.said() if "favicon" not in line]
