# No provider: this module turns values into Kubernetes objects and touches nothing. Any provider can apply them.
terraform {
  # 1.9: a validation may look at other variables.
  required_version = ">= 1.9"
}
