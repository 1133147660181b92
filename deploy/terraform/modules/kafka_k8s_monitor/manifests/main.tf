# The same objects as deploy/kustomize makes (a test compares them), with the site's values filled in.

locals {
  labels = {
    "app.kubernetes.io/name"     = "agent-events"
    "app.kubernetes.io/instance" = var.name
    "app.kubernetes.io/part-of"  = "agent-events"
  }
  selector = {
    "app.kubernetes.io/name"     = "agent-events"
    "app.kubernetes.io/instance" = var.name
  }
  metadata = { name = var.name, namespace = var.namespace, labels = local.labels }

  # What is watched.
  watch_all = contains(["", "*"], trimspace(var.monitor_namespace))
  watched   = local.watch_all ? [] : sort(distinct([for name in split(",", var.monitor_namespace) : trimspace(name)]))
  # What production.toml enables, in the order of the settings.
  default_kinds = ["pods", "services", "deployments", "statefulsets", "configmaps", "events"]
  core_kinds    = [for kind in ["pods", "services", "configmaps", "secrets", "events"] : kind if contains(var.resources_to_monitor, kind)]
  apps_kinds    = [for kind in ["deployments", "statefulsets"] : kind if contains(var.resources_to_monitor, kind)]

  # Where the records go.
  bootstrap = var.kafka_replicas == 0 ? var.kafka_bootstrap : "kafka:9092"
  copies    = var.kafka_replicas == 0 ? 3 : min(var.kafka_replicas, 3)
  # A broker may be lost where there are three; a single one is all there is.
  in_sync = max(local.copies - 1, 1)

  settings = {
    "production.toml" = file("${path.module}/production.toml")
    "site.toml"       = <<-EOT
      # Over production.toml.

      [cluster]
      name = ${jsonencode(var.cluster_name)}

      [kafka]
      bootstrap = ${jsonencode(local.bootstrap)}

      [topics]
      replication = ${local.copies}
      min_insync_replicas = ${local.in_sync}
    EOT
  }

  args = concat(
    ["run"],
    [for file in keys(local.settings) : "--config=/etc/agent-events/${file}"],
    local.watch_all ? [] : ["--set=watch.all_namespaces=false", "--namespace=${join(",", local.watched)}"],
    toset(var.resources_to_monitor) == toset(local.default_kinds) ? [] : ["--resources=${join(",", var.resources_to_monitor)}"],
    var.poll_interval == 30 ? [] : ["--poll-interval=${var.poll_interval}"],
  )

  namespace = {
    apiVersion = "v1"
    kind       = "Namespace"
    metadata = {
      name = var.namespace
      labels = merge(local.labels, {
        "pod-security.kubernetes.io/audit"   = "restricted"
        "pod-security.kubernetes.io/enforce" = "restricted"
        "pod-security.kubernetes.io/warn"    = "restricted"
      })
    }
  }

  config_map = {
    apiVersion = "v1"
    kind       = "ConfigMap"
    metadata   = local.metadata
    data       = local.settings
  }

  deployment = {
    apiVersion = "apps/v1"
    kind       = "Deployment"
    metadata   = local.metadata
    spec = {
      # One writer: two pods at once would fence each other off.
      replicas             = 1
      strategy             = { type = "Recreate" }
      revisionHistoryLimit = 3
      selector             = { matchLabels = local.selector }
      template = {
        metadata = {
          labels = local.labels
          # A changed setting starts the pod anew.
          annotations = { "agent-events/settings" = sha256(jsonencode(local.settings)) }
        }
        spec = {
          serviceAccountName            = var.name
          automountServiceAccountToken  = true
          enableServiceLinks            = false
          terminationGracePeriodSeconds = 30
          securityContext = {
            runAsNonRoot   = true
            runAsUser      = 65532
            runAsGroup     = 65532
            fsGroup        = 65532
            seccompProfile = { type = "RuntimeDefault" }
          }
          containers = [{
            name           = "agent-events"
            image          = var.image
            args           = local.args
            ports          = [{ name = "ops", containerPort = 9090 }]
            startupProbe   = { httpGet = { path = "/startupz", port = "ops" }, periodSeconds = 2, failureThreshold = 30 }
            livenessProbe  = { httpGet = { path = "/livez", port = "ops" }, periodSeconds = 10, timeoutSeconds = 5, failureThreshold = 3 }
            readinessProbe = { httpGet = { path = "/readyz", port = "ops" }, periodSeconds = 5, timeoutSeconds = 5 }
            resources = {
              requests = { cpu = "100m", memory = var.memory }
              limits   = { memory = var.memory }
            }
            securityContext = {
              allowPrivilegeEscalation = false
              readOnlyRootFilesystem   = true
              capabilities             = { drop = ["ALL"] }
            }
            volumeMounts = [
              { name = "settings", mountPath = "/etc/agent-events", readOnly = true },
              { name = "data", mountPath = "/var/lib/agent-events" },
            ]
          }]
          volumes = [
            { name = "settings", configMap = { name = var.name } },
            { name = "data", emptyDir = { sizeLimit = "1Gi" } },
          ]
        }
      }
    }
  }

  # Probes and metrics; the API listens on the pod's loopback, for kubectl port-forward.
  service = {
    apiVersion = "v1"
    kind       = "Service"
    metadata   = local.metadata
    spec = {
      selector = local.selector
      ports    = [{ name = "ops", port = 9090, targetPort = "ops" }]
    }
  }
}
