"""The description of the API is valid, and what it describes is what is answered."""

from __future__ import annotations

import warnings

import pytest
from httpsrig import Web

from avish.controller.openapi import OpenApi
from avish.schema.load import schema

TRIED = ("pool", "natpolicy", "tenant", "vsvip", "user", "login", "useraccount", "commits")
EXAMPLES = 6


@pytest.fixture(scope="module")
def document():
    return OpenApi(schema(), "1").document()


def test_it_is_valid(document):
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(document)


def test_it_is_served_and_complete(web_rig):
    web = Web(web_rig.port)
    web.log_in()
    status, _, served = web.ask("GET", "/api/openapi.json")
    assert status == 200
    for kind in schema().objects():
        assert f"/api/{kind.name}" in served["paths"]
    assert served["paths"]["/api/serviceengine/{uuid}/vshash"]["get"]["summary"]
    port = served["components"]["schemas"]["Pool"]["properties"]["default_server_port"]
    assert (port["minimum"], port["maximum"], port["default"]) == (1, 65535, 80)


@pytest.mark.filterwarnings("ignore")
def test_invented_requests_are_answered_as_described(web_rig, document):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    web = Web(web_rig.port)
    assert web.log_in()[0] == 200
    described = schemathesis.openapi.from_dict(document)
    wanted = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance]
    wanted.append(checks.response_schema_conformance)
    tried = 0
    for result in described.get_all_operations():
        operation = result.ok()
        if operation.path.strip("/").removeprefix("api/").split("/")[0] not in TRIED or "{uuid}/" in operation.path:
            continue
        tried += 1

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def one(case):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                response = case.call(base_url=f"https://{web_rig.address}", headers=dict(web.headers), verify=False)
                case.validate_response(response, checks=wanted)

        one()
        assert web.log_in()[0] == 200
    assert tried > 20
    assert web_rig.get("/api/avish/check")["store"] == []
