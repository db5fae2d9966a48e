# Run filebeat, and at the pod's end wait until the store has confirmed each whole line in the directories of the arguments.
# shellcheck shell=sh
work=/pillion/filebeat
config=$work/filebeat.yml

# Rotated files are read to their end, too: of *.log also *.log.* and *.log-*; a pattern that ends in * has them already.
paths=${LOG_FILES%]}
for suffix in '.*' '-*'; do
  rotated=$(printf '%s' "$LOG_FILES" |
    sed 's/"[^"]*\*",\{0,1\}//g; s/",/'"$suffix"'",/g; s/"]$/'"$suffix"'"]/; s/^\[//; s/,\{0,1\}]$//')
  [ -z "$rotated" ] || paths=$paths,$rotated
done
export LOG_FILES="$paths]"

# A value that filebeat takes as it is: without quotes it would split it at commas.
quoted() {
  case $1 in
    *\'*) printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')" ;;
    *) printf "'%s'" "$1" ;;
  esac
}

# Say why nothing can be sent, and end after a while: the next start finds a Secret that has come since.
refuse() {
  trap 'exit 0' TERM
  echo "pillion: $1; no line is sent and none is lost; trying again in ${RETRY_SECONDS:-300} seconds" >&2
  sleep "${RETRY_SECONDS:-300}" &
  wait "$!"
  exit 1
}

need() {
  [ -n "$1" ] || refuse "$2 is empty: the namespace $POD_NAMESPACE lacks the Secret, or the Secret lacks the key"
}

cat >"$config" <<'END'
filebeat.inputs:
  - type: filestream
    id: pillion
    paths: ${LOG_FILES}
    file_identity.native: ~
    prospector.scanner:
      check_interval: 1s
      exclude_files: ['\.(gz|zst|xz|bz2|zip)$']
      fingerprint.enabled: false
    backoff: {init: 1s, max: 1s}
    close.on_state_change: {inactive: 5m, removed: false}
    clean_removed: false
processors:
  - add_fields:
      target: kubernetes
      fields:
        pod.name: ${POD_NAME}
        pod.uid: ${POD_UID}
        namespace: ${POD_NAMESPACE}
        node.name: ${NODE_NAME}
setup.ilm.enabled: false
setup.template.enabled: false
logging.level: warning
filebeat.shutdown_timeout: 10s
output.elasticsearch:
  hosts: ${ELASTICSEARCH_HOSTS}
  index: ${ELASTICSEARCH_INDEX}
  bulk_max_size: 1600
  backoff: {init: 1s, max: 10s}
END
case ${ELASTICSEARCH_CREDENTIALS:-none} in
  none) ;;
  api-key)
    need "$ELASTICSEARCH_API_KEY" ELASTICSEARCH_API_KEY
    ELASTICSEARCH_API_KEY=$(quoted "$ELASTICSEARCH_API_KEY")
    # shellcheck disable=SC2016 # filebeat fills it in
    echo '  api_key: ${ELASTICSEARCH_API_KEY}' >>"$config"
    ;;
  basic)
    need "$ELASTICSEARCH_USERNAME" ELASTICSEARCH_USERNAME
    need "$ELASTICSEARCH_PASSWORD" ELASTICSEARCH_PASSWORD
    ELASTICSEARCH_USERNAME=$(quoted "$ELASTICSEARCH_USERNAME")
    ELASTICSEARCH_PASSWORD=$(quoted "$ELASTICSEARCH_PASSWORD")
    # shellcheck disable=SC2016 # filebeat fills them in
    printf '  %s\n' 'username: ${ELASTICSEARCH_USERNAME}' 'password: ${ELASTICSEARCH_PASSWORD}' >>"$config"
    ;;
  *) refuse "ELASTICSEARCH_CREDENTIALS must be none, api-key or basic, is '$ELASTICSEARCH_CREDENTIALS'" ;;
esac
if [ -n "$ELASTICSEARCH_CA" ]; then
  [ -r "$ELASTICSEARCH_CA" ] || refuse "there is no $ELASTICSEARCH_CA: the namespace $POD_NAMESPACE lacks the ConfigMap"
  # shellcheck disable=SC2016 # filebeat fills it in
  echo '  ssl.certificate_authorities: ["${ELASTICSEARCH_CA}"]' >>"$config"
fi

# Succeed if a file has whole lines that the store has not confirmed; what filebeat does not read has none.
unconfirmed() {
  known=$(stat -c 'native::%i-%d" %s' "$1") || return 1
  state=$(grep -h "${known% *}" "$work"/data/registry/filebeat/*.json | tail -n 1)
  [ -n "$state" ] || return 1
  offset=${state##*\"offset\":}
  offset=${offset%%[!0-9]*}
  # most files are confirmed to their end: nothing of them is read
  [ "${offset:-0}" -lt "${known##* }" ] && [ "$(tail -c "+$((${offset:-0} + 1))" "$1" | head -n 1 | wc -l)" -gt 0 ]
}

# Succeed if it is such a file, or a directory with one in it.
unfinished() {
  [ ! -L "$1" ] || return 1
  if [ -d "$1" ]; then
    for path in "$1"/*; do
      (unfinished "$path") && return 0
    done
    return 1
  fi
  [ -f "$1" ] && unconfirmed "$1"
}

ending=
trap 'ending=yes' TERM
# in quotes they are text, also those that could be numbers
POD_NAME="'$POD_NAME'" POD_UID="'$POD_UID'" POD_NAMESPACE="'$POD_NAMESPACE'" NODE_NAME="'$NODE_NAME'" \
  filebeat -e --strict.perms=false -c "$config" --path.home "$work" --path.data "$work/data" &
filebeat=$!
[ -n "$ending" ] || wait "$filebeat"
code=$?
if [ -n "$ending" ]; then
  # filebeat looks for new files each second
  sleep 2
  for place; do
    while kill -0 "$filebeat" 2>/dev/null && unfinished "$place"; do sleep 0.2; done
  done
  kill -TERM "$filebeat" 2>/dev/null
  wait "$filebeat"
  code=$?
fi
exit "$code"
