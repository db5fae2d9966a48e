#!/bin/sh
# The tour of docs/get-started.md on the cluster of the current kubectl context, in about a minute; everything that it
# makes is removed at its end. Where the images are, if not under the chart's own name: IMAGE=REPOSITORY examples/tour.sh
set -eu
cd "$(dirname "$0")/.."

RELEASE_NAMESPACE=pillion-tour-system
NAMESPACE=pillion-tour

# Print a command as one would type it, and run it.
run() {
  printf '\n$ %s\n' "$*"
  "$@"
}

stop() {
  printf 'tour: %s\n' "$*" >&2
  exit 1
}

remove() {
  trap - EXIT INT TERM
  run helm uninstall pillion -n "$RELEASE_NAMESPACE" --ignore-not-found --wait || true
  run kubectl delete namespace "$NAMESPACE" "$RELEASE_NAMESPACE" --ignore-not-found
}

for program in kubectl helm; do
  command -v "$program" >/dev/null || stop "$program is not installed"
done
cluster=$(kubectl config current-context) || stop "kubectl has no current context; choose one: kubectl config use-context NAME"
for namespace in "$NAMESPACE" "$RELEASE_NAMESPACE"; do
  found=$(kubectl get namespace "$namespace" --ignore-not-found -o name) || stop "the cluster of the context $cluster does not answer"
  [ -z "$found" ] || stop "the namespace $namespace exists; remove it first: kubectl delete namespace $namespace"
done

echo "Tour of Pillion on the cluster of the context $cluster"
trap remove EXIT
trap 'exit 130' INT TERM

echo
echo "1. Install it"
set -- --wait --timeout=3m
[ -z "${IMAGE:-}" ] || set -- "$@" --set "image.repository=$IMAGE"
# the chart's notes are for an installation that stays
run helm install pillion charts/pillion -n "$RELEASE_NAMESPACE" --create-namespace --hide-notes "$@" || {
  kubectl get pods -n "$RELEASE_NAMESPACE" || true
  stop "the installation failed. ErrImagePull or ImagePullBackOff: give the nodes the images, see docs/get-started.md"
}

echo
echo "2. Run an application that writes its log into a file"
run kubectl create namespace "$NAMESPACE"
run kubectl apply -n "$NAMESPACE" -f examples/app.yaml
run kubectl rollout status deployment/shop -n "$NAMESPACE" --timeout=2m

echo
echo "3. Read the file's lines"
seconds=0
until [ -n "$(kubectl logs deployment/shop -n "$NAMESPACE" -c pillion-tail --tail=1)" ]; do
  seconds=$((seconds + 1))
  [ "$seconds" -le 30 ] || stop "the sidecar has printed nothing in $seconds seconds"
  sleep 1
done
run kubectl logs deployment/shop -n "$NAMESPACE" -c pillion-tail --tail=3

echo
echo "4. Make a mistake: a path that is not absolute"
printf '\n$ %s\n' "sed s:/var/log/shop/:logs/: examples/app.yaml | kubectl apply -n $NAMESPACE --dry-run=server -f -"
sed 's:logs\: /var/log/shop/:logs\: logs/:' examples/app.yaml | kubectl apply -n "$NAMESPACE" --dry-run=server -f -

echo
echo "5. Remove everything"
remove
