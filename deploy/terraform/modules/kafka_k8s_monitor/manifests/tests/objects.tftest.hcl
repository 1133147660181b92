# What is rendered, without any provider.

run "the_kinds_asked_for_decide_the_rights" {
  command = plan
  variables {
    resources_to_monitor = ["pods", "deployments"]
  }
  assert {
    condition     = jsonencode([for rule in local.cluster_role.rules : rule.resources]) == jsonencode([["pods"], ["deployments"], ["namespaces"]])
    error_message = "exactly the kinds asked for"
  }
  assert {
    condition     = jsonencode([for rule in local.cluster_role.rules : rule.verbs]) == jsonencode([["list", "watch"], ["list", "watch"], ["get"]])
    error_message = "listing and watching, nothing else"
  }
  assert {
    condition     = contains(local.args, "--resources=pods,deployments")
    error_message = "the process is told the same kinds"
  }
}

run "secrets_only_when_asked_for" {
  command = plan
  assert {
    condition     = !strcontains(jsonencode(output.objects), "\"secrets\"")
    error_message = "by default no right on secrets"
  }
}

run "secrets_when_asked_for" {
  command = plan
  variables {
    resources_to_monitor = ["secrets"]
  }
  assert {
    condition     = jsonencode(local.cluster_role.rules[0].resources) == jsonencode(["secrets"])
    error_message = "asked for, they are granted"
  }
}

run "named_namespaces_take_roles_and_no_right_over_the_cluster" {
  command = plan
  variables {
    monitor_namespace = "shop, till"
    poll_interval     = 5
  }
  assert {
    condition     = jsonencode([for o in output.objects : o.metadata.namespace if o.kind == "Role"]) == jsonencode(["shop", "till"])
    error_message = "a Role in each namespace"
  }
  assert {
    condition     = length(local.cluster_role.rules) == 1 && jsonencode(local.cluster_role.rules[0].resourceNames) == jsonencode(["kube-system"])
    error_message = "over the cluster only its identity"
  }
  assert {
    condition     = alltrue([for arg in ["--set=watch.all_namespaces=false", "--namespace=shop,till", "--poll-interval=5"] : contains(local.args, arg)])
    error_message = "the process is told the same"
  }
}

run "three_nodes_of_kafka_vote_and_keep_three_copies" {
  command = plan
  variables {
    kafka_replicas = 3
  }
  assert {
    condition     = local.kafka.spec.replicas == 3 && length(split(",", local.kafka_voters)) == 3
    error_message = "three nodes, each a voter"
  }
  assert {
    condition     = strcontains(local.settings["site.toml"], "replication = 3\nmin_insync_replicas = 2")
    error_message = "the topics follow"
  }
}

run "your_own_kafka_takes_the_place_of_ours" {
  command = plan
  variables {
    kafka_replicas  = 0
    kafka_bootstrap = "a:9092,b:9092"
  }
  assert {
    condition     = length([for o in output.objects : o if strcontains(o.metadata.name, "kafka")]) == 0
    error_message = "no Kafka is installed"
  }
  assert {
    condition     = strcontains(local.settings["site.toml"], "bootstrap = \"a:9092,b:9092\"")
    error_message = "the process is told yours"
  }
}
