# Kafka 4 in KRaft mode for development, as deploy/kustomize/components/kafka-kraft has it, with as many nodes as asked for.

locals {
  kafka_selector = {
    "app.kubernetes.io/name"     = "kafka"
    "app.kubernetes.io/instance" = var.name
  }
  kafka_labels = merge(local.kafka_selector, {
    "app.kubernetes.io/component" = "kafka"
    "app.kubernetes.io/part-of"   = "agent-events"
  })

  # The controllers know one another from the start.
  kafka_voters = join(",", [
    for node in range(var.kafka_replicas) : "${node}@kafka-${node}.kafka-headless.${var.namespace}.svc:9093"
  ])

  kafka_env = concat(
    [
      { name = "POD_NAME", valueFrom = { fieldRef = { fieldPath = "metadata.name" } } },
      { name = "POD_NAMESPACE", valueFrom = { fieldRef = { fieldPath = "metadata.namespace" } } },
      { name = "KAFKA_NODE_ID", valueFrom = { fieldRef = { fieldPath = "metadata.labels['apps.kubernetes.io/pod-index']" } } },
    ],
    [
      # The same on every node, and never to be changed afterwards.
      { name = "CLUSTER_ID", value = "YWdlbnQtZXZlbnRzLWRldg" },
      { name = "KAFKA_PROCESS_ROLES", value = "broker,controller" },
      { name = "KAFKA_CONTROLLER_QUORUM_VOTERS", value = local.kafka_voters },
      { name = "KAFKA_LISTENERS", value = "PLAINTEXT://:9092,CONTROLLER://:9093" },
      { name = "KAFKA_ADVERTISED_LISTENERS", value = "PLAINTEXT://$(POD_NAME).kafka-headless.$(POD_NAMESPACE).svc:9092" },
      { name = "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", value = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT" },
      { name = "KAFKA_CONTROLLER_LISTENER_NAMES", value = "CONTROLLER" },
      { name = "KAFKA_INTER_BROKER_LISTENER_NAME", value = "PLAINTEXT" },
      # Below the mount: a volume's own lost+found is no directory of Kafka's.
      { name = "KAFKA_LOG_DIRS", value = "/var/lib/kafka/data/log" },
      { name = "KAFKA_AUTO_CREATE_TOPICS_ENABLE", value = "false" },
      { name = "KAFKA_DEFAULT_REPLICATION_FACTOR", value = tostring(local.copies) },
      { name = "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", value = tostring(local.copies) },
      { name = "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", value = tostring(local.copies) },
      { name = "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", value = tostring(local.in_sync) },
      { name = "KAFKA_HEAP_OPTS", value = "-Xms256m -Xmx512m" },
    ],
  )

  kafka_service = {
    apiVersion = "v1"
    kind       = "Service"
    metadata   = { name = "kafka", namespace = var.namespace, labels = local.kafka_labels }
    spec = {
      selector = local.kafka_selector
      ports    = [{ name = "kafka", port = 9092, targetPort = "kafka" }]
    }
  }

  # Published before they are ready: controllers elect one another before they serve.
  kafka_headless = {
    apiVersion = "v1"
    kind       = "Service"
    metadata   = { name = "kafka-headless", namespace = var.namespace, labels = local.kafka_labels }
    spec = {
      clusterIP                = "None"
      publishNotReadyAddresses = true
      selector                 = local.kafka_selector
      ports = [
        { name = "kafka", port = 9092, targetPort = "kafka" },
        { name = "controller", port = 9093, targetPort = "controller" },
      ]
    }
  }

  kafka = {
    apiVersion = "apps/v1"
    kind       = "StatefulSet"
    metadata   = { name = "kafka", namespace = var.namespace, labels = local.kafka_labels }
    spec = {
      replicas    = var.kafka_replicas
      serviceName = "kafka-headless"
      # All at once: a controller is ready only once most of them are there.
      podManagementPolicy = "Parallel"
      # The data goes with the StatefulSet; this is a Kafka for development.
      persistentVolumeClaimRetentionPolicy = { whenDeleted = "Delete", whenScaled = "Retain" }
      selector                             = { matchLabels = local.kafka_selector }
      template = {
        metadata = { labels = local.kafka_labels }
        spec = {
          automountServiceAccountToken = false
          # The image takes every variable KAFKA_* for a setting, and a Service named kafka would give it KAFKA_PORT.
          enableServiceLinks            = false
          terminationGracePeriodSeconds = 60
          securityContext = {
            runAsNonRoot   = true
            runAsUser      = 1000
            runAsGroup     = 1000
            fsGroup        = 1000
            seccompProfile = { type = "RuntimeDefault" }
          }
          containers = [{
            name           = "kafka"
            image          = var.kafka_image
            env            = local.kafka_env
            ports          = [{ name = "kafka", containerPort = 9092 }, { name = "controller", containerPort = 9093 }]
            startupProbe   = { tcpSocket = { port = "kafka" }, periodSeconds = 2, failureThreshold = 60 }
            readinessProbe = { tcpSocket = { port = "kafka" }, periodSeconds = 5 }
            resources = {
              requests = { cpu = "250m", memory = "1Gi" }
              limits   = { memory = "1Gi" }
            }
            # No read-only root: the image writes its settings into /opt/kafka/config at the start.
            securityContext = {
              allowPrivilegeEscalation = false
              capabilities             = { drop = ["ALL"] }
            }
            volumeMounts = [{ name = "data", mountPath = "/var/lib/kafka/data" }]
          }]
        }
      }
      volumeClaimTemplates = [{
        metadata = { name = "data", labels = local.kafka_labels }
        spec = {
          accessModes = ["ReadWriteOnce"]
          resources   = { requests = { storage = var.kafka_storage } }
        }
      }]
    }
  }
}
