{{- define "gitgate.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "gitgate.serviceAccount" -}}
{{- default (include "gitgate.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "gitgate.selector" -}}
app.kubernetes.io/name: gitgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{- define "gitgate.labels" -}}
app.kubernetes.io/name: gitgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "gitgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "gitgate.tlsSecret" -}}
{{- if eq .Values.tls.source "secret" -}}{{ .Values.tls.secret }}{{- else -}}{{ include "gitgate.name" . }}-tls{{- end -}}
{{- end -}}

{{- define "gitgate.stateSecret" -}}
{{- include "gitgate.name" . }}-state
{{- end -}}

{{- define "gitgate.failurePolicy" -}}
{{- default (ternary "Ignore" "Fail" (eq .Values.mode "audit")) .Values.webhook.failurePolicy -}}
{{- end -}}

{{/* What every container of the chart may do: nothing that it does not need. */}}
{{- define "gitgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "gitgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
