"""The program under test, `tail/`: built once into a cache outside the repository."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.programs import BuildError, cache, cargo

SOURCE = Path(__file__).parents[2] / "tail"
#: Static, so that it runs in an image of its own; the first target that this machine's Rust has is built for.
TARGETS = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
BUILD_SECONDS = 1800.0


def program(*, shipping: bool = False) -> Path:
    """Return the program: $PILLION_TAIL, or what cargo builds now (nothing, if these sources were built before).

    With `shipping` it can send to a store; $PILLION_TAIL_SHIPPING then. Raises BuildError with cargo's words, or with
    what to install.
    """
    if given := os.environ.get("PILLION_TAIL_SHIPPING" if shipping else "PILLION_TAIL"):
        return Path(given)
    builder = cargo()
    if builder is None:
        raise BuildError("there is no cargo to build tail/ with; on Debian or Ubuntu: apt-get install cargo")
    # beside rustup's cargo is rustup's rustc
    path = f"{Path(builder).parent}:{os.environ.get('PATH', '')}"
    # each checkout has a folder of its own: their programs have the same name
    name = "tail-shipping" if shipping else "tail"
    target = cache() / f"{name}-{hashlib.sha256(os.fsencode(SOURCE)).hexdigest()[:8]}"
    environment = {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(target)}
    flags, folder = static_target(environment)
    if shipping:
        flags = [*flags, "--features", "shipping"]
    finished = cache() / "tail-programs" / _edition(flags, environment) / "pillion-tail"
    if finished.exists():
        return finished
    built = subprocess.run(
        [builder, "build", "--release", "--locked", "--quiet", *flags],
        cwd=SOURCE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    if built.returncode:
        raise BuildError(f"cargo build failed in tail/:\n{built.stderr[-2000:]}")
    # by a rename: another worker may look for it now
    finished.parent.mkdir(parents=True, exist_ok=True)
    scratch = finished.with_name(f"{os.getpid()}")
    shutil.copy(target / folder / "release" / "pillion-tail", scratch)
    return scratch.replace(finished)


def _edition(flags: list[str], environment: dict[str, str]) -> str:
    """Return a hash of all that makes the program: the same in each checkout, whenever its files were written."""
    compiler = subprocess.run(["rustc", "-vV"], env=environment, capture_output=True, check=False).stdout
    parts = [compiler, " ".join([*flags, environment.get("RUSTFLAGS", "")]).encode()]
    for file in (SOURCE / "Cargo.toml", SOURCE / "Cargo.lock", *sorted((SOURCE / "src").rglob("*.*"))):
        parts += [str(file.relative_to(SOURCE)).encode(), file.read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def static_target(environment: dict[str, str]) -> tuple[list[str], str]:
    """Return cargo's flags for a static program, and the folder that it is built into.

    Debian's Rust has glibc only, which can be linked statically, too.
    """
    told = subprocess.run(
        ["rustc", "--print", "sysroot"], env=environment, capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = os.uname().machine
    for target in TARGETS:
        if target.startswith(machine) and Path(told, "lib/rustlib", target).is_dir():
            # ring has some C that needs no C library: any compiler of this machine does
            environment.setdefault(f"CC_{target.replace('-', '_')}", "cc")
            return ["--target", target], target
    # with a target named, the flags are for the program alone and not for what runs during the build
    target = f"{machine}-unknown-linux-gnu"
    environment["RUSTFLAGS"] = "-C target-feature=+crt-static"
    return ["--target", target], target
