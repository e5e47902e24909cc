"""core.webhook, core.manual, core.schedule: what starts a workflow, and what its first item holds; core.respond."""

from typing import Any

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.registry import Registry
from engine.workflow import Settings
from tests.support.build import node, run, run_node, workflow
from tests.support.nodes import NOW, NamedServices, refusals, run_step


def started(type_, params, items=None, **settings):
    """A run of the trigger, called `trigger`, with these items; at a fixed time."""
    drawn = workflow(node("trigger", type_, params), settings=Settings(**settings))
    return run(drawn, items=items, services=NamedServices({}))


@pytest.mark.parametrize(("items", "gives"), [(None, [{}]), ([], []), ([{"n": 1}, {}], [{"n": 1}, {}])])
def test_manual_gives_the_items_it_is_started_with_or_one_empty_one(items, gives):
    assert started("core.manual", {}, items)["trigger"] == gives


def test_schedule_says_when_in_the_time_zone_of_the_workflow():
    assert started("core.schedule", {"every_s": 60})["trigger"] == [{"time": NOW.isoformat()}]
    ran = started("core.schedule", {"cron": "0 9 * * *"}, timezone="Asia/Tokyo")
    assert ran["trigger"] == [{"time": "2026-11-23T21:00:00+09:00"}]


def test_schedule_gives_the_items_it_is_started_with():
    assert started("core.schedule", {"every_s": 60}, [{"time": "now"}])["trigger"] == [{"time": "now"}]


GOOD_CRON = [
    "0 9 * * *",
    "*/15 * * * *",
    "30 9 * * mon-fri",
    "0 0 1 JAN,jul *",
    "0,30 8-18/2 * * 1-5",
    "5/10 * * * 7",
    "  0 0 1 1 0 ",
    "0 0 29 2 *",
    "0 0 L * *",
    "0 0 * * 5L",
    "0 0 LW * mon#1",
]


@pytest.mark.parametrize("cron", GOOD_CRON)
def test_a_cron_line(cron):
    assert refusals("core.schedule", {"cron": cron}) == []


FIVE = "five fields (minute, hour, day of month, month, day of week)"
BAD_CRON = {
    "": f"{FIVE}, and '' has 0",
    "0 9 * *": f"{FIVE}, and '0 9 * *' has 4",
    "0 0 9 * * *": "has 6",
    "@daily": "has 1",
    "60 * * * *": "'60' is no minute of a cron line: 0 to 59, or *",
    "* 24 * * *": "'24' is no hour",
    "* * 0 * *": "'0' is no day of month of a cron line: 1 to 31",
    "* * * 13 *": "'13' is no month of a cron line: 1 to 12, or jan ..., or *",
    "* * * * monday": "'monday' is no day of week of a cron line: 0 to 7, or sun ..., or *",
    "*/0 * * * *": "'*/0' is no minute",
    "30-10 * * * *": "'30-10' is no minute",
    "1,,2 * * * *": "'' is no minute",
    "-1 * * * *": "'-1' is no minute",
    "*-5 * * * *": "'*-5' is no minute",
    "99999 * * * *": "'99999' is no minute",
    "١ * * * *": "'١' is no minute",
    "0 0 30 2 *": "'0 0 30 2 *' names a day that never comes",
    "0 0 */8 * mon#5": "names a day that never comes",
    "0 0 31 2,4 *": "names a day that never comes",
    "0 0 ? * *": "'?' is no day of month of a cron line: 1 to 31, or L for the last, or *",
    "9" * 5000 + " * * * *": "is no minute",
}


@pytest.mark.parametrize(("cron", "said"), BAD_CRON.items())
def test_a_cron_line_that_means_nothing_is_refused(cron, said):
    (problem,) = refusals("core.schedule", {"cron": cron})
    assert problem.startswith("params.cron: ")
    assert said in problem


TEXTS = st.text("0123456789*/-,#?LWlw" + "monjandec", min_size=1, max_size=5)
ELEMENTS = st.builds(
    "{}{}{}".format,
    st.integers(0, 60) | st.sampled_from(["*", "mon", "JAN", "L"]),
    st.sampled_from(["", "-31", "-5", ",7", "#2", "L", "W"]),
    st.sampled_from(["", "", "/2", "/0"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXTS | ELEMENTS | st.just("*"), min_size=5, max_size=5).map(" ".join))
def test_a_cron_line_is_taken_if_and_only_if_its_times_can_be_told(cron):
    try:
        fires = next(CronSim(cron, NOW.replace(tzinfo=None)), None) is not None
    except CronSimError:
        fires = False
    assert (refusals("core.schedule", {"cron": cron}) == []) == fires


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_what_to_do_about_missed_times(missed):
    assert refusals("core.schedule", {"every_s": 60, "missed": missed}) == []
    assert "should be 'skip', 'once' or 'all'" in refusals("core.schedule", {"every_s": 60, "missed": "each"})[0]


@pytest.mark.parametrize("params", [{}, {"cron": "0 9 * * *", "every_s": 60}, {"cron": None}])
def test_a_schedule_is_by_cron_or_by_seconds(params):
    assert refusals("core.schedule", params) == ["params: give either cron or every_s"]


@pytest.mark.parametrize("every_s", [0, -1, 1.5, "{{ vars.seconds }}"])
def test_seconds_are_a_whole_number(every_s):
    assert "params.every_s: should be" in refusals("core.schedule", {"every_s": every_s})[0]


CALL = {
    "body": {"a": 1},
    "query": {"q": "1"},
    "headers": {"x": "y"},
    "params": {"shop": "s"},
    "method": "PUT",
    "path": "p",
}
EMPTY = {"body": None, "query": {}, "headers": {}, "params": {}, "method": "POST", "path": "orders"}
GIVEN = {
    "a whole call": (CALL, CALL),
    "a call with more than that": ({**CALL, "ip": "1.2.3.4"}, {**CALL, "ip": "1.2.3.4"}),
    "a body": ({"total": 5}, {**EMPTY, "body": {"total": 5}}),
    "a body that is empty": ({}, {**EMPTY, "body": {}}),
    "a call of body alone": ({"body": [1]}, {**EMPTY, "body": [1]}),
    "a call of query alone": ({"query": {"q": "1"}}, {**EMPTY, "query": {"q": "1"}}),
    "a body with a field query": ({"query": "shoes"}, {**EMPTY, "body": {"query": "shoes"}}),
    "a body with a field body": ({"body": "Hi", "to": "Ada"}, {**EMPTY, "body": {"body": "Hi", "to": "Ada"}}),
    "a body with a field path": ({"path": "x"}, {**EMPTY, "body": {"path": "x"}}),
}


@pytest.mark.parametrize(("given", "gives"), GIVEN.values(), ids=GIVEN)
def test_webhook_gives_a_call_and_takes_anything_else_for_a_body(given, gives):
    assert started("core.webhook", {"path": "orders"}, [given])["trigger"] == [gives]


def test_a_bare_body_comes_by_the_first_method():
    ran = started("core.webhook", {"path": "orders", "methods": ["PUT", "POST"]}, [{}])
    assert ran["trigger"][0]["method"] == "PUT"


def test_webhook_needs_a_call():
    error = started("core.webhook", {"path": "orders"}).error("trigger")
    assert error["code"] == "definition.request_missing"
    assert error["hint"]


@pytest.mark.parametrize("path", ["orders", "a/b-c/d.e_f~g", "shops/:shop/orders", ":a/:b_2", "0"])
def test_a_path(path):
    assert refusals("core.webhook", {"path": path}) == []


BAD_PATHS = {
    "/orders": "with nothing between its slashes",
    "orders/": "with nothing between its slashes",
    "a//b": "with nothing between its slashes",
    "": "with nothing between its slashes",
    "a b": "with 'a b' between its slashes",
    "a/ü": "with 'ü' between",
    "a?b": "with 'a?b' between",
    "shops/:Shop": "with ':Shop' between",
    "shops/:": "with ':' between",
    ":id/x/:id": "':id/x/:id' has two parts :id: give each its own name",
    "{{ vars.path }}": "with '{{ vars.path }}' between",
    "a\n": r"with 'a\n' between",
    "x" * 201: "at most 200 characters",
}


@pytest.mark.parametrize(("path", "said"), BAD_PATHS.items())
def test_a_path_that_cannot_be_called_is_refused(path, said):
    (problem,) = refusals("core.webhook", {"path": path})
    assert problem.startswith("params.path: ")
    assert said in problem


BAD_HOOKS = {
    "methods": ({"methods": ["post"]}, "params.methods[0]: should be 'GET', 'POST'"),
    "no methods": ({"methods": []}, "params.methods: should have at least one element"),
    "respond": ({"respond": "last"}, "params.respond: should be 'at_once', 'last_node' or 'respond_node'"),
    "respond by expression": ({"respond": "{{ vars.how }}"}, "params.respond: should be"),
    "dedupe": ({"dedupe": "hash"}, "params.dedupe: should be 'off', 'header', 'expression' or 'body'"),
    "dedupe without a header": ({"dedupe": "header"}, "dedupe by a header needs its name in dedupe_key"),
    "dedupe by no header": ({"dedupe": "header", "dedupe_key": "x y"}, "dedupe by a header needs its name"),
    "dedupe without an expression": ({"dedupe": "expression"}, "dedupe by an expression needs it in dedupe_key"),
    "dedupe by a text": ({"dedupe": "expression", "dedupe_key": "id"}, "such as {{ item.body.id }}"),
    "dedupe by no expression": ({"dedupe": "expression", "dedupe_key": "{{ item. }}"}, "params.dedupe_key: "),
    "dedupe by what is not known": ({"dedupe": "expression", "dedupe_key": "{{ vars.x }}"}, "only `item` is known"),
    "dedupe for no time": ({"dedupe_for_s": 0}, "params.dedupe_for_s: should be greater than or equal to 1"),
    "dedupe for ever": ({"dedupe_for_s": 2_592_001}, "should be less than or equal to 2592000"),
    "a page for an origin": (
        {"cors": ["https://a.org/"]},
        "params.cors: 'https://a.org/' is no origin: write https://",
    ),
    "a host for an origin": ({"cors": ["*", "a.org"]}, "'a.org' is no origin"),
    "timeout": ({"timeout_s": 301}, "params.timeout_s: should be less than or equal to 300, not 301"),
}


@pytest.mark.parametrize(("params", "said"), BAD_HOOKS.values(), ids=BAD_HOOKS)
def test_webhook_params_that_cannot_be_used_are_refused(params, said):
    assert said in refusals("core.webhook", {"path": "x", **params})[0]


GOOD_HOOKS: dict[str, dict[str, Any]] = {
    "a credential": {"credential": "Shop"},
    "dedupe by header": {"dedupe": "header", "dedupe_key": "X-GitHub-Delivery"},
    "dedupe by expression": {"dedupe": "expression", "dedupe_key": "{{ item.body.id }}-{{ item.params.shop }}"},
    "dedupe by body": {"dedupe": "body", "dedupe_for_s": 60},
    "origins": {"cors": ["https://shop.example.com", "http://localhost:3000", "*"]},
}


@pytest.mark.parametrize("params", GOOD_HOOKS.values(), ids=GOOD_HOOKS)
def test_webhook_params_are_for_who_takes_the_call_and_change_nothing_here(params):
    assert refusals("core.webhook", {"path": "x", **params}) == []
    assert started("core.webhook", {"path": "x", **params}, [{"a": 1}])["trigger"][0]["body"] == {"a": 1}


def test_a_webhook_needs_a_path():
    assert refusals("core.webhook", {})[0].startswith("params.path: 'path' is missing")


@pytest.mark.parametrize("name", ["core.webhook", "core.manual", "core.schedule"])
def test_a_trigger_has_no_input_and_changes_nothing(name):
    node_type = Registry().get(name)
    assert (node_type.inputs, node_type.is_trigger, node_type.effects({})) == ((), True, "pure")


def test_respond_passes_the_items_on():
    rows = [{"n": 1}, {"n": 2}]
    ran = run_node("core.respond", {"body": {"id": "{{ item.n }}"}, "headers": {"x": "{{ items[0].n }}"}}, rows)
    assert ran["node"] == rows
    lineage = ran.result("node").outputs["main"].lineage
    assert [lineage.of(0), lineage.of(1)] == [{"main": (0,)}, {"main": (1,)}]


ONE, TWO = [{"n": 1}], [{"n": 1}, {"n": 2}]
BODIES = {
    "nothing, one item": ({}, ONE, {"n": 1}),
    "nothing, several items": ({}, TWO, TWO),
    "null": ({"body": None}, TWO, TWO),
    "a text": ({"body": "thanks"}, TWO, "thanks"),
    "an empty text": ({"body": ""}, ONE, ""),
    "an object": ({"body": {"ok": True}}, ONE, {"ok": True}),
    "false": ({"body": False}, TWO, False),
    "of the first item": ({"body": {"id": "{{ items[0].n }}"}}, TWO, {"id": 1}),
    "of the item, one": ({"body": {"id": "{{ item.n }}"}}, ONE, {"id": 1}),
    "of the item, several": ({"body": "{{ item.n }}"}, TWO, [1, 2]),
}


@pytest.mark.parametrize(("params", "rows", "body"), BODIES.values(), ids=BODIES)
def test_respond_answers_with(params, rows, body):
    assert run_node("core.respond", params, rows).result("node").response == {
        "status": 200,
        "headers": {},
        "body": body,
    }


def test_respond_answers_with_an_empty_list_where_no_item_came():
    respond = Registry().get("core.respond")
    assert run_step(respond, {}, {"main": []}, NamedServices({})).response["body"] == []


def test_respond_says_the_status_and_the_headers():
    params = {"status": "{{ items[0].n }}", "headers": {"x-name": "{{ items[0].name }}"}, "body": ""}
    response = run_node("core.respond", params, [{"n": 201, "name": "Ada"}]).result("node").response
    assert response == {"status": 201, "headers": {"x-name": "Ada"}, "body": ""}


def test_respond_leaves_out_the_items_that_failed():
    rows = [{"n": 1}, {}, {"n": 3}]
    ran = run_node("core.respond", {"body": "{{ item.n }}"}, rows, on_error="output")
    assert ran.result("node").response["body"] == [1, 3]


@pytest.mark.parametrize("more", [{"disabled": True}, {"params": {"body": "{{ item.gone }}"}}])
def test_no_answer_is_given_by_a_node_that_does_not_succeed_or_run(more):
    ran = run_node("core.respond", more.pop("params", {}), [{"n": 1}], **more)
    assert ran.result("node").response is None


BAD_ANSWERS = {
    "a status": ({"status": 600}, "params.status: should be less than or equal to 599, not 600"),
    "a header": ({"headers": {"x": [1]}}, "params.headers.x: should be a valid string"),
    "a status that depends on the item": ({"status": "{{ item.n }}"}, "params.status: `item` differs"),
}


@pytest.mark.parametrize(("params", "said"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_respond_refuses(params, said):
    assert said in refusals("core.respond", params)[0]
