output "namespace" {
  description = "The Namespace; it must be there before all others."
  value       = local.namespace
}

output "objects" {
  description = "All other objects, in an order in which they can be applied."
  value = concat(
    [local.service_account, local.cluster_role, local.cluster_role_binding],
    [for role in local.roles : jsondecode(role)],
    [local.config_map],
    [for object in [local.kafka_service, local.kafka_headless, local.kafka] : object if var.kafka_replicas > 0],
    [local.deployment, local.service],
  )
}

output "kafka_bootstrap" {
  description = "The Kafka that agent-events writes to."
  value       = local.bootstrap
}
