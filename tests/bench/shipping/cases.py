"""What happens to applications, shippers and the store while lines are shipped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.tail.cases import Write, burst, copy_and_truncate, rotating, shift
from tests.bench.tail.contestants import Running
from tests.tail.stores import VictoriaLogs

__all__ = ["CASES", "MAX_BATCH", "Case", "Scene"]

#: pillion-tail's batches have so many lines at most; a request that is not answered repeats one.
MAX_BATCH = 5000
KILLS = 3


@dataclass(frozen=True)
class Scene:
    """Those to whom something can happen."""

    store: VictoriaLogs
    sidecars: Sequence[Running]


Act = Callable[[Scene], None]


steady = rotating(lambda *_: None)


def nothing(_: Scene) -> None:
    """Let everything be."""


@dataclass(frozen=True)
class Case:
    """Something that happens to pods."""

    name: str
    write: Write = steady
    share: float = 0.1
    """Of the lines that are asked for."""
    before: Act = nothing
    """Before the application writes, when the sidecar has sent a first line."""
    meanwhile: Act = nothing
    """While it writes."""
    ends: bool = False
    """The pod ends when the last line is written; else it lives on until every line is there, or no more come."""
    ending: Act = nothing
    """After SIGTERM."""
    alone: bool = False
    """One shipper after the other, because it is about speed; else all at once."""
    patience: float = 15.0
    """So many seconds without a new record mean that no more come: filebeat looks for new files each 10 s."""
    batches: int = 0
    """So many batches may come again."""
    loses: bool = False
    """Lines are lost, whoever ships them."""


def kill_sidecars(scene: Scene) -> None:
    """Kill the sidecars several times, and start them again."""
    for _ in range(KILLS):
        time.sleep(2)
        for sidecar in scene.sidecars:
            sidecar.kill()
        time.sleep(0.5)
        for sidecar in scene.sidecars:
            sidecar.start()


def stop(scene: Scene) -> None:
    """End the store; it keeps what it has acknowledged."""
    scene.store.stop()


def be_away(seconds: float, times: int = 1) -> Act:
    """Return an act in which the store ends, and is started again after so long."""

    def act(scene: Scene) -> None:
        for _ in range(times):
            time.sleep(2)
            scene.store.stop()
            time.sleep(seconds)
            scene.store.start()

    return act


def come_back(scene: Scene) -> None:
    """Start the store after ten seconds of the grace period."""
    time.sleep(10)
    scene.store.start()


#: filebeat and the collector wait up to a minute before they try again.
_LONG = 65.0
CASES = (
    Case("steady writing"),
    Case("rotation by rename", rotating(shift)),
    Case("rotation by copytruncate", rotating(copy_and_truncate)),
    Case("sidecar killed three times", meanwhile=kill_sidecars, batches=KILLS),
    Case("store stopped and started twice", meanwhile=be_away(1, times=2), patience=_LONG, batches=2),
    Case("store away for a minute", meanwhile=be_away(60), patience=_LONG, batches=1),
    Case("a burst, and the pod's end", burst, share=1, ends=True, alone=True),
    Case("… the store away, back after 10 s", burst, before=stop, ends=True, ending=come_back),
    Case("… the store away for good", burst, before=stop, ends=True, loses=True),
)
