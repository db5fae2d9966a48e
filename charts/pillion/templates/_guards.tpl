{{/* Everything that the schema can't reject. Each text says what is wrong, and what to write. */}}
{{- define "pillion.guards" -}}
{{- $name := include "pillion.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- fail (printf "the objects' name is %s, which no Service can have: set fullnameOverride to small letters, digits and -, with a letter first" $name) }}
{{- end }}
{{- $labels := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" (include "pillion.componentLabel" .) }}
{{- range list
  (list "labels" .Values.labels $labels)
  (list "podLabels" .Values.podLabels $labels)
  (list "serviceMonitor.labels" .Values.serviceMonitor.labels $labels)
  (list "prometheusRule.labels" .Values.prometheusRule.labels $labels)
  (list "dashboard.labels" .Values.dashboard.labels $labels)
  (list "podAnnotations" .Values.podAnnotations (list "checksum/configuration"))
  (list "webhook.annotations" .Values.webhook.annotations (list "pillion.dev/certificate" "meta.helm.sh/release-name" "meta.helm.sh/release-namespace"))
}}
{{- $ours := last . }}
{{- $where := first . }}
{{- range $key, $_ := index . 1 }}
{{- if has $key $ours }}
{{- fail (printf "%s sets %s, which the chart itself sets: remove it" $where $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $profile, $_ := .Values.profiles }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?$" $profile) }}
{{- fail (printf "profiles.%s: a profile's name has small letters, digits and -, 55 at most, with a letter or digit at both ends" $profile) }}
{{- end }}
{{- end }}
{{- $builtin := list "elasticsearch" "filebeat" "otel" "otlp" "tail" "web" }}
{{- $known := concat $builtin (keys .Values.profiles) | uniq | sortAlpha }}
{{- if not (has .Values.defaultProfile $known) }}
{{- fail (printf "defaultProfile is %s, which does not exist: write one of %s" .Values.defaultProfile (join ", " $known)) }}
{{- end }}
{{- range $name, $profile := .Values.profiles }}
{{- $base := get $profile "base" }}
{{- if and $base (not (has $base $builtin)) }}
{{- fail (printf "profiles.%s.base is %v, which is no built-in profile: write one of %s" $name $base (join ", " $builtin)) }}
{{- end }}
{{- end }}
{{- if and .Values.imagePullSecrets (not .Values.tail.pullsWithoutSecret) }}
{{- $images := dict "tail" "<image>" "elasticsearch" "<shipping-image>" "otlp" "<shipping-image>" }}
{{- $keys := dict "<image>" "tail" "<shipping-image>" "shipping" }}
{{- $repositories := dict "tail" .Values.tail.image.repository "shipping" ((.Values.shipping | default dict).image | default dict).repository }}
{{- range $name, $profile := merge (dict) .Values.profiles (dict "tail" dict) }}
{{- $image := dig "sidecar" "image" (get $images (get $profile "base" | default $name)) $profile }}
{{- $key := get $keys $image }}
{{- if and $key (not (get $repositories $key)) (not (get $profile "imagePullSecrets")) }}
{{- fail (printf "imagePullSecrets is set, but the sidecar of the profile %s is pulled from the same registry in the namespace of each pod, and a pod does not start without its sidecar: set profiles.%s.imagePullSecrets to a Secret that each of these namespaces has, or tail.pullsWithoutSecret to true if nodes or service accounts have the credentials, or %s.image.repository to a registry that needs none" $name $name $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq .Values.certificates.mode "provided" }}
{{- if not .Values.certificates.secretName }}
{{- fail "certificates.mode is provided: set certificates.secretName to the Secret with tls.crt and tls.key" }}
{{- end }}
{{- if not (or .Values.certificates.caBundle (hasKey .Values.webhook.annotations "cert-manager.io/inject-ca-from")) }}
{{- fail "certificates.mode is provided: set certificates.caBundle to the CA's certificate (--set-file certificates.caBundle=ca.pem)" }}
{{- end }}
{{- else if .Values.certificates.secretName }}
{{- fail "certificates.secretName is for certificates.mode provided: set the mode, or remove it" }}
{{- end }}
{{- if and .Values.certificates.caBundle (not (contains "-----BEGIN CERTIFICATE-----" .Values.certificates.caBundle)) }}
{{- fail "certificates.caBundle is no PEM certificate: it must begin with -----BEGIN CERTIFICATE-----, without further base64 encoding" }}
{{- end }}
{{- with .Values.certificates }}
{{- $propagationDelay := include "pillion.milliseconds" .caPropagationDelay | int64 }}
{{- $caOverlap := include "pillion.milliseconds" .caOverlap | int64 }}
{{- $leaf := include "pillion.milliseconds" .leafLifetime | int64 }}
{{- if lt (min $propagationDelay $caOverlap $leaf) 1 }}
{{- fail "certificates.caPropagationDelay, certificates.caOverlap and certificates.leafLifetime must be longer than 0" }}
{{- end }}
{{- if gt (mul 3 (add $propagationDelay $caOverlap)) $leaf }}
{{- fail (printf "certificates.caPropagationDelay %s and certificates.caOverlap %s are together more than a third of certificates.leafLifetime %s: a rotation would not end before the next one begins; shorten caOverlap or lengthen leafLifetime" .caPropagationDelay .caOverlap .leafLifetime) }}
{{- end }}
{{- if gt (mul 3 $leaf) (include "pillion.milliseconds" .caLifetime | int64) }}
{{- fail (printf "certificates.leafLifetime %s is more than a third of certificates.caLifetime %s: shorten it, or lengthen caLifetime" .leafLifetime .caLifetime) }}
{{- end }}
{{- end }}
{{- if and .Values.certificates.certManager.issuerRef (not (include "pillion.certManager" .)) }}
{{- fail "certificates.certManager.issuerRef is for certificates.mode cert-manager: set the mode, or remove it" }}
{{- end }}
{{- if include "pillion.certManager" . }}
{{- range $key, $_ := .Values.webhook.annotations }}
{{- if hasPrefix "cert-manager.io/inject-" $key }}
{{- fail (printf "certificates.mode is cert-manager, and the chart sets cert-manager's annotation itself: remove %s from webhook.annotations" $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.server.clientNames (not .Values.server.clientCA) }}
{{- fail "server.clientNames needs server.clientCA: the CA whose certificates have these names" }}
{{- end }}
{{- if and .Values.server.clientCA (not (contains "-----BEGIN CERTIFICATE-----" .Values.server.clientCA)) }}
{{- fail "server.clientCA is no PEM certificate: it must begin with -----BEGIN CERTIFICATE-----, without further base64 encoding" }}
{{- end }}
{{- range .Values.server.env }}
{{- if hasPrefix "PILLION_" .name }}
{{- fail (printf "server.env sets %s: the server's settings are values of their own; write it in server.settings, or look for its value in the chart's README" .name) }}
{{- end }}
{{- end }}
{{- if .Values.hostNetwork }}
{{- if .Values.networkPolicy.enabled }}
{{- fail "networkPolicy.enabled has no effect with hostNetwork, because no NetworkPolicy applies to a node's own addresses: set it to false, and limit access by a firewall or by server.clientCA" }}
{{- end }}
{{- if has 10250 (list (int .Values.server.port) (int .Values.server.healthPort)) }}
{{- fail "with hostNetwork 10250 is the kubelet's port: choose another one for server.port and server.healthPort" }}
{{- end }}
{{- end }}
{{- if eq (int .Values.server.port) (int .Values.server.healthPort) }}
{{- fail (printf "server.port and server.healthPort are both %d: choose two ports" (int .Values.server.port)) }}
{{- end }}
{{- $expressions := dict }}
{{- range include "pillion.alerts" . | fromYamlArray }}
{{- $_ := set $expressions .alert .expr }}
{{- end }}
{{- range $alert, $change := .Values.prometheusRule.alerts }}
{{- if not (hasKey $expressions $alert) }}
{{- fail (printf "prometheusRule.alerts.%s: there is no such alert; write one of %s" $alert (keys $expressions | sortAlpha | join ", ")) }}
{{- end }}
{{- if and (hasKey $change "threshold") (not (regexMatch (include "pillion.threshold" .) (get $expressions $alert))) }}
{{- fail (printf "prometheusRule.alerts.%s.threshold: this alert has none; remove it" $alert) }}
{{- end }}
{{- end }}
{{- if has (include "pillion.testNamespace" .) (include "pillion.excludedNamespaces" . | fromJsonArray) }}
{{- fail (printf "test.namespace: pods in %s never get a sidecar, so helm test can't run there; choose another namespace, or none" (include "pillion.testNamespace" .)) }}
{{- end }}
{{- if eq .Release.Namespace "kube-system" }}
{{- fail "kube-system is no place for a webhook: install into a namespace of its own (-n pillion-system --create-namespace)" }}
{{- end }}
{{- end }}
