{{- define "crmintake.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name }}
{{- if contains .Chart.Name .Release.Name }}{{ $name = .Release.Name }}{{ end }}
{{- $name | trunc 58 | trimSuffix "-" }}
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

{{- /* Flags whose values Secrets hold. */ -}}
{{- define "crmintake.secretVariables" -}}
{{- range $flag, $secret := . }}
- name: CRMINTAKE_{{ $flag | replace "-" "_" | upper }}
  valueFrom:
    secretKeyRef: {{ toJson $secret }}
{{- end }}
{{- end }}

{{- /* Flags that name files, and the volume that has the files under the flags' names. */ -}}
{{- define "crmintake.secretFiles" -}}
{{- range $flag, $_ := . }}
- name: CRMINTAKE_{{ $flag | replace "-" "_" | upper }}
  value: /run/secrets/crmintake/{{ $flag }}
{{- end }}
{{- end }}

{{- /* Of the workers' flags those that say where events and rows are, and how to log: init takes them, too. */ -}}
{{- define "crmintake.shared" -}}
{{- $shared := dict }}
{{- range $flag, $value := . }}
{{- if regexMatch "^(nats-|database-|stream$|subject$|consumer$|log-)" $flag }}{{ $_ := set $shared $flag $value }}{{ end }}
{{- end }}
{{- toJson $shared }}
{{- end }}

{{- define "crmintake.secretsVolume" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $flag, $secret := . }}
      - secret:
          name: {{ $secret.name | quote }}
          items: [{key: {{ $secret.key | quote }}, path: {{ $flag }}}]
      {{- end }}
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
