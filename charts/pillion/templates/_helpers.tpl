{{- define "pillion.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The objects' name; the Service's can have 63 characters. */}}
{{- define "pillion.fullname" -}}
{{- $name := include "pillion.name" . }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if not (contains $name .Release.Name) }}
{{- $name = printf "%s-%s" .Release.Name $name }}
{{- else }}
{{- $name = .Release.Name }}
{{- end }}
{{- $name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
The name of objects that have no namespace, and the end of the webhook entries' names: two releases of one name in two
namespaces do not meet. Do not change it (docs/decisions/0021-webhook-entries-have-the-releases-name.md).
*/}}
{{- define "pillion.clusterName" -}}
{{ include "pillion.fullname" . }}.{{ .Release.Namespace }}.pillion.dev
{{- end }}

{{/* Of each prefix there is one in a cluster: Helm refuses a second release that would create it. */}}
{{- define "pillion.prefixName" -}}
pillion-one-release-per-prefix:{{ .Values.prefix | trimSuffix "/" }}
{{- end }}

{{- define "pillion.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pillion.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pillion.labels" -}}
{{ include "pillion.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of an object that has more of them; those win over the values' labels. Takes root and more. */}}
{{- define "pillion.labelsAnd" -}}
{{- merge (dict) (.more | default dict) (include "pillion.labels" .root | fromYaml) | toYaml }}
{{- end }}

{{/* Pods with this label are never injected, wherever they are. */}}
{{- define "pillion.componentLabel" -}}
{{ .Values.prefix }}component
{{- end }}

{{- define "pillion.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What <image> in a profile stands for. A tag has its -tail beside it; of a digest only the server's image is known. */}}
{{- define "pillion.tailImage" -}}
{{- $tail := .Values.tail.image -}}
{{- $repository := $tail.repository | default .Values.image.repository -}}
{{- if $tail.digest -}}
{{ $repository }}@{{ $tail.digest }}
{{- else if $tail.tag -}}
{{ $repository }}:{{ $tail.tag }}
{{- else if and .Values.image.digest (not $tail.repository) -}}
{{ include "pillion.image" . }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}-tail
{{- end -}}
{{- end }}

{{/* What <shipping-image> in a profile stands for: the servers' image does not have this program. */}}
{{- define "pillion.shippingImage" -}}
{{- $shipping := (.Values.shipping | default dict).image | default dict -}}
{{- $repository := $shipping.repository | default .Values.image.repository -}}
{{- if $shipping.digest -}}
{{ $repository }}@{{ $shipping.digest }}
{{- else -}}
{{ $repository }}:{{ $shipping.tag | default (printf "%s-shipping" (.Values.image.tag | default .Chart.AppVersion)) }}
{{- end -}}
{{- end }}

{{/* The configuration file, which servers read. */}}
{{- define "pillion.configuration" -}}
{{- $configuration := dict "image" (include "pillion.tailImage" .) "imagePullPolicy" .Values.tail.image.pullPolicy "shippingImage" (include "pillion.shippingImage" .) "defaultProfile" .Values.defaultProfile "strict" .Values.strict "allowHostPath" .Values.allowHostPath "openshift" .Values.openshift "profiles" .Values.profiles -}}
{{- if not (kindIs "invalid" .Values.ignoredContainers) -}}
{{- $_ := set $configuration "ignoredContainers" .Values.ignoredContainers -}}
{{- end -}}
{{- toYaml $configuration -}}
{{- end }}

{{/* As a list in JSON. Without kube-system a stopped cluster could not start again. */}}
{{- define "pillion.excludedNamespaces" -}}
{{- append (concat (list "kube-system") (.Values.webhook.excludedNamespaces | default list)) .Release.Namespace | uniq | toJson -}}
{{- end }}

{{/* The security context of servers and test pods. */}}
{{- define "pillion.podSecurityContext" -}}
{{- $context := .Values.podSecurityContext | default dict -}}
{{- .Values.openshift | ternary (omit $context "runAsUser" "runAsGroup" "fsGroup") $context | toYaml -}}
{{- end }}

{{- define "pillion.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "pillion.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* What the API server calls the server. */}}
{{- define "pillion.serverName" -}}
{{ include "pillion.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{/* The Service in all its forms. */}}
{{- define "pillion.serverNames" -}}
{{- $name := include "pillion.fullname" . -}}
{{ include "pillion.serverName" . }},{{ $name }}.{{ .Release.Namespace }},{{ $name }}
{{- end }}

{{/* A duration of the values in milliseconds. */}}
{{- define "pillion.milliseconds" -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .)) }}
{{- end }}

{{/* A server serves on after SIGTERM, until every API server knows: for drainTimeout at most. The rest is margin. */}}
{{- define "pillion.gracePeriodSeconds" -}}
{{- $drain := dig "drainTimeout" "15s" (.Values.server.settings | default dict) -}}
{{- add 15 (div (include "pillion.milliseconds" $drain | int64 | add 999) 1000) -}}
{{- end }}

{{/* The alerts of files/alerts.yaml as a list, with the release's names. */}}
{{- define "pillion.alerts" -}}
{{- $selector := printf "job=%q, namespace=%q" (include "pillion.fullname" .) .Release.Namespace -}}
{{- $file := .Files.Get "files/alerts.yaml"
  | replace "job=\"pillion\", namespace=\"pillion-system\"" $selector
  | replace "deployment=\"pillion\", namespace=\"pillion-system\"" (replace "job=" "deployment=" $selector)
  | replace "[.]pillion[.]pillion-system[.]" (printf "[.]%s[.]%s[.]" (include "pillion.fullname" .) .Release.Namespace)
  | replace "runbook_url: " (printf "runbook_url: %s" .Values.prometheusRule.runbooks)
  | fromYaml -}}
{{- (index $file.groups 0).rules | toYaml -}}
{{- end }}

{{/* A regular expression for an alert's threshold: the number at the end of a line of its expression. */}}
{{- define "pillion.threshold" -}}
(?m)([<>]) [0-9][0-9 *]*$
{{- end }}

{{- define "pillion.selfManaged" -}}
{{- if eq .Values.certificates.mode "self-managed" }}true{{ end }}
{{- end }}

{{- define "pillion.certManager" -}}
{{- if eq .Values.certificates.mode "cert-manager" }}true{{ end }}
{{- end }}

{{/* Whether the release has a CA of its own, which cert-manager keeps. */}}
{{- define "pillion.certManagerCA" -}}
{{- if and (include "pillion.certManager" .) (not .Values.certificates.certManager.issuerRef) }}true{{ end }}
{{- end }}

{{- define "pillion.certificateSecret" -}}
{{- if include "pillion.selfManaged" . -}}
{{ include "pillion.fullname" . }}-certificate
{{- else if include "pillion.certManager" . -}}
{{ include "pillion.fullname" . }}-tls
{{- else -}}
{{ .Values.certificates.secretName }}
{{- end -}}
{{- end }}

{{- define "pillion.statusName" -}}
{{ include "pillion.fullname" . }}-status
{{- end }}

{{- define "pillion.testName" -}}
{{ include "pillion.fullname" . }}-test
{{- end }}

{{- define "pillion.testNamespace" -}}
{{ .Values.test.namespace | default (printf "%s-%s" .Release.Namespace (include "pillion.testName" .) | trunc 63 | trimSuffix "-") }}
{{- end }}

{{/* Labels that webhook.namespaceSelector selects, for the namespace that `helm test` brings. */}}
{{- define "pillion.testNamespaceLabels" -}}
{{- $selector := .Values.webhook.namespaceSelector | default dict -}}
{{- $labels := $selector.matchLabels | default dict | deepCopy -}}
{{- range $selector.matchExpressions -}}
{{- if has .operator (list "In" "Exists") -}}
{{- $_ := set $labels .key (first (.values | default (list ""))) -}}
{{- end -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end }}

{{/* Hook objects go after each test, passed or not; what the test says is printed. */}}
{{- define "pillion.testAnnotations" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{/* The metadata of a webhook configuration. */}}
{{- define "pillion.webhookMetadata" -}}
name: {{ include "pillion.clusterName" . }}
labels:
  {{- include "pillion.labels" . | nindent 2 }}
annotations:
  # for `pillion certs`, and for keepers: bundles of a configuration that names another Secret are not theirs
  pillion.dev/certificate: {{ include "pillion.certificateSecret" . }}
  # Helm adds these by itself, but not to `helm get manifest`: what somebody applies from that keeps its owner.
  meta.helm.sh/release-name: {{ .Release.Name }}
  meta.helm.sh/release-namespace: {{ .Release.Namespace }}
  {{- if include "pillion.certManager" . }}
  # The leaf's Secret holds the CA that signed this very leaf; the CA's own may be ahead of it.
  cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "pillion.fullname" . }}
  {{- end }}
  {{- with .Values.webhook.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What all webhook entries have. Takes root, name, path, namespaces (the label's operator). `pillion status` reads our
two expressions, which come first. */}}
{{- define "pillion.webhookEntry" -}}
{{- $root := .root -}}
- name: {{ .name }}.{{ include "pillion.clusterName" $root }}
  clientConfig:
    service:
      name: {{ include "pillion.fullname" $root }}
      namespace: {{ $root.Release.Namespace }}
      path: {{ .path }}
      port: 443
    {{- if $root.Values.certificates.caBundle }}
    caBundle: {{ $root.Values.certificates.caBundle | b64enc }}
    {{- end }}
  namespaceSelector:
    {{- with ($root.Values.webhook.namespaceSelector).matchLabels }}
    matchLabels:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: {{ $root.Values.prefix }}inject
        operator: {{ .namespaces }}
        values: ["true"]
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values:
          {{- include "pillion.excludedNamespaces" $root | fromJsonArray | toYaml | nindent 10 }}
      {{- with ($root.Values.webhook.namespaceSelector).matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  admissionReviewVersions: [v1]
  sideEffects: None
{{- end }}

{{/* An entry for pods. Takes what pillion.webhookEntry takes, and condition. */}}
{{- define "pillion.podEntry" -}}
{{- $webhook := .root.Values.webhook -}}
{{ include "pillion.webhookEntry" . }}
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE]
      resources: [pods]
      scope: Namespaced
  {{- with $webhook.objectSelector }}
  objectSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  matchConditions:
    - name: {{ .name }}
      expression: >-
        {{- .condition | nindent 8 }}
  failurePolicy: {{ $webhook.failurePolicy }}
  matchPolicy: {{ $webhook.matchPolicy }}
  reinvocationPolicy: {{ $webhook.reinvocationPolicy }}
  timeoutSeconds: {{ $webhook.timeoutSeconds }}
{{- end }}

{{/* An entry for workloads. Takes what pillion.webhookEntry takes, and conditions by name. */}}
{{- define "pillion.lintEntry" -}}
{{ include "pillion.webhookEntry" . }}
  rules:
    {{- range $group, $resources := .root.Values.lint.resources }}
    {{- with $resources }}
    - apiGroups: [{{ $group | quote }}]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE]
      resources: {{ toJson . }}
      scope: Namespaced
    {{- end }}
    {{- end }}
  matchConditions:
    {{- range $name, $condition := .conditions }}
    - name: {{ $name }}
      expression: >-
        {{- $condition | nindent 8 }}
    {{- end }}
  failurePolicy: Ignore
  matchPolicy: Equivalent
  timeoutSeconds: 2
{{- end }}

{{/* In CEL: an object's pod templates, {} for each place where it has none. Each step is guarded, because kinds differ. */}}
{{- define "pillion.celTemplates" -}}
{{- $found := list -}}
{{- range list "spec.template" "spec.jobTemplate.spec.template" "spec.template.spec.template" "template" -}}
{{- $steps := printf "%s.%s" $ . | splitList "." -}}
{{- $guards := list -}}
{{- range $end := untilStep 2 (len $steps | add1 | int) 1 -}}
{{- $guards = append $guards (printf "has(%s)" (slice $steps 0 $end | join ".")) -}}
{{- end -}}
{{- $found = append $found (printf "%s ? %s : {}" (join " && " $guards) (join "." $steps)) -}}
{{- end -}}
[{{ join ",\n" $found }}]
{{- end }}
