# Write filebeat's configuration, in which filebeat itself fills in the variables, and become filebeat.
# shellcheck shell=sh
work=/pillion/filebeat
cat >"$work/filebeat.yml" <<'END'
filebeat.inputs:
  - type: filestream
    id: pillion
    paths: ${LOG_FILES}
    close.on_state_change.inactive: 5m
processors:
  - add_fields:
      target: kubernetes
      fields:
        pod.name: ${POD_NAME}
        pod.uid: ${POD_UID}
        namespace: ${POD_NAMESPACE}
        node.name: ${NODE_NAME}
output.elasticsearch:
  hosts: ${ELASTICSEARCH_HOSTS}
setup.ilm.enabled: false
setup.template.enabled: false
logging.level: warning
# at the pod's end the lines that are not confirmed yet are waited for
filebeat.shutdown_timeout: 10s
END
exec filebeat -e --strict.perms=false -c "$work/filebeat.yml" --path.home "$work" --path.data "$work/data"
