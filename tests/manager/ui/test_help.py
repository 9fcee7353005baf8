"""Rules of the help page: each code that the product refuses with is explained, and its links lead somewhere."""

from manager.ui.refusal_advice import ADVICE
from tests.manager.conftest import one_database
from tests.manager.ui.conftest import Browse

pytestmark = one_database


def test_each_code_has_a_line_that_can_be_linked_to(browse: Browse) -> None:
    page = browse("auditor").get("/ui/help")

    assert {str(row["id"]) for row in page.all("table.codes tbody tr")} == set(ADVICE)


def test_its_links_lead_somewhere(browse: Browse) -> None:
    reader = browse("operator")
    page = reader.get("/ui/help")
    targets = {str(link["href"]) for link in page.all("main a")}

    assert "/manage/docs" in targets and len(targets) > 8
    for target in targets:
        if target.startswith("#"):
            assert page.all(target), target
        else:
            assert reader.get(target).status in (200, 308), target


def test_what_a_role_may_not_do_is_no_link(browse: Browse) -> None:
    assert not browse("auditor").get("/ui/help").all("main a[href='/ui/tokens/new']")
