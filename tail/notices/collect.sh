#!/bin/sh
# collect.sh FOLDER: puts the licence notices of what is linked into pillion-tail into a directory. Called right after the
# build, on the image that it ran in: what is there of crates, cargo has fetched for this program.
set -eu
directory=$1
here=$(dirname "$0")

keep() {
  component=$1
  shift
  install -D -m 644 -t "$directory/$component" "$@"
}

for crate in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/*/; do
  find "$crate" -maxdepth 1 -type f -iregex '.*/\(copying\|copyright\|\(un\)?licen[cs]e\|notice\)[^/]*' \
    -exec install -D -m 644 -t "$directory/$(basename "$crate")" {} +
done
rust=$(rustc --print sysroot)/share/doc/rust
if [ -e "$rust/COPYRIGHT-library.html" ]; then
  # rustup's, which links musl and has no notice of it
  keep rust "$rust/COPYRIGHT-library.html" "$rust/licenses/LLVM-exception.txt"
  gzip -9 "$directory/rust/COPYRIGHT-library.html" # 15 KB of 425: it repeats the same licences
  keep musl "$here/musl/copyright"
else
  # Debian's, which links glibc
  keep rust /usr/share/doc/libstd-rust-dev/copyright
  keep glibc /usr/share/doc/libc6/copyright /usr/share/common-licenses/LGPL-2.1
fi
