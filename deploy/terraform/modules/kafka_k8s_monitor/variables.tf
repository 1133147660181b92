variable "namespace" {
  description = "Namespace that everything is installed in; it is created, and removed with all that is in it."
  type        = string
  default     = "agent-events"

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace must be a DNS label: at most 63 small letters, digits and - between them."
  }
  validation {
    condition     = !contains(["default", "kube-system", "kube-public", "kube-node-lease"], var.namespace)
    error_message = "namespace must be one of its own: it is labelled for the restricted Pod Security profile, and removed by destroy."
  }
}

variable "name" {
  description = "Name of every object of agent-events; two in one cluster need two names."
  type        = string
  default     = "agent-events"

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.name))
    error_message = "name must be a DNS label: at most 63 small letters, digits and - between them."
  }
}

variable "cluster_name" {
  description = "First part of every record's key. Never change it afterwards: other keys are other objects to every reader."
  type        = string
  default     = "kubernetes"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+$", var.cluster_name))
    error_message = "cluster_name must be letters, digits and ._- only."
  }
}

variable "image" {
  description = "Container image of agent-events."
  type        = string
  default     = "agent-events:0.1.0"

  validation {
    condition     = can(regex("^[^[:space:]]+$", var.image))
    error_message = "image must name a container image, without spaces."
  }
}

variable "monitor_namespace" {
  description = "Namespace to watch, or several in a comma list. Empty or \"*\" watches all, which takes a ClusterRole."
  type        = string
  default     = "*"

  validation {
    condition = contains(["", "*"], trimspace(var.monitor_namespace)) || alltrue([
      for name in split(",", var.monitor_namespace) : can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", trimspace(name)))
    ])
    error_message = "monitor_namespace must be \"*\", one namespace, or a comma list of them: at most 63 small letters, digits and - between them each."
  }
}

variable "poll_interval" {
  description = "Seconds between light audits, and between lists where watching is not allowed."
  type        = number
  default     = 30

  validation {
    condition     = var.poll_interval >= 1 && floor(var.poll_interval) == var.poll_interval
    error_message = "poll_interval must be whole seconds, at least 1."
  }
}

variable "resources_to_monitor" {
  description = "Kinds to watch, by plural. They decide the rights that are granted: secrets only when named here, since the right to list them gives their values to whoever holds the token."
  type        = list(string)
  default     = ["pods", "services", "deployments", "statefulsets", "configmaps", "events"]

  validation {
    condition     = length(var.resources_to_monitor) > 0
    error_message = "resources_to_monitor must name at least one kind."
  }
  validation {
    condition = length(setsubtract(var.resources_to_monitor, [
      "pods", "services", "deployments", "statefulsets", "configmaps", "secrets", "events",
    ])) == 0
    error_message = "resources_to_monitor may hold pods, services, deployments, statefulsets, configmaps, secrets and events, each by its plural."
  }
  validation {
    condition     = length(distinct(var.resources_to_monitor)) == length(var.resources_to_monitor)
    error_message = "resources_to_monitor must name each kind once."
  }
}

variable "memory" {
  description = "Memory of agent-events, requested and limited: the budget of its settings and a quarter more."
  type        = string
  default     = "640Mi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.memory))
    error_message = "memory must be a quantity such as 640Mi or 2Gi."
  }
}

variable "kafka_replicas" {
  description = "Nodes of a Kafka for development, broker and controller each. 0: none, kafka_bootstrap names yours."
  type        = number
  default     = 1

  validation {
    condition     = contains([0, 1, 3, 5], var.kafka_replicas)
    error_message = "kafka_replicas must be 0 (your own Kafka), 1, 3 or 5: controllers vote, and an even number of them bears no more failures than one less."
  }
}

variable "kafka_bootstrap" {
  description = "host:port of your own Kafka, comma separated; only with kafka_replicas = 0."
  type        = string
  default     = ""

  validation {
    condition     = (var.kafka_replicas == 0) == (var.kafka_bootstrap != "")
    error_message = "kafka_bootstrap names your own Kafka: set it with kafka_replicas = 0, and only then."
  }
  validation {
    condition     = var.kafka_bootstrap == "" || can(regex("^[^/[:space:],]+:[0-9]+(,[^/[:space:],]+:[0-9]+)*$", var.kafka_bootstrap))
    error_message = "kafka_bootstrap must be host:port, comma separated, without a scheme."
  }
}

variable "kafka_image" {
  description = "Container image of the Kafka for development: apache/kafka, version 4 or later (KRaft only)."
  type        = string
  default     = "apache/kafka:4.1.1"
}

variable "kafka_storage" {
  description = "Size of each Kafka node's volume. It goes with the StatefulSet."
  type        = string
  default     = "10Gi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi|Ti)$", var.kafka_storage))
    error_message = "kafka_storage must be a quantity such as 10Gi."
  }
}

variable "wait_for_rollout" {
  description = "Whether apply waits until the pods are ready. It takes a cluster that can pull the images."
  type        = bool
  default     = true
}
