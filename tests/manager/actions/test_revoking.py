"""Rules of revoking all that fit: whoever has looked at them before may have it undone if they are others by now."""

import pytest
from flask import Flask, g

from manager.actions import tokens
from manager.errors import Conflict
from manager.principals import Principal, Role
from manager.tables import AuditEvent, Token
from tests.manager.conftest import Rows, one_database

pytestmark = one_database


def test_a_check_that_fails_leaves_all_as_it_was(app: Flask, rows: Rows) -> None:
    token = rows.token(rows.project(), label="nightly")

    def check(found: tokens.Revoked) -> None:
        assert list(found) == [(token.project_id, token.id)]
        raise Conflict("Others fit by now.")

    with app.test_request_context():
        g.principal, g.request_id = Principal("somebody", Role.ADMIN), "r1"
        with pytest.raises(Conflict):
            tokens.revoke_matching({"label_contains": "nightly"}, check)

    assert [row.revoked_at for row in rows.all(Token)] == [None] and rows.all(AuditEvent) == []
