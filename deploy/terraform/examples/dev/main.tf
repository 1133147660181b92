# The whole system for development, with a Kafka of its own: terraform init && terraform apply
terraform {
  required_version = ">= 1.9"
  required_providers {
    kubectl = {
      source  = "gavinbunney/kubectl"
      version = "~> 1.19"
    }
  }
}

variable "kubeconfig" {
  description = "Whose cluster."
  type        = string
  default     = "~/.kube/config"
}

variable "image" {
  description = "Where your image of agent-events is."
  type        = string
  default     = "agent-events:0.1.0"
}

variable "poll_interval" {
  description = "Seconds between light audits."
  type        = number
  default     = 30
}

variable "wait_for_rollout" {
  description = "Whether apply waits until the pods are ready."
  type        = bool
  default     = true
}

provider "kubectl" {
  config_path = var.kubeconfig
}

module "agent_events" {
  source = "../../modules/kafka_k8s_monitor"

  namespace            = "agent-events"
  cluster_name         = "dev"
  image                = var.image
  kafka_replicas       = 1
  monitor_namespace    = "*"
  poll_interval        = var.poll_interval
  resources_to_monitor = ["pods", "services", "deployments", "statefulsets", "configmaps", "events"]
  wait_for_rollout     = var.wait_for_rollout
}
