{{- define "davit.image" -}}
{{- $name := .Values.image.repository -}}
{{- if .Values.image.registry }}{{- $name = printf "%s/%s" .Values.image.registry $name }}{{- end -}}
{{- if .Values.image.digest }}{{ printf "%s@%s" $name .Values.image.digest }}{{- else }}{{ printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}{{- end -}}
{{- end }}

{{- define "davit.labels" -}}
app.kubernetes.io/name: davit
app.kubernetes.io/part-of: davit
{{- end }}

{{- define "davit.dind" -}}
{{- if or (eq .Values.engine.mode "dind") (eq .Values.engine.mode "dind-rootless") }}true{{- end -}}
{{- end }}

{{- define "davit.config" -}}
davit {
  agent {
    data-dir = "/var/lib/davit"
    secrets-key = "/etc/davit/fleet/secrets.key"
    log-format = "json"
    drain-timeout = {{ .Values.drainTimeout }}
  }
  api {
    listen = "0.0.0.0:7300"
    tokens-file = "/etc/davit/fleet/tokens.json"
    tls-certificate = "/etc/davit/fleet/cert.pem"
    tls-key = "/etc/davit/fleet/key.pem"
    open-metrics = true
  }
  store {
    # The password comes from PGPASSWORD.
    url = {{ .Values.database.url | quote }}
  }
  fleet {
    listen = "0.0.0.0:7301"
    tls-ca = "/etc/davit/fleet/ca.pem"
    tls-certificate = "/etc/davit/fleet/cert.pem"
    tls-key = "/etc/davit/fleet/key.pem"
  }
  policy {
    profile = {{ .Values.policy.profile | quote }}
  }
  engines {
{{- if eq .Values.engine.mode "socket" }}
    host {
      endpoint = "unix:///var/run/docker.sock"
      labels = ["host-socket"]
{{- else if eq .Values.engine.mode "remote" }}
    remote {
      endpoint = {{ required "engine.remote.endpoint: write where the engine is" .Values.engine.remote.endpoint | quote }}
      labels = ["remote"]
{{- else }}
    dind {
      endpoint = "tcp://localhost:{{ if .Values.dind.tls }}2376{{ else }}2375{{ end }}"
      labels = ["dind"]
{{- end }}
{{- if or (and (include "davit.dind" .) .Values.dind.tls) (and (eq .Values.engine.mode "remote") .Values.engine.remote.tlsSecret) }}
      tls-ca = "/certs/client/ca.pem"
      tls-certificate = "/certs/client/cert.pem"
      tls-key = "/certs/client/key.pem"
{{- end }}
      slots = {{ .Values.engine.slots }}
      grace = {{ .Values.engine.grace }}
    }
  }
{{- with .Values.extraConfig }}
{{ . | indent 2 }}
{{- end }}
}
caf {
  middleman {
    prometheus-http {
      port = 9464
      address = "0.0.0.0"
    }
  }
  metrics-filters {
    actors {
      includes = ["*"]
    }
  }
}
{{- end }}

{{- define "davit.pod" -}}
metadata:
  labels:
    {{- include "davit.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    checksum/config: {{ include "davit.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ .Values.serviceAccount.name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
    {{- if eq .Values.engine.mode "socket" }}
    supplementalGroups: [{{ .Values.engine.socket.group }}]
    {{- end }}
  {{- if ne .Values.engine.mode "socket" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          app.kubernetes.io/name: davit
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .Values.engine.mode "socket" }}
  initContainers:
    - name: data
      image: {{ include "davit.image" . }}
      command: ["chown", "10001:10001", "/var/lib/davit"]
      securityContext:
        runAsUser: 0
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: ["ALL"]
          add: ["CHOWN"]
      resources:
        limits:
          memory: 32Mi
      volumeMounts:
        - name: data
          mountPath: /var/lib/davit
  {{- else if include "davit.dind" . }}
  initContainers:
    - name: docker-in-docker
      image: {{ if eq .Values.engine.mode "dind" }}{{ .Values.dind.image }}{{ else }}{{ .Values.dind.rootlessImage }}{{ end }}
      restartPolicy: Always
      command: ["sh", "-c", "rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid; exec dockerd-entrypoint.sh \"$@\"", "--"]
      args:
        - --mtu={{ .Values.dind.mtu }}
        - --default-network-opt=bridge=com.docker.network.driver.mtu={{ .Values.dind.mtu }}
        {{- if not .Values.dind.tls }}
        - --host=tcp://127.0.0.1:2375
        - --host=unix:///var/run/docker.sock
        - --tls=false
        {{- end }}
      env:
        - name: DOCKER_TLS_CERTDIR
          value: {{ if .Values.dind.tls }}/certs{{ else }}""{{ end }}
      securityContext:
        {{- if eq .Values.engine.mode "dind" }}
        privileged: true
        {{- else }}
        runAsUser: 1000
        runAsGroup: 1000
        seccompProfile:
          type: Unconfined
        {{- end }}
      startupProbe:
        exec:
          command: ["docker", "info"]
        periodSeconds: 2
        timeoutSeconds: 10
        failureThreshold: 60
      livenessProbe:
        exec:
          command: ["docker", "info"]
        periodSeconds: 30
        timeoutSeconds: 20
        failureThreshold: 4
      resources:
        {{- toYaml .Values.dind.resources | nindent 8 }}
      volumeMounts:
        - name: docker-certs
          mountPath: /certs
        - name: docker-data
          mountPath: {{ if eq .Values.engine.mode "dind" }}/var/lib/docker{{ else }}/home/rootless/.local/share/docker{{ end }}
  {{- end }}
  containers:
    - name: davit
      image: {{ include "davit.image" . }}
      {{- if ne .Values.image.pullPolicy "IfNotPresent" }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- end }}
      args:
        - agent
        - --config-file=/etc/davit/davit.conf
        {{- if eq .Values.engine.mode "socket" }}
        - --davit.agent.name=$(NODE_NAME)
        - --davit.fleet.advertise=$(POD_IP):7301
        {{- else }}
        - --davit.agent.name=$(POD_NAME)
        - --davit.fleet.advertise=$(POD_NAME).davit-fleet.$(POD_NAMESPACE).svc:7301
        {{- end }}
        - --davit.fleet.peers=["davit-fleet.$(POD_NAMESPACE).svc:7301"]
      env:
        {{- if eq .Values.engine.mode "socket" }}
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        {{- else }}
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- end }}
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        - name: PGPASSWORD
          valueFrom:
            secretKeyRef:
              name: {{ .Values.database.existingSecret }}
              key: {{ .Values.database.passwordKey }}
        - name: DAVIT_TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ .Values.existingSecret }}
              key: token
        {{- with .Values.extraEnv }}{{ toYaml . | nindent 8 }}{{ end }}
      ports:
        - name: api
          containerPort: 7300
        - name: fleet
          containerPort: 7301
        - name: metrics
          containerPort: 9464
      startupProbe:
        exec:
          command: ["davit", "health"]
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        exec:
          command: ["davit", "health"]
        periodSeconds: 15
        timeoutSeconds: 5
        failureThreshold: 4
      readinessProbe:
        exec:
          command: ["davit", "health", "--ready"]
        periodSeconds: 5
        timeoutSeconds: 5
      lifecycle:
        preStop:
          exec:
            command: ["davit", "drain", "--wait", "--timeout", "10m"]
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/davit/davit.conf
          subPath: davit.conf
          readOnly: true
        - name: fleet
          mountPath: /etc/davit/fleet
          readOnly: true
        {{- if and (include "davit.dind" .) .Values.dind.tls }}
        - name: docker-certs
          mountPath: /certs/client
          subPath: client
          readOnly: true
        {{- else if and (eq .Values.engine.mode "remote") .Values.engine.remote.tlsSecret }}
        - name: docker-certs
          mountPath: /certs/client
          readOnly: true
        {{- else if eq .Values.engine.mode "socket" }}
        - name: docker-socket
          mountPath: /var/run/docker.sock
        {{- end }}
        - name: data
          mountPath: /var/lib/davit
        {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
    {{- with .Values.extraContainers }}{{ toYaml . | nindent 4 }}{{ end }}
  volumes:
    - name: config
      configMap:
        name: davit-config
    - name: fleet
      secret:
        secretName: {{ .Values.existingSecret }}
        defaultMode: 288
    {{- if include "davit.dind" . }}
    - name: docker-certs
      emptyDir:
        sizeLimit: 1Mi
    - name: docker-data
      emptyDir:
        sizeLimit: {{ .Values.dind.storage }}
    {{- else if and (eq .Values.engine.mode "remote") .Values.engine.remote.tlsSecret }}
    - name: docker-certs
      secret:
        secretName: {{ .Values.engine.remote.tlsSecret }}
    {{- else if eq .Values.engine.mode "socket" }}
    - name: docker-socket
      hostPath:
        path: {{ .Values.engine.socket.path }}
        type: Socket
    - name: data
      hostPath:
        path: /var/lib/davit
        type: DirectoryOrCreate
    {{- end }}
    {{- with .Values.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}
