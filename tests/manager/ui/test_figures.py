"""Rules of figures that are kept: once for all who look, however time goes on."""

from datetime import timedelta

import sqlalchemy as sa
from flask import Flask

from manager import db
from manager.activity import ALL_PROJECTS, Measure, Range, Unit
from manager.current import services
from manager.principals import EVERYTHING
from manager.tables import Activity
from manager.ui.figures import Figures
from manager.ui.memory import Memory
from tests.manager.conftest import NOW, one_database

pytestmark = one_database


def test_a_range_that_moves_on_is_kept_once(app: Flask) -> None:
    memory = Memory(most=2)
    memory.get("another", 60, lambda: 1)

    with app.app_context():
        for minutes in range(3):
            Figures(services(), memory, EVERYTHING, Range.HOUR, NOW + timedelta(minutes=minutes)).series()

    assert memory.get("another", 60, lambda: 2) == 1


def test_what_has_left_the_range_since_it_was_read_is_not_shown(app: Flask, sessions: db.Sessions) -> None:
    memory = Memory(clock=lambda: 0.0)
    since, _ = Range.HOUR.span(NOW)
    row = {"unit": Unit.MINUTE, "project_id": ALL_PROJECTS, "measure": Measure.OUTCOME, "bucket": "ok", "amount": 1}
    moments = [since, since + timedelta(minutes=1)]
    with sessions.begin() as session:
        session.execute(sa.insert(Activity), [{**row, "moment": moment} for moment in moments])

    with app.app_context():
        first, second = (
            Figures(services(), memory, EVERYTHING, Range.HOUR, NOW + timedelta(minutes=minutes)).series()
            for minutes in range(2)
        )

    assert (list(first[Measure.OUTCOME]), list(second[Measure.OUTCOME])) == (moments, moments[1:])
