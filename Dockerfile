# Pillion's images. The default: Python, the locked dependencies, the server and pillion-tail; no shell, pip, package
# manager or compiler. --target tail: pillion-tail alone, which sidecars run. --target shipping: the pillion-tail that
# sends lines to a store, and the CAs that it trusts.
# Where the network has a CA of its own, mount its bundle and give --build-arg SSL_CERT_FILE=PATH.
ARG BASE=docker.io/library/python:3.13-slim
ARG RUST=docker.io/library/rust:1.95-slim-trixie

FROM ${RUST} AS rust
ARG SSL_CERT_FILE
WORKDIR /build
# Static programs: with musl where rustup can add it, which is half as large; Debian's Rust has only glibc.
RUN set -eu; \
    target=$(uname -m)-unknown-linux-gnu; \
    if command -v rustup >/dev/null; then target=${target%gnu}musl; rustup target add "$target"; fi; \
    mkdir .cargo; \
    printf '[build]\ntarget = "%s"\nrustflags = ["-C", "target-feature=+crt-static"]\n[env]\nCC_%s = "cc"\n' \
      "$target" "$(echo "$target" | tr - _)" > .cargo/config.toml
COPY tail .
COPY LICENSE /image/usr/share/doc/pillion-tail/

FROM rust AS tail-build
ARG SSL_CERT_FILE
RUN set -eu; \
    cargo build --quiet --release --locked; \
    install -D target/*/release/pillion-tail /image/usr/bin/pillion-tail; \
    sh notices/collect.sh /image/usr/share/doc/pillion-tail

FROM ${BASE} AS build
ARG UV_VERSION=0.13.8
ARG SSL_CERT_FILE
WORKDIR /build

# uv takes every version and checksum from uv.lock; the dependencies are a layer of their own for the builder's cache.
RUN set -eu; \
    python3 -m venv /uv; \
    /uv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}"
ENV UV_PROJECT_ENVIRONMENT=/opt/pillion UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
COPY pyproject.toml uv.lock README.md ./
RUN /uv/bin/uv sync --quiet --frozen --no-default-groups --no-install-project --python "$(command -v python3)"
COPY LICENSE .
COPY pillion pillion
COPY webhook webhook
COPY certs certs
RUN /uv/bin/uv sync --quiet --frozen --no-default-groups --no-editable

# What a server never imports goes. Nobody edits sources in an image, so its .pyc files are not checked against them.
RUN set -eu; \
    stdlib=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    cd "$stdlib"; \
    rm -rf config-* dist-packages ensurepip idlelib lib2to3 pydoc_data site-packages tkinter turtledemo; \
    rm -f lib-dynload/_curses* lib-dynload/_dbm* lib-dynload/_gdbm* lib-dynload/_tkinter* lib-dynload/nis* lib-dynload/readline*; \
    cd /opt/pillion; \
    find bin -type f ! -name pillion ! -name kubectl-pillion -delete; \
    find "$stdlib" . -depth -type d \( -name __pycache__ -o -name test -o -name tests \) -exec rm -rf {} +; \
    python3 -m compileall -q --invalidation-mode unchecked-hash "$stdlib" .; \
    echo "$stdlib" > /stdlib

# The interpreter and the C libraries that it and the dependencies link to; libgcc_s is one that glibc loads by name.
RUN set -eu; \
    python=$(command -v python3); \
    { ldd "$(readlink -f "$python")"; find "$(cat /stdlib)" /opt/pillion -name '*.so*' -exec ldd {} +; } > /linked; \
    { echo "$python"; ldconfig -p | awk '/libgcc_s\.so\.1/ { print $NF; exit }'; \
      awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/lib.*\/ld-/ { print $1 }' /linked; } | sort -u > /named; \
    while read -r file; do \
      echo "$(readlink -f "${file%/*}")/${file##*/}"; readlink -f "$file"; \
    done < /named | sort -u > /files

# The final root; scanners find in status.d the packages that the libraries are from, and their licences beside them. Of
# a file that was moved aside dpkg-query also says "diversion by".
RUN set -eu; \
    mkdir -p /image/etc /image/var/lib/dpkg/status.d; \
    for folder in bin lib lib64; do \
      if [ -L "/$folder" ]; then mkdir -p "/image/$(readlink "/$folder")"; cp -P "/$folder" /image/; fi; \
    done; \
    { cat /files /stdlib; printf '%s\n' /opt/pillion /usr/lib/os-release /etc/os-release /etc/ld.so.cache; } \
      | cut -c 2- | tar -cf - -C / -T - | tar -xf - -C /image; \
    while read -r file; do \
      dpkg-query -S "$file" "${file#/usr}" 2>/dev/null | sed -n '/^diversion by/!s/:.*//p' || true; \
    done < /files | sort -u \
      | while read -r package; do \
          dpkg-query -s "$package" > "/image/var/lib/dpkg/status.d/$package"; \
          install -D -m 644 -t "/image/usr/share/doc/$package" "/usr/share/doc/$package/copyright"; \
        done; \
    cp -r --parents /usr/share/common-licenses /image; \
    echo 'pillion:x:65532:65532::/nonexistent:/nonexistent' > /image/etc/passwd; \
    echo 'pillion:x:65532:' > /image/etc/group; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf

FROM scratch AS tail
ARG VERSION=0.1.0
ARG REVISION
LABEL org.opencontainers.image.title="pillion-tail" \
      org.opencontainers.image.description="Prints a pod's log files to standard output" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=tail-build /image/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/pillion-tail"]

FROM rust AS shipping-build
ARG SSL_CERT_FILE
RUN set -eu; \
    cargo build --quiet --release --locked --features shipping; \
    install -D target/*/release/pillion-tail /image/usr/bin/pillion-tail; \
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    install -D -m 644 -t /image/usr/share/doc/ca-certificates /usr/share/doc/ca-certificates/copyright; \
    sh notices/collect.sh /image/usr/share/doc/pillion-tail

FROM scratch AS shipping
ARG VERSION=0.1.0
ARG REVISION
LABEL org.opencontainers.image.title="pillion-tail, with stores" \
      org.opencontainers.image.description="Sends a pod's log files to a store" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=shipping-build /image/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/pillion-tail"]

FROM scratch
ARG VERSION=0.1.0
ARG REVISION
LABEL org.opencontainers.image.title="Pillion" \
      org.opencontainers.image.description="A Kubernetes admission webhook that gives annotated pods a logging sidecar" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
COPY --from=tail-build /image/ /
ENV PATH=/opt/pillion/bin:/usr/local/bin:/usr/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A read from a TLS connection asks for 256 KiB: below the threshold glibc need not map and unmap memory for each. What is
# larger, as a body of megabytes, goes back to the system as soon as it is freed.
ENV GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=2097152
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["pillion"]
CMD ["serve", "--listen=:8443", "--health-listen=:8080"]
