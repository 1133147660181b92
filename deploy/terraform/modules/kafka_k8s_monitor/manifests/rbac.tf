# Exactly what is needed to watch the chosen kinds in the chosen namespaces.

locals {
  rules = concat(
    length(local.core_kinds) == 0 ? [] : [{ apiGroups = [""], resources = local.core_kinds, verbs = ["list", "watch"] }],
    length(local.apps_kinds) == 0 ? [] : [{ apiGroups = ["apps"], resources = local.apps_kinds, verbs = ["list", "watch"] }],
  )
  # Its uid tells this cluster from another of the same name.
  identity = [{ apiGroups = [""], resources = ["namespaces"], resourceNames = ["kube-system"], verbs = ["get"] }]
  subjects = [{ kind = "ServiceAccount", name = var.name, namespace = var.namespace }]

  service_account = {
    apiVersion = "v1"
    kind       = "ServiceAccount"
    metadata   = local.metadata
    # Only its own pod mounts a token of it.
    automountServiceAccountToken = false
  }

  cluster_role = {
    apiVersion = "rbac.authorization.k8s.io/v1"
    kind       = "ClusterRole"
    metadata   = { name = var.name, labels = local.labels }
    rules      = concat(local.watch_all ? local.rules : [], local.identity)
  }

  cluster_role_binding = {
    apiVersion = "rbac.authorization.k8s.io/v1"
    kind       = "ClusterRoleBinding"
    metadata   = { name = var.name, labels = local.labels }
    roleRef    = { apiGroup = "rbac.authorization.k8s.io", kind = "ClusterRole", name = var.name }
    subjects   = local.subjects
  }

  roles = flatten([for namespace in local.watched : [
    jsonencode({
      apiVersion = "rbac.authorization.k8s.io/v1"
      kind       = "Role"
      metadata   = { name = var.name, namespace = namespace, labels = local.labels }
      rules      = local.rules
    }),
    jsonencode({
      apiVersion = "rbac.authorization.k8s.io/v1"
      kind       = "RoleBinding"
      metadata   = { name = var.name, namespace = namespace, labels = local.labels }
      roleRef    = { apiGroup = "rbac.authorization.k8s.io", kind = "Role", name = var.name }
      subjects   = local.subjects
    }),
  ]])
}
