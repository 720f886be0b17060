{{- define "warren.fullname" -}}
{{- $name := default .Release.Name .Values.fullnameOverride -}}
{{- if .Values.nameOverride -}}{{- $name = printf "%s-%s" .Release.Name .Values.nameOverride -}}{{- end -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which objects select pods: they never change. */}}
{{- define "warren.selector" -}}
app.kubernetes.io/name: warren
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "warren.labels" -}}
{{ include "warren.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: warren
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "warren.image" -}}
{{- printf "%s/%s:%s" .root.Values.image.prefix .name (default .root.Chart.AppVersion .root.Values.image.tag) -}}
{{- end -}}

{{/* A service's settings: its own, and the defaults where it says nothing. */}}
{{- define "warren.service" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (index .root.Values.services .name)) | toYaml -}}
{{- end -}}

{{- define "warren.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "warren.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "warren.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "warren.natsUrl" -}}
{{- if .Values.nats.external.url -}}
{{- .Values.nats.external.url -}}
{{- else -}}
{{- $scheme := ternary "tls" "nats" (ne .Values.nats.tls.existingSecret "") -}}
{{- $name := include "warren.fullname" . -}}
{{- $urls := list -}}
{{- range $i := until (int .Values.nats.replicas) -}}
{{- $urls = append $urls (printf "%s://%s-nats-%d.%s-nats:4222" $scheme $name $i $name) -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}
{{- end -}}

{{- define "warren.redisUrl" -}}
{{- default (printf "redis://%s-redis:6379" (include "warren.fullname" .)) .Values.redis.external.url -}}
{{- end -}}

{{/* Names under which the gateway is reached. */}}
{{- define "warren.allowedHosts" -}}
{{- $service := printf "%s-gateway" (include "warren.fullname" .) -}}
{{- $own := list "localhost" "127.0.0.1" "[::1]" $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s.svc.cluster.local" $service .Release.Namespace) -}}
{{- concat $own .Values.services.gateway.publicHosts .Values.ingress.hosts | uniq | join "," -}}
{{- end -}}

{{/* Everything that a service is told beside what all are told. */}}
{{- define "warren.ownEnvironment" -}}
{{- $values := .root.Values -}}
{{- $settings := .settings -}}
{{- if eq .name "gateway" }}
WARREN_HTTP_HOST: 0.0.0.0
WARREN_HTTP_PORT: "8080"
WARREN_GRPC_PORT: "8081"
WARREN_HTTP_ALLOWED_HOSTS: {{ include "warren.allowedHosts" .root | quote }}
WARREN_HTTP_ALLOWED_ORIGINS: {{ join "," $settings.allowedOrigins | quote }}
{{- with $settings.publicUrl }}
WARREN_HTTP_PUBLIC_URL: {{ . | quote }}
{{- end }}
WARREN_HTTP_TRUST_PROXY: {{ join "," $settings.trustProxy | quote }}
WARREN_HTTP_DRAIN_DELAY_MS: {{ mul 1000 (int $settings.preStopSeconds) | quote }}
WARREN_REDIS_URL: {{ include "warren.redisUrl" .root | quote }}
{{- if or (not $values.redis.external.url) $values.redis.external.existingSecret }}
WARREN_REDIS_PASSWORD_FILE: /run/warren/redis-password
{{- end }}
{{- if $settings.limits }}
WARREN_LIMITS_FILE: /etc/warren/limits.json
{{- end }}
{{- else if eq .name "auth" }}
WARREN_OPERATOR_TOKEN_FILE: /run/warren/operator-token
WARREN_PAIRING_SHOW_CODE_IN_LOG: {{ $settings.showCodeInLog | quote }}
{{- else if eq .name "agent" }}
WARREN_MODELS: {{ $settings.models | quote }}
{{- else if eq .name "plugin-host" }}
WARREN_PLUGIN_STORE_DIR: /var/lib/warren/plugins
{{- else if eq .name "secrets" }}
{{- if $settings.passphraseSecret }}
WARREN_SECRETS_PASSPHRASE_FILE: /run/warren/passphrase
{{- else }}
WARREN_SECRETS_ROOT_KEY_FILE: /run/warren/root.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "warren.environment" -}}
{{- $values := .root.Values -}}
WARREN_NATS_URL: {{ include "warren.natsUrl" .root | quote }}
WARREN_MESH_CREDENTIALS: /run/warren/mesh.json
WARREN_STATE_REPLICAS: {{ ternary $values.nats.external.stateReplicas $values.nats.replicas (ne $values.nats.external.url "") | quote }}
WARREN_LOG_LEVEL: {{ $values.telemetry.logLevel | quote }}
WARREN_DRAIN_GRACE_MS: {{ mul 1000 (int .settings.drainSeconds) | quote }}
WARREN_METRICS_HOST: 0.0.0.0
WARREN_METRICS_PORT: "9464"
OTEL_TRACES_SAMPLER_ARG: {{ $values.telemetry.sampleRatio | quote }}
{{- with $values.telemetry.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- if $values.nats.tls.existingSecret }}
WARREN_NATS_CA: /etc/warren-nats/ca.crt
{{- end }}
{{- include "warren.ownEnvironment" . }}
{{- end -}}

{{/* Secrets whose files a service gets, in the order in which they are laid out. */}}
{{- define "warren.secretsOf" -}}
{{- $names := list (default (printf "%s-%s" (include "warren.fullname" .root) .name) .settings.existingSecret) -}}
{{- if and (eq .name "gateway") .root.Values.redis.external.existingSecret -}}
{{- $names = append $names .root.Values.redis.external.existingSecret -}}
{{- end -}}
{{- if and (eq .name "secrets") .settings.passphraseSecret -}}
{{- $names = append $names .settings.passphraseSecret -}}
{{- end -}}
{{- concat $names .settings.extraSecrets | toYaml -}}
{{- end -}}

{{/* What only a template can check. */}}
{{- define "warren.check" -}}
{{- range $name, $_ := .Values.services -}}
{{- $settings := include "warren.service" (dict "root" $ "name" $name) | fromYaml -}}
{{- if and $settings.autoscaling.enabled $settings.keda.enabled -}}
{{- fail (printf "services.%s: autoscaling and keda would both set the number of replicas: enable one" $name) -}}
{{- end -}}
{{- end -}}
{{- $sandbox := (index .Values.services "plugin-host").sandbox -}}
{{- if and (eq $sandbox.procMount "Unmasked") $sandbox.hostUsers -}}
{{- fail "services.plugin-host.sandbox: procMount Unmasked needs hostUsers false: Kubernetes refuses it otherwise" -}}
{{- end -}}
{{- end -}}
