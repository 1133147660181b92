# Every wrong value is refused before anything is planned; a right one plans. The provider is a mock.

mock_provider "kubectl" {}

run "the_defaults_plan" {
  command = plan
  assert {
    condition     = output.kafka_bootstrap == "kafka:9092" && length(kubectl_manifest.object) == 9
    error_message = "agent-events and its Kafka"
  }
}

run "a_namespace_that_is_no_name" {
  command = plan
  variables { namespace = "Agent_Events" }
  expect_failures = [var.namespace]
}

run "a_namespace_that_others_live_in" {
  command = plan
  variables { namespace = "kube-system" }
  expect_failures = [var.namespace]
}

run "an_even_number_of_kafka_nodes" {
  command = plan
  variables { kafka_replicas = 2 }
  expect_failures = [var.kafka_replicas]
}

run "no_kafka_at_all" {
  command = plan
  variables { kafka_replicas = 0 }
  expect_failures = [var.kafka_bootstrap]
}

run "two_kafkas" {
  command = plan
  variables { kafka_bootstrap = "mine:9092" }
  expect_failures = [var.kafka_bootstrap]
}

run "a_kafka_with_a_scheme" {
  command = plan
  variables {
    kafka_replicas  = 0
    kafka_bootstrap = "kafka://mine:9092"
  }
  expect_failures = [var.kafka_bootstrap]
}

run "a_watched_namespace_that_is_no_name" {
  command = plan
  variables { monitor_namespace = "shop,Till" }
  expect_failures = [var.monitor_namespace]
}

run "an_interval_below_a_second" {
  command = plan
  variables { poll_interval = 0.5 }
  expect_failures = [var.poll_interval]
}

run "a_kind_that_is_not_captured" {
  command = plan
  variables { resources_to_monitor = ["pods", "nodes"] }
  expect_failures = [var.resources_to_monitor]
}

run "no_kind_at_all" {
  command = plan
  variables { resources_to_monitor = [] }
  expect_failures = [var.resources_to_monitor]
}

run "a_kind_named_twice" {
  command = plan
  variables { resources_to_monitor = ["pods", "pods"] }
  expect_failures = [var.resources_to_monitor]
}

run "memory_that_is_no_quantity" {
  command = plan
  variables { memory = "640" }
  expect_failures = [var.memory]
}

run "a_cluster_name_that_no_key_can_hold" {
  command = plan
  variables { cluster_name = "eu/west" }
  expect_failures = [var.cluster_name]
}
