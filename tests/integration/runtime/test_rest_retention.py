"""The rules of retention over REST."""

from engine.runtime.service import Service
from tests.support.rest import Api


def test_rules_are_read_changed_and_refused_where_they_make_no_sense(service: Service):
    with Api(service) as api:
        before = api("GET", "/retention").json()
        changed = api("PATCH", "/retention", {"days": 3}).json()
        assert changed == {**before, "days": 3}
        refused = api("PATCH", "/retention", {"days": -1})
        assert refused.status_code in (400, 422)
        assert "days" in refused.json()["message"]
        assert api("GET", "/retention").json() == changed
