{{- define "crmintake.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The labels by which pods are selected. They never change. */ -}}
{{- define "crmintake.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "crmintake.labels" -}}
{{ include "crmintake.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "crmintake.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* Flags as environment variables: quota is CRMINTAKE_QUOTA. */ -}}
{{- define "crmintake.settings" -}}
{{- range $flag, $value := . }}
- name: CRMINTAKE_{{ $flag | replace "-" "_" | upper }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* A variable from a key of a Secret. */ -}}
{{- define "crmintake.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: {{ toJson .secret }}
{{- end }}

{{- /* The Secrets that are mounted: the file's name, which is also the flag's with -file behind it, and where it comes from. */ -}}
{{- define "crmintake.secretFiles" -}}
{{- $files := dict "hubspot-token" .Values.secrets.hubspotToken "hubspot-client-secret" .Values.secrets.hubspotClientSecret
  "hubspot-refresh-token" .Values.secrets.hubspotRefreshToken "admin-token" .Values.secrets.adminToken }}
{{- range $file, $secret := $files }}
{{- if not $secret.name }}{{ $files = omit $files $file }}{{ end }}
{{- end }}
{{- toJson $files }}
{{- end }}

{{- define "crmintake.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "crmintake.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
