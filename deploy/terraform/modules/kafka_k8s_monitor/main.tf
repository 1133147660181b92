# Applies what the module manifests renders. The provider is the caller's: `provider "kubectl" { ... }`.

module "manifests" {
  source = "./manifests"

  namespace            = var.namespace
  name                 = var.name
  cluster_name         = var.cluster_name
  image                = var.image
  monitor_namespace    = var.monitor_namespace
  poll_interval        = var.poll_interval
  resources_to_monitor = var.resources_to_monitor
  memory               = var.memory
  kafka_replicas       = var.kafka_replicas
  kafka_bootstrap      = var.kafka_bootstrap
  kafka_image          = var.kafka_image
  kafka_storage        = var.kafka_storage
}

resource "kubectl_manifest" "namespace" {
  yaml_body         = yamlencode(module.manifests.namespace)
  server_side_apply = true
  # destroy returns once it is gone, with all that was in it.
  wait = true
}

resource "kubectl_manifest" "object" {
  for_each = {
    for object in module.manifests.objects :
    join("/", compact([object.kind, try(object.metadata.namespace, ""), object.metadata.name])) => yamlencode(object)
  }

  yaml_body         = each.value
  server_side_apply = true
  wait_for_rollout  = var.wait_for_rollout

  depends_on = [kubectl_manifest.namespace]
}
