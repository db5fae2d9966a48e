"""The volume plan."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.injection.reviews import CONFIGURATION
from tests.injection.views import candidate
from tests.tables import rows
from webhook.injection import volumes as module
from webhook.injection.annotations import parse_logs
from webhook.injection.candidates import Candidate
from webhook.injection.pod import EnvVar
from webhook.injection.reasons import Finding, NotInjectable, Reason
from webhook.injection.volumes import Plan, plan_volumes

TAIL = CONFIGURATION.profiles["tail"]
EMPTY: dict[str, Any] = {"emptyDir": {}}
VOLUMES: dict[str, dict[str, Any]] = {
    "data": EMPTY,
    "other": EMPTY,
    "settings": {"configMap": {"name": "x"}},
    "node": {"hostPath": {"path": "/x"}},
    "read": {"nfs": {"readOnly": True}},
}


def mounting(*mounts: str | dict[str, Any], name: str = "app", selected: bool = True, **fields: Any) -> Candidate:
    """Return a container with these mounts: ``data:/path``, or a mount's fields."""
    found = []
    for mount in mounts:
        volume, _, path = mount.partition(":") if isinstance(mount, str) else ("", "", "")
        found.append({"name": volume, "mountPath": path} if isinstance(mount, str) else {"name": "data", **mount})
    return candidate(name, selected=selected, volumeMounts=found, **fields)


def planned(logs: str, *containers: Candidate, read_host_paths: bool = True) -> Plan:
    """Return the plan for these containers."""
    volumes = {name: {"name": name, **source} for name, source in VOLUMES.items()}
    return plan_volumes(containers, parse_logs(logs), volumes, TAIL, read_host_paths=read_host_paths)


def decline(logs: str, *containers: Candidate) -> Finding:
    """Return why there is no plan."""
    with pytest.raises(NotInjectable) as raised:
        planned(logs, *containers)
    return raised.value.finding


def read(made: Plan) -> dict[str, list[str]]:
    """Return what the sidecar reads, by volume and folder of it."""
    return {
        ":".join(
            filter(None, (source.mount.name, source.mount.subPath or source.mount.subPathExpr))
        ): source.sidecar_patterns
        for source in made.sources
    }


class Case(NamedTuple):
    """What a container mounts where /srv/app is the log directory, and what the plan makes of it."""

    mounts: list[str]
    logs: str
    new: list[tuple[str, str]]
    reads: dict[str, list[str]]


NEW = [("pillion-logs-1", "/srv/app")]
#: By the row of the table.
CASES: dict[str, list[Case]] = {
    "a volume at the directory or above": [
        Case(["data:/srv/app"], "/srv/app/*.log", [], {"data": ["/srv/app/*.log"]}),
        Case(["data:/srv"], "/srv/app/*.log", [], {"data": ["/srv/app/*.log"]}),
        Case(["data:/srv", "other:/srv/app"], "/srv/app/*.log", [], {"other": ["/srv/app/*.log"]}),
        Case(["data:/"], "/srv/app/*.log", [], {"data": ["/pillion/logs/app/srv/app/*.log"]}),
    ],
    "nothing there": [
        Case([], "/srv/app/*.log", NEW, {"pillion-logs-1:app": ["/srv/app/*.log"]}),
        Case(["data:/srv/app2"], "/srv/app/*.log", NEW, {"pillion-logs-1:app": ["/srv/app/*.log"]}),
    ],
    "a volume below it, logs may be there": [
        Case(
            ["data:/srv/app/x"],
            "/srv/app/**/*.log",
            NEW,
            {"pillion-logs-1:app": ["/srv/app/**/*.log"], "data": ["/pillion/logs/app/**/*.log"]},
        ),
        Case(["data:/srv/app/x.log"], "/srv/app/x.log", [], {"data": ["/srv/app/x.log"]}),
    ],
    "a volume below it, no logs there": [
        Case(["data:/srv/app/x"], "/srv/app/*.log", NEW, {"pillion-logs-1:app": ["/srv/app/*.log"]}),
        Case(["settings:/srv/app/x"], "/srv/app/**/*.log", NEW, {"pillion-logs-1:app": ["/srv/app/**/*.log"]}),
        Case(["data:/srv/app/x/y"], "/srv/app/*.log", NEW, {"pillion-logs-1:app": ["/srv/app/*.log"]}),
    ],
}


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(CASES) == rows(module)


@pytest.mark.parametrize("row", CASES)
def test_what_a_container_mounts_decides(row: str) -> None:
    """Whether a volume is added, and what the sidecar reads."""
    for case in CASES[row]:
        made = planned(case.logs, mounting(*case.mounts))
        assert made.new_volumes == case.new, case
        assert read(made) == case.reads, case
        assert made.reused == [name for name in case.reads if not name.startswith("pillion-")], case


def test_each_container_has_a_folder_of_its_own_in_a_new_volume() -> None:
    """Two that write the same file name do not meet; each log directory has a volume of its own."""
    made = planned("/srv/a/*.log,web:/srv/b/*.log", mounting(), mounting(name="web"))
    assert made.new_volumes == [("pillion-logs-1", "/srv/a"), ("pillion-logs-2", "/srv/b")]
    assert [(item.container.name, mount.name, mount.mountPath, mount.subPath) for item, mount in made.mounts] == [
        ("app", "pillion-logs-1", "/srv/a", "app"),
        ("web", "pillion-logs-1", "/srv/a", "web"),
        ("web", "pillion-logs-2", "/srv/b", "web"),
    ]
    assert made.log_containers == {"app", "web"}
    assert made.reused == []


def test_a_volume_is_never_spread() -> None:
    """A container that does not mount it gets a new one."""
    made = planned("/srv/*.log", mounting("data:/srv"), mounting(name="web"))
    assert [(item.container.name, mount.name) for item, mount in made.mounts] == [("web", "pillion-logs-1")]
    assert read(made) == {"data": ["/srv/*.log"], "pillion-logs-1:web": ["/pillion/logs/web/*.log"]}


def test_a_place_that_several_see_is_read_once() -> None:
    """With the files of each; a volume's other folder is another source."""
    made = planned(
        "app:/srv/*.log,web:/data/x.log,web:/data/*.log",
        mounting({"mountPath": "/srv", "subPath": "a"}),
        mounting({"mountPath": "/data", "subPath": "a/"}, name="web"),
    )
    (source,) = made.sources
    assert source.seen_by == [("app", "/srv"), ("web", "/data")]
    assert source.sidecar_patterns == ["/srv/*.log", "/srv/x.log"]
    other = planned(
        "/srv/*.log",
        mounting({"mountPath": "/srv", "subPath": "a"}),
        mounting({"mountPath": "/srv", "subPath": "b"}, name="web"),
    )
    assert set(read(other)) == {"data:a", "data:b"}


def test_a_directory_inside_a_new_one_has_a_volume_of_its_own() -> None:
    """An entry with ** means the files in there, too."""
    made = planned("/srv/**/*.log,/srv/a/x.log", mounting())
    assert made.new_volumes == [("pillion-logs-1", "/srv"), ("pillion-logs-2", "/srv/a")]
    assert [(source.mount.name, source.patterns) for source in made.sources] == [
        ("pillion-logs-1", [((), True, "*.log")]),
        ("pillion-logs-2", [((), True, "*.log"), ((), False, "x.log")]),
    ]


def test_a_directory_inside_a_new_one_is_not_meant_by_other_entries() -> None:
    """Without ** only the files in the directory itself are."""
    made = planned("/srv/*.log,/srv/a/x.log", mounting())
    assert [source.patterns for source in made.sources] == [[((), False, "*.log")], [((), False, "x.log")]]


def test_a_new_volume_around_a_reused_one_leaves_it_where_it_is() -> None:
    """Both are read, each at its own source."""
    made = planned("/srv/**/*.log", mounting("data:/srv/a"), mounting("data:/srv/a", name="web"))
    assert made.reused == ["data"]
    assert [source.new for source in made.sources] == [True, False, True]


class TestFiles:
    """Mounts that are a file by themselves."""

    def test_a_file_among_others_is_read_where_it_is(self) -> None:
        """The directory gets its volume for the rest."""
        made = planned("/srv/x.log,/srv/y.log", mounting({"mountPath": "/srv/x.log", "subPath": "x"}))
        assert made.new_volumes == [("pillion-logs-1", "/srv")]
        assert {name: len(patterns) for name, patterns in read(made).items()} == {"data:x": 1, "pillion-logs-1:app": 1}

    @pytest.mark.parametrize(
        ("mount", "logs", "read_itself"),
        [
            pytest.param({"mountPath": "/srv/x.log", "subPath": "x"}, "/srv/*.log", True, id="subPath"),
            pytest.param({"mountPath": "/srv/x.log", "subPathExpr": "x"}, "/srv/*.log", True, id="subPathExpr"),
            pytest.param({"mountPath": "/srv/x.log", "name": "node"}, "/srv/*.log", True, id="the node's"),
            pytest.param({"mountPath": "/srv/x.log"}, "/srv/*.log", False, id="a volume's root is no file"),
            pytest.param({"mountPath": "/srv/x.txt", "subPath": "x"}, "/srv/*.log", False, id="another name"),
            pytest.param({"mountPath": "/srv/a/x.log", "subPath": "x"}, "/srv/*.log", False, id="too deep"),
            pytest.param({"mountPath": "/srv/a/x.log", "subPath": "x"}, "/srv/**/*.log", True, id="deep, with **"),
        ],
    )
    def test_a_file_may_match_a_pattern(self, mount: dict[str, Any], logs: str, *, read_itself: bool) -> None:
        """If it can be a file, and lies where the pattern looks."""
        made = planned(logs, mounting(mount))
        itself = [source for source in made.sources if ((), False, "") in source.patterns]
        assert [source.mount.mountPath for source in itself] == ([mount["mountPath"]] if read_itself else [])

    def test_a_block_device_is_no_place(self) -> None:
        """Neither at the directory nor as the file; one below it is none of our business."""
        device = [{"name": "disk", "devicePath": "/srv"}]
        finding = decline("/srv/*.log", mounting(volumeDevices=device))
        assert (finding.reason, finding.annotation, finding.value) == (Reason.BLOCK_DEVICE, "logs", "/srv/*.log")
        assert decline("/x.log", mounting(volumeDevices=[{"name": "d", "devicePath": "/x.log"}])).reason is (
            Reason.BLOCK_DEVICE
        )
        assert planned("/srv/**/*", mounting(volumeDevices=[{"name": "d", "devicePath": "/srv/x"}])).reused == []


class TestKinds:
    """What can't hold logs."""

    def test_a_settings_volume_at_the_directory_is_a_reason(self) -> None:
        """The sidecar would print what it must not see."""
        finding = decline("/srv/*.log", mounting("settings:/srv"))
        assert (finding.reason, finding.annotation, finding.value) == (Reason.UNWRITABLE_VOLUME, "logs", "/srv/*.log")
        assert finding.message == "a ConfigMap is mounted there, which can't hold logs"

    @pytest.mark.parametrize("mounts", [(), ("data:/srv/app",)], ids=["a new volume", "one that is there"])
    def test_a_file_of_the_kubelets_is_a_reason(self, mounts: tuple[str, ...]) -> None:
        """It is mounted over the logs, whoever the volume is of."""
        container = mounting(*mounts, terminationMessagePath="/srv/app/x.log")
        assert decline("/srv/app/x.log", container).reason is Reason.UNWRITABLE_VOLUME

    def test_a_mount_of_no_volume_is_a_reason(self) -> None:
        """Who wrote the manifest reads what is missing."""
        assert "a volume that the pod does not define" in decline("/srv/*.log", mounting("nosuch:/srv")).message

    @pytest.mark.parametrize(("asked", "names"), [(True, ["node"]), (False, [])])
    def test_the_nodes_folders_are_read_only_where_the_pod_asks(self, *, asked: bool, names: list[str]) -> None:
        """A namespace asks for all its pods, and does not know what they mount."""
        made = planned("/srv/*.log", mounting("node:/srv"), read_host_paths=asked)
        assert made.reused == names
        assert made.new_volumes == []


class TestOthers:
    """Containers that take no part."""

    def test_what_they_mount_is_read(self) -> None:
        """Their sources, but no volume for them, and they write no logs."""
        made = planned("/srv/*.log", mounting(), mounting("data:/srv", name="init", selected=False))
        assert read(made)["data"] == ["/pillion/logs/init/*.log"]
        assert [item.container.name for item, _ in made.mounts] == ["app"]
        assert made.log_containers == {"app"}

    @pytest.mark.parametrize(
        "mount", ["settings:/srv", "nosuch:/srv", {"mountPath": "/srv", "subPathExpr": "$(NONE)"}], ids=str
    )
    def test_what_can_not_be_read_of_them_is_left_out(self, mount: Any) -> None:
        """It is no reason: nobody asked them to take part."""
        made = planned("/srv/*.log", mounting(), mounting(mount, name="init", selected=False))
        assert made.reused == []

    def test_nothing_is_looked_for_below(self) -> None:
        """Only a mount at the directory or above it is theirs to show."""
        made = planned("/srv/**/*.log", mounting(), mounting("data:/srv/a", name="init", selected=False))
        assert made.reused == []


class TestSubpaths:
    """Folders of a volume."""

    @pytest.mark.parametrize(
        ("mount", "names"),
        [
            ({"mountPath": "/srv"}, set()),
            ({"mountPath": "/srv", "subPath": "a"}, {"data"}),
            ({"mountPath": "/srv", "subPathExpr": "$(A)"}, {"data"}),
        ],
        ids=str,
    )
    def test_volumes_with_folders_of_the_users_are_named(self, mount: dict[str, Any], names: set[str]) -> None:
        """Who mounts them first makes the folder; ours are our own business."""
        env = [{"name": "A", "value": "a"}]
        assert planned("/srv/*.log,/x/*.log", mounting(mount, env=env)).reused_subpath_volumes == names

    def test_a_folder_made_of_variables_comes_with_them(self) -> None:
        """The same text with other values is another source."""
        mount = {"mountPath": "/srv", "subPathExpr": "$(A)"}
        containers = [
            mounting(mount, name=name, env=[{"name": "A", "value": value}])
            for name, value in (("app", "a"), ("web", "b"), ("db", "a"))
        ]
        made = planned("/srv/*.log", *containers)
        assert [(source.variables, [name for name, _ in source.seen_by]) for source in made.sources] == [
            ((EnvVar("A", "a"),), ["app", "db"]),
            ((EnvVar("A", "b"),), ["web"]),
        ]

    def test_variables_that_are_added_count(self) -> None:
        """A container may use POD_NAME though it gets it from us."""
        one = mounting({"mountPath": "/srv", "subPathExpr": "$(POD_NAME)"})
        one.added_variables = [EnvVar("POD_NAME", "x")]
        (source,) = planned("/srv/*.log", one).sources
        assert source.variables == (EnvVar("POD_NAME", "x"),)

    def test_a_variable_that_is_not_there_is_a_reason(self) -> None:
        """The kubelet would not start the sidecar."""
        finding = decline("/srv/*.log", mounting({"mountPath": "/srv", "subPathExpr": "$(NONE)"}))
        assert finding.reason is Reason.UNKNOWN_VARIABLE


READ_ONLY = {"mountPath": "/srv", "readOnly": True}


class TestWriters:
    """Who writes the logs, and who can't."""

    def test_nobody_can_write(self) -> None:
        """Then those count that see the logs, and there is a warning."""
        made = planned("/srv/*.log", mounting(READ_ONLY))
        assert made.log_containers == {"app"}
        (finding,) = made.findings
        assert (finding.reason, finding.annotation) == (Reason.READ_ONLY_MOUNT, "logs")
        assert finding.message == '"app" mounts "/srv" read-only, so it can\'t write logs there'

    def test_one_can_write(self) -> None:
        """It alone counts, and nothing is wrong."""
        made = planned("/srv/*.log", mounting(READ_ONLY), mounting("data:/srv", name="web"))
        assert made.log_containers == {"web"}
        assert made.findings == []

    def test_somebody_who_takes_no_part_can_write(self) -> None:
        """Nothing is wrong, but it is not asked whose files they are."""
        made = planned("/srv/*.log", mounting(READ_ONLY), mounting("data:/srv", name="init", selected=False))
        assert made.log_containers == {"app"}
        assert made.findings == []

    def test_another_volume_can_be_written(self) -> None:
        """That is no help for this one."""
        made = planned("/srv/*.log,/x/*.log", mounting(READ_ONLY, "other:/x"))
        assert [finding.reason for finding in made.findings] == [Reason.READ_ONLY_MOUNT]
        assert made.log_containers == {"app"}

    def test_a_read_only_volume_is_warned_of_once(self) -> None:
        """By the first container that mounts it."""
        made = planned("/srv/*.log", mounting("read:/srv"), mounting("read:/srv", name="web"))
        assert [finding.message[:5] for finding in made.findings] == ['"app"']


class TestHiding:
    """What a new volume hides."""

    @pytest.mark.parametrize(
        ("logs", "reason"),
        [("/etc/*.log", Reason.SYSTEM_DIRECTORY), ("/srv/app/*.log", Reason.HIDES_PROGRAM)],
    )
    def test_what_a_container_needs_is_a_reason(self, logs: str, reason: Reason) -> None:
        """A volume of its own there is its own business."""
        command = ["/srv/app/run"]
        assert decline(logs, mounting(command=command)).reason is reason
        assert planned(logs, mounting("data:/etc", "data:/srv", command=command)).new_volumes == []

    def test_each_container_is_asked(self) -> None:
        """The second one gets the volume too."""
        assert decline("/srv/app/*.log", mounting(), mounting(name="web", command=["/srv/app/run"])).reason is (
            Reason.HIDES_PROGRAM
        )

    def test_what_an_image_probably_has_is_a_warning(self) -> None:
        """Of other directories ``explain`` speaks."""
        made = planned("/app/*.log,/srv/logs/*.log", mounting())
        assert [finding.reason for finding in made.findings] == [Reason.HIDES_APPLICATION]
        assert [(finding.reason, finding.value) for finding in made.notes] == [
            (Reason.HIDES_IMAGE_FILES, "/srv/logs"),
        ]


def test_what_is_moved_is_noted() -> None:
    """``explain`` says where the sidecar has it."""
    made = planned("/srv/*.log", mounting("data:/srv"), mounting("other:/srv", name="web"))
    assert [(finding.reason, finding.value, finding.message) for finding in made.notes] == [
        (Reason.RELOCATED, "/srv", "the sidecar mounts it at /pillion/logs/web"),
    ]
