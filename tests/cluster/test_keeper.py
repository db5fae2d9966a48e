"""Keepers of certificates at a real API server, with the chart's rights, and with answers that come late or in part."""

import base64
import json
import random
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.api import ApiServer, StatusError
from certs.ca import CA
from certs.keeper import Keeper
from certs.rotation import ApplyBundles, BundleTarget, CreateSecret, Observed, RotationSettings, Step, WriteSecret
from certs.shared_directory import SharedDirectory
from certs.store import ObjectNames, Store
from certs.verify import verify
from tests.certs.recording import RecordingLog
from tests.chart.rendering import objects

from .client import Client, CommandError
from .control_plane import ApiServer as Cluster
from .image import CHART
from .processes import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("helm_program")]

#: What the keeper needs of the chart; nothing runs here.
HOOKS, LINTS = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
KINDS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Secret", "Lease", HOOKS, LINTS}
SECONDS = 40.0
SECOND = timedelta(seconds=1)


@dataclass
class Installed:
    """A release without servers: the chart's rights and objects, and what keepers of it need."""

    kubectl: Client
    name: str
    namespace: str
    api: ApiServer
    folder: Path
    stack: ExitStack
    log: RecordingLog = field(default_factory=RecordingLog)

    @property
    def cluster_name(self) -> str:
        """Return the name of its objects that have no namespace."""
        return f"{self.name}.{self.namespace}.pillion.dev"

    @property
    def settings(self) -> RotationSettings:
        """Return lifetimes of seconds."""
        server = f"{self.name}.{self.namespace}.svc"
        return RotationSettings((server,), 120 * SECOND, 30 * SECOND, 0.5 * SECOND, 2 * SECOND)

    @property
    def objects(self) -> ObjectNames:
        """Return where its objects are."""
        own = f"{self.name}-certificate"
        hooks = tuple(f"{kind.lower()}s/{self.cluster_name}" for kind in (HOOKS, LINTS))
        return ObjectNames(self.namespace, own, own, hooks)

    def keeper(self, identity: str = "one", api: ApiServer | None = None) -> Keeper:
        """Return a keeper with a folder of its own."""
        folder = self.folder / identity
        folder.mkdir(exist_ok=True)
        return Keeper(
            api or self.api, self.objects, self.settings, SharedDirectory(folder), identity=identity, log=self.log
        )

    def run(self, keeper: Keeper) -> Callable[[], None]:
        """Let a keeper run in a thread until the test ends, or until what is returned is called."""
        stop = threading.Event()
        thread = threading.Thread(target=keeper.run, args=(stop,))
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        self.stack.callback(end)
        return end

    def content(self) -> dict[str, bytes]:
        """Return the Secret's content, empty where there is none."""
        words = ("get", "secret", self.objects.secret, "-n", self.namespace, "-o", "json", "--ignore-not-found")
        try:
            data = self.kubectl(*words).get("data") or {}
        except ValueError:  # nothing found, nothing printed
            return {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    def hooks(self, kind: str = HOOKS) -> Any:
        """Return a webhook configuration."""
        return self.kubectl("get", kind, self.cluster_name, "-o", "json")

    def bundles(self, kind: str = HOOKS) -> list[bytes]:
        """Return what each entry trusts."""
        return [base64.b64decode(each["clientConfig"].get("caBundle", "")) for each in self.hooks(kind)["webhooks"]]

    def holder(self) -> str:
        """Return who holds the Lease, nobody where there is none."""
        words = ("get", "lease", self.objects.lease, "-n", self.namespace)
        return self.kubectl.attempt(*words, "-o", "jsonpath={.spec.holderIdentity}").stdout

    def settled(self) -> bool:
        """Return whether servers could show a good leaf, every entry trusts its CA, and no rotation goes on."""
        content = self.content()
        if {"ca.crt", "ca.key", "tls.crt", "tls.key"} != content.keys() - {"distrusted-ca.crt"}:
            return False
        if any(self.bundles(kind) != [content["ca.crt"]] * 2 for kind in (HOOKS, LINTS)):
            return False
        now = self.store(lambda store: store.observe()).time
        names = self.settings.names
        verify(content["tls.crt"], content["tls.key"], now=now, names=names, roots_pem=content["ca.crt"])
        return True

    def store(self, do: Callable[[Store], Any]) -> Any:
        """Do something with the keeper's own rights."""
        with self.api.connect() as connection:
            return do(Store(connection, self.objects))

    def perform(self, step: Step, seen: Observed) -> None:
        """Take a step with the keeper's own rights."""
        self.store(lambda store: store.perform(step, seen))


@pytest.fixture
def install(apiserver: Cluster, kubectl: Client, tmp_path: Path) -> Iterator[Callable[[str], Installed]]:
    """Return what installs the chart's objects that a keeper works with."""
    with ExitStack() as stack:

        def new(name: str) -> Installed:
            namespace = f"{name}-system"
            kubectl("create", "namespace", namespace)
            objects = manifests(name, KINDS)
            kubectl("apply", "--server-side", "-f", "-", stdin=objects)
            stack.callback(kubectl, "delete", "--ignore-not-found", "-f", "-", stdin=objects)
            account = tmp_path / name
            api = with_account(kubectl, name, namespace, account)
            return Installed(kubectl, name, namespace, api, account, stack.enter_context(ExitStack()))

        if not isinstance(apiserver, Cluster):
            pytest.skip("a cluster of one's own may be reached in other ways")
        yield new


def with_account(kubectl: Client, name: str, namespace: str, account: Path) -> ApiServer:
    """Return the API server as a pod with this service account sees it, whose files are written into a folder."""
    account.mkdir()
    config = kubectl("config", "view", "--raw", "-o", "json")["clusters"][0]["cluster"]
    (account / "ca.crt").write_bytes(Path(config["certificate-authority"]).read_bytes())
    (account / "token").write_text(kubectl("create", "token", name, "-n", namespace))
    host, _, port = config["server"].removeprefix("https://").rpartition(":")
    return ApiServer.in_cluster({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}, account)


def manifests(name: str, kinds: Collection[str], **values: Any) -> dict[str, Any]:
    """Return what the chart renders for a release of these kinds; its tests are no part of that."""
    made = objects({"fullnameOverride": name, **values}, name, f"{name}-system")
    ours = [each for each in made if each["kind"] in kinds and "helm.sh/hook" not in json.dumps(each)]
    return {"apiVersion": "v1", "kind": "List", "items": ours}


def eventually(condition: Callable[[], Any]) -> None:
    """Fail if it does not come true."""
    assert wait_until(condition, SECONDS, poll=0.1), condition


def test_an_installation_is_served_by_its_first_looks(install: Callable[[str], Installed]) -> None:
    """Four steps, and the leaf is in the folder with the fifth look; all of it with the chart's rights."""
    release = install("looks")
    keeper = release.keeper()
    for _ in range(4):
        keeper.reconcile()
    assert release.settled()
    pem = SharedDirectory(release.folder / "one").pair_file.read_bytes()
    content = release.content()
    assert pem == content["tls.crt"] + content["tls.key"]
    assert [fields["kind"] for _, event, fields in release.log.events if event == "step"] == [
        "write_secret",
        "apply_bundles",
        "write_secret",
    ]
    assert release.holder() == "one"


def test_helm_takes_over_what_servers_made_again(
    apiserver: Cluster, helm_on: Callable[[Cluster], Client], kubectl: Client, tmp_path: Path
) -> None:
    """Servers that are about to leave make a Secret again that an upgrade has just removed; the way back stays open."""
    helm, name, namespace = helm_on(apiserver), "again", "again-system"
    place = ObjectNames(namespace, f"{name}-pillion-certificate", f"{name}-pillion-certificate", (), name)
    options = (name, str(CHART), "-n", namespace, "--set=prefix=again.example.org/")
    (tmp_path / "ca.pem").write_bytes(CA.create(datetime.now(UTC)).certificate_pem)
    bundle = f"--set-file=certificates.caBundle={tmp_path / 'ca.pem'}"
    provided = ("--set=certificates.mode=provided", "--set=certificates.secretName=pair", bundle)
    helm("install", *options, "--create-namespace", *provided)
    try:
        kubectl("create", "serviceaccount", "owner", "-n", namespace)
        words = ("--clusterrole=cluster-admin", f"--serviceaccount={namespace}:owner", "-n", namespace)
        kubectl("create", "rolebinding", "owner", *words)
        with with_account(kubectl, "owner", namespace, tmp_path / "owner").connect() as connection:
            store = Store(connection, place)
            store.perform(CreateSecret("there is no Secret"), store.observe())
            store.read_or_create_lease()
        helm("upgrade", *options)
        labels = [
            kubectl("get", kind, place.secret, "-n", namespace, "-o", "json")["metadata"]["labels"]
            for kind in ("secret", "lease")
        ]
        assert [each["app.kubernetes.io/instance"] for each in labels] == [name, name]
    finally:
        helm("uninstall", name, "-n", namespace)


@pytest.mark.parametrize("lost", ["secret", "lease"])
def test_what_is_deleted_is_made_again_with_the_charts_rights(install: Callable[[str], Installed], lost: str) -> None:
    """By server-side apply: a plain create can't be limited by name."""
    release = install(f"lost-{lost}")
    release.run(release.keeper())
    eventually(release.settled)
    before = release.content()["ca.crt"]
    release.kubectl("delete", lost, release.objects.secret, "-n", release.namespace)
    if lost == "secret":
        eventually(lambda: release.content().get("retired-ca.crt") == before)
    eventually(lambda: release.holder() == "one")
    eventually(release.settled)


def test_bundles_are_ours_and_the_rest_is_not(install: Callable[[str], Installed]) -> None:
    """Field by field: so nobody who writes the rest has to know of the bundles, and is not undone."""
    release = install("owned")
    release.run(release.keeper())
    eventually(release.settled)
    name = release.cluster_name
    shown = release.kubectl("get", "mutatingwebhookconfiguration", name, "-o", "json", "--show-managed-fields")
    ours = [each for each in shown["metadata"]["managedFields"] if each["manager"] == "pillion"]
    assert [each["operation"] for each in ours] == ["Apply"]
    entries = ours[0]["fieldsV1"]["f:webhooks"]
    assert {json.dumps(entry) for entry in entries.values()} == {
        json.dumps({".": {}, "f:clientConfig": {"f:caBundle": {}}, "f:name": {}})
    }


def test_the_charts_upgrade_leaves_bundles_alone(install: Callable[[str], Installed]) -> None:
    """The same manifests, applied again without force, conflict with nothing and take nothing away."""
    release = install("upgraded")
    release.run(release.keeper())
    eventually(release.settled)
    before = release.bundles()
    changed = manifests(release.name, {HOOKS}, webhook={"timeoutSeconds": 7})
    release.kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    assert release.bundles() == before
    assert [entry["timeoutSeconds"] for entry in release.hooks()["webhooks"]] == [7, 7]


def test_an_old_version_is_refused(install: Callable[[str], Installed]) -> None:
    """What the rotation's safety rests on: of two who write the same version, one is told."""
    release = install("versions")
    keeper = release.keeper()
    for _ in range(4):
        keeper.reconcile()
    seen: Observed = release.store(lambda store: store.observe())
    assert seen.secret is not None
    found = {name: each for name, each in seen.webhook_configurations.items() if each is not None}
    assert len(found) == 2
    write = WriteSecret({**seen.secret.data, "x": b"1"}, seen.secret.version, False, "")
    targets = tuple(BundleTarget(name, each.version, tuple(each.bundles)) for name, each in found.items())
    apply = ApplyBundles(CA.create(seen.time).certificate_pem, targets, "")
    for step in (write, apply):
        release.perform(step, seen)
        with pytest.raises(StatusError) as raised:
            release.perform(step, seen)
        assert raised.value.conflict


def test_what_is_written_is_what_is_held(install: Callable[[str], Installed]) -> None:
    """What is left out is taken away, with the annotation that asked; what is not ours to know stays."""
    release = install("written")
    own = ("secret", release.objects.secret, "-n", release.namespace)
    release.kubectl("annotate", *own, "pillion.dev/rotate=leaf", "theirs=stays")
    release.kubectl("label", *own, "their=label")
    first: Observed = release.store(lambda store: store.observe())
    assert first.secret is not None
    assert first.secret.requested_rotation == "leaf"
    release.perform(WriteSecret({"a": b"1", "b": b"\xff"}, first.secret.version, False, ""), first)
    second: Observed = release.store(lambda store: store.observe())
    assert second.secret is not None
    assert (second.secret.data, second.secret.requested_rotation) == ({"a": b"1", "b": b"\xff"}, "leaf")
    release.perform(WriteSecret({"b": b"2"}, second.secret.version, True, ""), second)
    third: Observed = release.store(lambda store: store.observe())
    assert third.secret is not None
    assert (third.secret.data, third.secret.requested_rotation) == ({"b": b"2"}, "")
    metadata = release.kubectl("get", *own, "-o", "json")["metadata"]
    assert metadata["annotations"]["theirs"] == "stays"
    assert metadata["labels"]["their"] == "label"


def test_another_keeper_goes_on_where_one_ended(install: Callable[[str], Installed]) -> None:
    """At once where the Lease was released; whoever asked for a rotation gets it."""
    release = install("two")
    end = release.run(release.keeper("one"))
    eventually(release.settled)
    release.run(release.keeper("two"))
    eventually((release.folder / "two" / "pair.pem").exists)
    before = release.content()["ca.crt"]
    own = ("secret", release.objects.secret, "-n", release.namespace)
    release.kubectl("annotate", *own, "pillion.dev/rotate=CA")
    eventually(lambda: "next-ca.crt" in release.content())
    end()
    eventually(lambda: release.holder() == "two")
    eventually(lambda: release.settled() and release.content()["ca.crt"] != before)


def test_bundles_of_another_mode_are_left_alone(install: Callable[[str], Installed]) -> None:
    """The chart's upgrade to another mode names another Secret; keepers of before may still run for a minute."""
    release = install("other-mode")
    release.run(release.keeper())
    eventually(release.settled)
    theirs = CA.create(release.store(lambda store: store.observe()).time).certificate_pem
    entry = {"clientConfig": {"caBundle": base64.b64encode(theirs).decode()}}
    patch = {
        "metadata": {"annotations": {"pillion.dev/certificate": "theirs"}},
        "webhooks": [{"name": each["name"], **entry} for each in release.hooks()["webhooks"]],
    }
    words = ("patch", "mutatingwebhookconfiguration", release.cluster_name, "--type=strategic")
    release.kubectl(*words, f"--patch={json.dumps(patch)}")
    release.kubectl("annotate", "secret", release.objects.secret, "-n", release.namespace, "pillion.dev/rotate=leaf")
    looks = len(release.log.events)
    eventually(lambda: any(event == "leaf written" for _, event, _ in release.log.events[looks:]))
    assert release.bundles() == [theirs] * 2


def test_releases_do_not_meet(install: Callable[[str], Installed]) -> None:
    """Each looks after its own objects, and has no right to the other's."""
    one, two = install("left"), install("right")
    one.run(one.keeper())
    two.run(two.keeper())
    eventually(one.settled)
    eventually(two.settled)
    assert one.content()["ca.crt"] != two.content()["ca.crt"]
    foreign = replace(one, name="right", namespace="right-system")
    with pytest.raises(StatusError, match="403"):
        foreign.store(lambda store: store.observe())


def test_without_its_rights_it_says_so_and_goes_on_when_they_are_back(install: Callable[[str], Installed]) -> None:
    """Each sentence names what is missing."""
    release = install("rights")
    role = release.kubectl("get", "clusterrolebinding", release.cluster_name, "-o", "json")
    release.kubectl("delete", "clusterrolebinding", release.cluster_name)
    keeper = release.keeper()

    def refused() -> bool:
        keeper.reconcile()
        return any("cannot get resource" in str(fields.get("message")) for _, _, fields in release.log.events)

    eventually(refused)
    release.kubectl(
        "create",
        "-f",
        "-",
        stdin={key: role[key] for key in ("apiVersion", "kind", "roleRef", "subjects")}
        | {"metadata": {"name": role["metadata"]["name"]}},
    )
    release.run(keeper)
    eventually(release.settled)


@contextmanager
def faulty(target: ApiServer, chance: random.Random) -> Iterator[tuple[ApiServer, threading.Event]]:
    """Yield an API server behind a wire that is slow, breaks off anywhere, or goes silent; the event mends it."""
    mended = threading.Event()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threads: list[threading.Thread] = []

        def pump(source: socket.socket, sink: socket.socket, most: int, pause: float) -> None:
            with suppress(OSError):
                while most > 0 and (part := source.recv(min(most, 4096))):
                    mended.wait(pause)
                    sink.sendall(part)
                    most -= len(part)
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection((target.host, target.port))
                for each in (client, server):
                    stack.callback(each.close)
                fault = "none" if mended.is_set() else chance.choice(["none", "none", "cut", "cut", "slow", "silent"])
                # an answer's last bytes are lost though what was asked is done: the worst case
                most = {"cut": chance.randrange(12000), "silent": 0}.get(fault, 1 << 40)
                pause = 0.3 if fault == "slow" else 0.0
                for pair, limit in (((client, server), 1 << 40), ((server, client), most)):
                    threads.append(threading.Thread(target=pump, args=(*pair, limit, pause)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield replace(target, host="127.0.0.1", port=listener.getsockname()[1], time_limit=1.0), mended
        finally:
            mended.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def test_a_bad_wire_costs_time_and_nothing_else(install: Callable[[str], Installed]) -> None:
    """Two keepers rotate over it: entries always trust who signed the Secret's leaf, and once mended it settles."""
    release = install("wire")
    seed = random.randrange(2**32)
    with faulty(release.api, random.Random(seed)) as (bad, mended):
        not_after = [release.run(release.keeper(identity, bad)) for identity in ("one", "two")]
        eventually(lambda: "tls.crt" in release.content())
        own = ("secret", release.objects.secret, "-n", release.namespace)
        for _ in range(3):
            release.kubectl("annotate", "--overwrite", *own, "pillion.dev/rotate=CA")
            for _ in range(15):
                before, bundles, after = release.content(), release.bundles(), release.content()
                if before == after and before.get("tls.crt"):
                    for bundle in bundles:
                        verify(
                            before["tls.crt"],
                            before["tls.key"],
                            now=release.store(lambda store: store.observe()).time,
                            roots_pem=bundle,
                        )
        mended.set()
        eventually(release.settled)
        for end in not_after:
            end()
    assert any(fields.get("kind") == "unreachable" for _, _, fields in release.log.events), seed
    assert not any(fields.get("kind") == "unexpected_exception" for _, _, fields in release.log.events), (
        seed,
        release.log.events,
    )


def test_the_token_is_read_anew(install: Callable[[str], Installed]) -> None:
    """The kubelet replaces it each few minutes."""
    release = install("token")
    token = release.folder / "token"
    good = token.read_text()
    token.write_text("old")
    keeper = release.keeper()
    keeper.reconcile()
    assert release.log.events[-1][2]["kind"] == "error_response"
    token.write_text(good)
    keeper.reconcile()
    assert release.log.events[-1][1] == "step"


def test_lints_need_not_be_there(install: Callable[[str], Installed]) -> None:
    """Whoever deletes their configuration by hand stops no rotation."""
    release = install("lintless")
    release.kubectl("delete", LINTS, release.cluster_name)
    keeper = release.keeper()
    for _ in range(4):
        keeper.reconcile()
    content = release.content()
    assert content["tls.crt"]
    assert release.bundles() == [content["ca.crt"]] * 2


def test_rights_end_at_its_own_objects(install: Callable[[str], Installed]) -> None:
    """The token can't do what nobody needs."""
    release = install("bound")
    account = f"--as=system:serviceaccount:{release.namespace}:{release.name}"
    own = release.objects.secret
    for words in (
        ("delete", "secret", own),
        ("get", "secret", "other"),
        ("get", "secrets"),
        ("delete", HOOKS, release.cluster_name),
        ("delete", LINTS, release.cluster_name),
    ):
        with pytest.raises(CommandError, match=r"Forbidden|forbidden"):
            release.kubectl(*words, "-n", release.namespace, account)
