"""The quick look at options gives what mitmproxy's own gives."""

from mitmproxy.options import Options
from mitmproxy.optmanager import _Option

from addons.engine import quick_options


def test_every_option_is_as_mitmproxy_gives_it() -> None:
    options = Options(listen_port=8080)
    known: list[_Option] = [options._options[name] for name in options.keys()]

    assert [quick_options.current(option) for option in known] == [option.current() for option in known]


def test_what_can_be_changed_is_a_copy() -> None:
    options = Options()
    option: _Option = options._options["mode"]

    quick_options.current(option).append("changed")

    assert "changed" not in option.current()
