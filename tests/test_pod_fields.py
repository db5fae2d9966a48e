"""Each field that a PodSpec has can be put into a pod."""

import pytest

from tests.pod_fields import ELSEWHERE, GATED, MINIMAL, PATHS, TABLE, VALUES, carried, described, paths, with_field

PLAIN = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}}


def test_a_pod_carries_what_it_was_given() -> None:
    """The field is there, whichever it is, and the pod it was put into is as before."""
    before = repr(PLAIN)
    assert [path for path in PATHS if path not in carried(with_field(PLAIN, path)["spec"])] == []
    assert repr(PLAIN) == before


def test_what_is_in_the_pod_stays() -> None:
    """A field more takes none away."""
    pod = {"spec": {"containers": [{"name": "a", "image": "i", "env": [{"name": "A", "value": "b"}]}], "hostPID": True}}
    for path in PATHS:
        spec = with_field(pod, path)["spec"]
        assert {"name": "A", "value": "b"} in spec["containers"][0]["env"], path
        assert spec["hostPID"] is True, path


@pytest.mark.parametrize("path", ["containers[].securityContext.windowsOptions.hostProcess", "volumes[].nfs.server"])
def test_a_path_is_where_the_api_has_it(path: str) -> None:
    """The table leads to fields that everybody knows."""
    assert path in PATHS


def test_nothing_is_said_of_fields_that_are_gone() -> None:
    """Every value, every reason and every gate is for a field or a type of the table."""
    known = {f"{kind}.{field}" for kind, fields in TABLE.items() for field in fields}
    assert set(VALUES) <= known
    assert set(MINIMAL) <= set(TABLE)
    assert set(GATED) <= set(paths(TABLE))
    assert set(ELSEWHERE) <= {field for fields in TABLE.values() for field in fields}


def test_a_table_is_made_of_an_openapi_document() -> None:
    """Types that a PodSpec does not lead to are left out; lists, maps and references are told apart."""
    core = "io.k8s.api.core.v1."
    reference = {"allOf": [{"$ref": f"#/components/schemas/{core}Thing"}], "default": {}}
    schemas = {
        f"{core}PodSpec": {
            "properties": {
                "things": {"type": "array", "items": reference},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "one": {"$ref": f"#/components/schemas/{core}Thing"},
            }
        },
        f"{core}Thing": {"properties": {"size": {"type": "integer"}}},
        f"{core}Service": {"properties": {"kind": {"type": "string"}}},
    }
    assert described({"components": {"schemas": schemas}}) == {
        "PodSpec": {"labels": "string{}", "one": "Thing", "things": "Thing[]"},
        "Thing": {"size": "integer"},
    }
