"""Variables and ``$(NAME)``, against the kubelet's own expansion."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.injection.views import container
from tests.tables import rows
from webhook.injection.pod import EnvVar, EnvVarSource
from webhook.injection.reasons import NotInjectable, Reason
from webhook.injection.variables import (
    MAX_VARIABLES,
    POD_VARIABLES,
    SIDECAR_VARIABLES,
    Environment,
    added_variables,
    escape_references,
    needed_variables,
)

FROM: list[Any] = [{"configMapRef": {"name": "x"}}]
NAME, NAMESPACE = (variable.name for variable in POD_VARIABLES)


def expand(text: str, values: dict[str, str]) -> str:
    """Return what the kubelet makes of a text (k8s.io/kubernetes third_party/forked/golang/expansion)."""
    result, cursor = "", 0
    while cursor < len(text):
        character = text[cursor]
        following = text[cursor + 1 : cursor + 2]
        if character != "$" or not following:
            result += character
            cursor += 1
        elif following == "$":
            result += "$"
            cursor += 2
        elif following == "(" and ")" in text[cursor:]:
            end = text.index(")", cursor)
            name = text[cursor + 2 : end]
            result += values.get(name, f"$({name})")
            cursor = end + 1
        else:
            result += "$" + following
            cursor += 2
    return result


@given(st.text("$()AB x", max_size=12))
def test_an_escaped_text_arrives_as_it_was(text: str) -> None:
    """The kubelet fills nothing into it, and the container gets it unchanged."""
    assert expand(escape_references(text), {"A": "filled", "B": "filled", "AB": "filled"}) == text


def test_expansion_as_documented() -> None:
    """The model expands, leaves the undefined, and unescapes, as the Kubernetes documentation says."""
    assert expand("$(A) $(B) $$(A) $A $", {"A": "1"}) == "1 $(B) $(A) $A $"


def test_a_text_without_references_stays() -> None:
    """A program is readable still."""
    assert escape_references("echo $HOME $") == "echo $HOME $"


#: By the row of the table: containers, and which variables each is given.
ADDED: dict[str, list[tuple[dict[str, Any], list[str]]]] = {
    "has it in env": [
        ({"env": [{"name": NAME, "value": "mine"}]}, [NAMESPACE]),
        ({"env": [{"name": NAMESPACE}, {"name": NAME}]}, []),
        ({"env": [{"name": NAME}], "envFrom": FROM, "args": [f"$({NAME})"]}, []),
    ],
    "has no envFrom": [
        ({}, [NAME, NAMESPACE]),
        ({"envFrom": [], "env": [{"name": "OTHER"}]}, [NAME, NAMESPACE]),
    ],
    "has envFrom, uses $(…) in command, args or env": [
        ({"envFrom": FROM, "args": [f"--name=$({NAME})"]}, [NAME]),
        ({"envFrom": FROM, "command": ["x", f"$({NAMESPACE})"]}, [NAMESPACE]),
        ({"envFrom": FROM, "env": [{"name": "A", "value": f"$({NAME})"}, {"name": "B"}]}, [NAME]),
        ({"envFrom": FROM, "args": [f"$$$({NAME})"]}, [NAME]),
    ],
    "has envFrom, uses it in subPathExpr": [
        ({"envFrom": FROM, "volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": f"$({NAME})"}]}, []),
        (
            {
                "envFrom": FROM,
                "args": [f"$({NAME}) $({NAMESPACE})"],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": f"$({NAME})"}],
            },
            [NAMESPACE],
        ),
    ],
    "has envFrom, does not use it": [
        ({"envFrom": FROM}, []),
        ({"envFrom": FROM, "args": [f"$$({NAME})", NAME, f"$({NAME}", f"$({NAME}X)"]}, []),
    ],
}


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(ADDED) == rows(added_variables)


@pytest.mark.parametrize("row", ADDED)
def test_a_container_gets_variables(row: str) -> None:
    """None that it has, and none that would change what it has."""
    for fields, expected in ADDED[row]:
        assert [variable.name for variable in added_variables(container(**fields))] == expected, fields


class TestNeeded:
    """What a ``subPathExpr`` is made of."""

    @staticmethod
    def needed(expression: str, *env: dict[str, Any], **fields: Any) -> list[str | None]:
        """Return the names and values of the needed variables, each as ``NAME=value``."""
        found = needed_variables(container(env=list(env), **fields), POD_VARIABLES[:1], expression)
        return [variable.name + (f"={variable.value}" if variable.value is not None else "") for variable in found]

    @pytest.mark.parametrize(
        ("expression", "env", "expected"),
        [
            pytest.param("plain", [{"name": "A", "value": "1"}], [], id="none"),
            pytest.param("$$(A)", [{"name": "A", "value": "1"}], [], id="escaped"),
            pytest.param("x/$(A)", [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}], ["A=1"], id="one"),
            pytest.param("$(POD_NAME)", [], ["POD_NAME"], id="one that is added"),
            pytest.param(
                "$(C)",
                [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}, {"name": "C", "value": "$(B)$(NO)"}],
                ["A=1", "B=$(A)", "C=$(B)$(NO)"],
                id="those that it is made of",
            ),
            pytest.param(
                "$(A)",
                [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}],
                ["A=1", "A=$(A)2"],
                id="two of one name",
            ),
            pytest.param("$(A)", [{"name": "A", "value": "$(A)"}], ["A=$(A)"], id="itself"),
        ],
    )
    def test_variables_are_needed_in_their_order(
        self, expression: str, env: list[dict[str, Any]], expected: list[str]
    ) -> None:
        """All that the value depends on, and nothing else."""
        assert self.needed(expression, *env) == expected

    @pytest.mark.parametrize(
        ("expression", "fields", "said"),
        [
            pytest.param("$(A)", {}, 'needs "A", which is not in its env', id="not there"),
            pytest.param("$(A)", {"envFrom": FROM}, 'needs "A", which is not in its env', id="from envFrom"),
            pytest.param(
                "$(A)",
                {"env": [{"name": "A", "value": "$(Z)$(B)"}], "envFrom": FROM},
                'needs "B", which comes from envFrom; put it in env',
                id="made of envFrom's",
            ),
            pytest.param(
                "$(A)",
                {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
                'needs "A", which comes from a Secret or file',
                id="a Secret's",
            ),
            pytest.param(
                "$(A)",
                {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"path": "x"}}}]},
                'needs "A", which comes from a Secret or file',
                id="a file's",
            ),
        ],
    )
    def test_what_can_not_be_seen_is_a_reason(self, expression: str, fields: dict[str, Any], said: str) -> None:
        """It names the variable and what to do."""
        with pytest.raises(NotInjectable) as raised:
            needed_variables(container(**fields), (), expression)
        finding = raised.value.finding
        assert (finding.reason, finding.annotation) == (Reason.UNKNOWN_VARIABLE, "logs")
        assert finding.message == f'the subPathExpr of "app" {said}'

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ({"fieldRef": {"fieldPath": "metadata.name"}}, None),
            ({"configMapKeyRef": {"name": "m", "key": "k"}}, None),
            ({"resourceFieldRef": {"resource": "limits.cpu"}}, {"containerName": "app", "resource": "limits.cpu"}),
            (
                {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "b"}},
                {"containerName": "b", "resource": "limits.cpu"},
            ),
        ],
        ids=str,
    )
    def test_a_value_is_the_same_in_the_sidecar(self, source: Any, expected: Any) -> None:
        """A container's resources are named with the container."""
        (found,) = needed_variables(container(env=[{"name": "A", "valueFrom": source}]), (), "$(A)")
        assert found.valueFrom is not None
        assert found.valueFrom.resourceFieldRef == expected
        assert (found.valueFrom.fieldRef, found.valueFrom.configMapKeyRef) == (
            source.get("fieldRef"),
            source.get("configMapKeyRef"),
        )

    def test_more_variables_than_can_be_understood_are_a_reason(self) -> None:
        """Each may be made of all those before it; nobody needs hundreds for a path."""
        env = [{"name": f"V{number}", "value": f"$(V{number - 1})$(V{number - 1})"} for number in range(MAX_VARIABLES)]
        assert len(needed_variables(container(env=env), (), "$(V400)")) == 401
        with pytest.raises(NotInjectable, match="has more than 500 variables, too many to resolve its subPathExpr"):
            needed_variables(container(env=env), POD_VARIABLES[:1], "$(V400)")


class TestEnvironment:
    """The sidecar's variables, and those that come with a ``subPathExpr``."""

    @staticmethod
    def adopted(
        expression: str, *needed: EnvVar, ours: tuple[EnvVar, ...] = ()
    ) -> tuple[str, list[tuple[str, str | None]]]:
        """Return the expression in our names, and the variables that were added."""
        environment = Environment(ours)
        made = environment.add_needed_variables(needed, expression)
        return made, [(variable.name, variable.value) for variable in environment.variables[len(ours) :]]

    def test_a_name_that_is_free_is_kept(self) -> None:
        """Nothing has to be renamed."""
        assert self.adopted("x/$(A)", EnvVar("A", "1")) == ("x/$(A)", [("A", "1")])

    def test_a_variable_that_is_there_already_is_not_added(self) -> None:
        """As the API server completes it, too."""
        completed = EnvVar(
            "POD_NAME", valueFrom=EnvVarSource(fieldRef={"apiVersion": "v1", "fieldPath": "metadata.name"})
        )
        for variable in (POD_VARIABLES[0], completed):
            assert self.adopted("$(POD_NAME)", variable, ours=SIDECAR_VARIABLES) == ("$(POD_NAME)", [])
        other = EnvVar("POD_NAME", valueFrom=EnvVarSource(fieldRef={"apiVersion": "v2", "fieldPath": "metadata.name"}))
        assert self.adopted("$(POD_NAME)", other, ours=SIDECAR_VARIABLES)[0] == "$(PILLION_1_POD_NAME)"

    def test_a_name_that_is_taken_is_changed(self) -> None:
        """In the expression, and in the variables that use it; again where that one is taken as well."""
        ours = (EnvVar("A", "ours"), EnvVar("PILLION_1_A", "too"))
        assert self.adopted("$(B)/$(A)", EnvVar("A", "1"), EnvVar("B", "$(A)$$(A)"), ours=ours) == (
            "$(B)/$(PILLION_2_A)",
            [("PILLION_2_A", "1"), ("B", "$(PILLION_2_A)$$(A)")],
        )

    def test_two_containers_may_have_other_values(self) -> None:
        """The same value is used again, another gets a name of its own."""
        environment = Environment(())
        expressions = [
            environment.add_needed_variables([EnvVar("A", value)], "$(A)") for value in ("1", "2", "1", "2", "3")
        ]
        assert expressions == ["$(A)", "$(PILLION_1_A)", "$(A)", "$(PILLION_1_A)", "$(PILLION_2_A)"]

    def test_what_is_undefined_in_the_container_stays_undefined(self) -> None:
        """A variable of ours must not be filled in there."""
        assert self.adopted("$(B)", EnvVar("B", "$(A)$(C)"), ours=(EnvVar("A", "ours"),)) == (
            "$(B)",
            [("B", "$$(A)$(C)")],
        )

    def test_a_later_variable_of_one_name_sees_the_earlier_one(self) -> None:
        """As it does in the container."""
        made, added = self.adopted("$(A)", EnvVar("A", "1"), EnvVar("A", "$(A)2"))
        assert (made, added) == ("$(PILLION_1_A)", [("A", "1"), ("PILLION_1_A", "$(A)2")])


def test_a_long_text_of_half_references_is_read_at_once() -> None:
    """Looked for behind the last bracket, a million of them would cost a million squared."""
    long = container(envFrom=FROM, args=[f"$({NAME})" + "$(" * 1_000_000])
    assert [variable.name for variable in added_variables(long)] == [NAME]
