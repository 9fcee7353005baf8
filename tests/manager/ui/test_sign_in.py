"""Rules of signing in and out: with a token of the API, into a session that nobody can fix, and that ends."""

from tests.manager.conftest import MANAGEMENT_TOKEN, one_database
from tests.manager.ui.conftest import Browse

pytestmark = one_database


def test_who_is_nobody_is_sent_to_sign_in(browse: Browse) -> None:
    assert browse(None).get("/ui/sessions").goes_to == "/ui/sign-in?next=/ui/sessions"
    assert browse(None).get("/ui/").goes_to == "/ui/sign-in"


def test_the_management_token_opens_a_session(browse: Browse) -> None:
    browser = browse(None)

    answer = browser.sign_in(MANAGEMENT_TOKEN)

    assert answer.goes_to == "/ui/"
    page = browser.get("/ui/sessions")
    assert (page.status, page.texts(".whoami-name"), page.texts(".whoami-role")) == (200, ["management"], ["admin"])
