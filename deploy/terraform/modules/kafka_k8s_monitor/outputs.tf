output "namespace" {
  description = "Where everything runs."
  value       = var.namespace
}

output "kafka_bootstrap" {
  description = "The Kafka that agent-events writes to, as seen from inside the namespace."
  value       = module.manifests.kafka_bootstrap
}
