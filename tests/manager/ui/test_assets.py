"""Rules of assets: compressed, kept for good under an address that changes with them, and nothing else is served."""

import gzip
import re
from importlib.resources import files

import pytest
from flask import Flask
from flask.testing import FlaskClient

from manager.ui import assets, icons
from tests.manager.conftest import one_database
from tests.manager.ui.conftest import Browse, Browser

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]
OWN = files("manager.ui")
NAMES = ["css/bootstrap.css", "css/app.css", "js/bootstrap.js", "js/popper.js", "js/app.mjs", "icons.svg", "logo.svg"]
TEMPLATES = sorted(str(path.relative_to(OWN / "templates")) for path in OWN.joinpath("templates").rglob("*.html"))
SCRIPTS = sorted(path for path in OWN.joinpath("static", "js").rglob("*.*js"))


@pytest.fixture
def nobody(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.mark.parametrize("name", NAMES)
def test_an_asset_is_compressed_and_kept_for_good(nobody: FlaskClient, name: str) -> None:
    plain = nobody.get(assets.address(name))
    zipped = nobody.get(assets.address(name), headers={"accept-encoding": "br, gzip"})

    assert plain.status_code == 200 and "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip" and gzip.decompress(zipped.data) == plain.data
    assert len(zipped.data) < len(plain.data) or name == "logo.svg"
    for answer in (plain, zipped):
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "accept-encoding" and "set-cookie" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("css/app.css", "text/css"), ("js/app.mjs", "text/javascript"), ("icons.svg", "image/svg+xml")],
)
def test_an_asset_says_what_it_is(nobody: FlaskClient, name: str, kind: str) -> None:
    assert nobody.get(assets.address(name)).content_type == f"{kind}; charset=utf-8"


@pytest.mark.parametrize("version", ["0" * 16, "x"])
def test_under_the_address_of_another_release_it_is_shown_and_not_kept(nobody: FlaskClient, version: str) -> None:
    answer = nobody.get(f"/ui/assets/{version}/css/app.css")

    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"


def test_the_address_changes_with_what_it_holds() -> None:
    assert re.fullmatch(r"/ui/assets/[0-9a-f]{16}/css/app\.css", assets.address("css/app.css"))
    with pytest.raises(KeyError):
        assets.address("css/none.css")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "none.js",
        "css",
        "css/",
        "../forms.py",
        "..%2fforms.py",
        "css/../../forms.py",
        "%2e%2e/%2e%2e/forms.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "css/app.css/",
        "css//app.css",
        "css\\app.css",
        "css/app.css%00",
        "CSS/app.css",
        "js/bootstrap.min.js",
    ],
)
def test_nothing_else_is_served(nobody: FlaskClient, name: str) -> None:
    version = assets.address("css/app.css").split("/")[3]

    assert nobody.get(f"/ui/assets/{version}/{name}").status_code in (303, 401, 404)


def test_modules_find_each_other(nobody: FlaskClient) -> None:
    for path in SCRIPTS:
        for other in re.findall(r'from "(\.\.?/[^"]+)"', path.read_text()):
            name = path.parent.joinpath(other).resolve().relative_to(OWN / "static")
            assert nobody.get(assets.address(str(name))).status_code == 200


def test_no_asset_asks_for_anything_that_is_not_there() -> None:
    for name, asset in assets._assets()[1].items():
        assert b"sourceMappingURL" not in asset.body, name
        assert not re.search(rb"(?:url\(|@import )['\"]?(?!data:)[a-z/.]", asset.body), name


def test_a_page_is_small(browse: Browse) -> None:
    browser: Browser = browse()
    page = browser.get("/ui/sessions")
    links = {str(each.get("href") or each.get("src")) for each in page.all("link, script[src], img")}
    links |= {
        assets.address("icons.svg"),
        *(assets.address(str(path.relative_to(OWN / "static"))) for path in SCRIPTS),
    }

    sent = [browser.client.get(link, headers={"accept-encoding": "gzip"}).data for link in links]

    assert sum(map(len, sent)) + len(page.answer.data) < 150_000


# Icons


def test_the_sprite_holds_the_icons_that_are_named(nobody: FlaskClient) -> None:
    body = nobody.get(assets.address("icons.svg")).text

    assert re.findall(r'id="([^"]+)"', body) == list(icons.NAMES) and len(body) < 60_000


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_icon_of_a_template_is_named(template: str) -> None:
    used = re.findall(r'icon\("([a-z0-9-]+)"', OWN.joinpath("templates", template).read_text())

    assert set(used) <= set(icons.NAMES)


def test_an_icon_is_an_ornament_or_is_read_out() -> None:
    assert 'aria-hidden="true"' in icons.shown("/x.svg", "key")
    assert 'role="img" aria-label="a &lt;b&gt;"' in icons.shown("/x.svg", "key", "a <b>")
    with pytest.raises(KeyError):
        icons.shown("/x.svg", "nothing")
