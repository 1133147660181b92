//! What stands in the lifelike cluster: its nodes, applications, settings and custom resources, as tables.

use crate::sandbox::Operation;

/// name, pool, zone, pods it takes, cores, GiB. The spot node is small: when it goes away, few pods move.
pub(super) const NODES: &[(&str, &str, &str, u32, u32, u32)] = &[
    ("pool-a-1", "pool-a", "eu-west-1a", 60, 8, 32),
    ("pool-a-2", "pool-a", "eu-west-1b", 60, 8, 32),
    ("pool-b-1", "pool-b", "eu-west-1c", 60, 16, 64),
    ("spot-1", "spot", "eu-west-1a", 4, 4, 16),
];

pub(super) const NAMESPACES: &[(&str, &str)] =
    &[("shop", "team-shop"), ("payments", "team-payments"), ("platform", "team-platform"), ("monitoring", "team-sre")];

/// Who installs an application, as it stands in `managedFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Argo,
    Helm,
    Kubectl,
}

impl By {
    pub fn manager(self) -> (&'static str, Operation) {
        match self {
            Self::Argo => ("argocd-controller", Operation::Apply),
            Self::Helm => ("helm", Operation::Update),
            Self::Kubectl => ("kubectl-client-side-apply", Operation::Update),
        }
    }
}

/// An application.
#[derive(Debug, Clone, Copy)]
pub(super) struct App {
    pub namespace: &'static str,
    pub name: &'static str,
    /// Without tag.
    pub image: &'static str,
    pub tag: &'static str,
    pub replicas: i64,
    pub port: u16,
    pub by: By,
    /// Requests: millicores, MiB. The limit of memory is twice the request.
    pub cpu: u32,
    pub memory: u32,
    pub env: &'static [(&'static str, &'static str)],
    /// A StatefulSet, and not a Deployment.
    pub stateful: bool,
    /// Grows and shrinks with its load.
    pub scaled: bool,
}

const APP: App = App {
    namespace: "",
    name: "",
    image: "",
    tag: "",
    replicas: 1,
    port: 8080,
    by: By::Argo,
    cpu: 100,
    memory: 128,
    env: &[],
    stateful: false,
    scaled: false,
};

macro_rules! app {
    ($namespace:literal, $name:literal, $image:literal : $tag:literal, $($field:ident: $value:expr),* $(,)?) => {
        App { namespace: $namespace, name: $name, image: $image, tag: $tag, $($field: $value,)* ..APP }
    };
}

pub(super) const APPS: &[App] = &[
    app!("shop", "storefront", "ghcr.io/acme-shop/storefront": "4.12.3", replicas: 3, cpu: 250, memory: 256, scaled: true,
        env: &[("LOG_LEVEL", "info"), ("CATALOG_URL", "http://catalog.shop:8080"), ("CART_URL", "http://cart.shop:8080")]),
    app!("shop", "catalog", "ghcr.io/acme-shop/catalog": "2.31.0", replicas: 2, memory: 256,
        env: &[("LOG_LEVEL", "info"), ("REDIS_ADDR", "redis.shop:6379")]),
    app!("shop", "cart", "ghcr.io/acme-shop/cart": "1.18.7", replicas: 2, scaled: true,
        env: &[("REDIS_ADDR", "redis.shop:6379"), ("SESSION_TTL", "30m")]),
    app!("shop", "checkout", "ghcr.io/acme-shop/checkout": "3.4.1", replicas: 2, cpu: 200, memory: 256,
        env: &[("PAYMENTS_URL", "http://payments-api.payments:8443"), ("KAFKA_BROKERS", "kafka.platform:9092")]),
    app!("shop", "recommendations", "ghcr.io/acme-shop/recommendations": "0.22.5", replicas: 1, cpu: 500, memory: 512,
        scaled: true, env: &[("MODEL", "als-2025-11"), ("TOP_N", "24")]),
    app!("payments", "payments-api", "registry.acme.example/payments/api": "5.0.9", replicas: 2, port: 8443, by: By::Helm,
        cpu: 250, memory: 384, env: &[("DB_HOST", "postgres.payments"), ("IDEMPOTENCY", "strict")]),
    app!("payments", "fraud-check", "registry.acme.example/payments/fraud-check": "1.9.3", by: By::Helm, cpu: 500, memory: 512,
        env: &[("THRESHOLD", "0.82")]),
    app!("payments", "ledger", "registry.acme.example/payments/ledger": "2.2.0", by: By::Helm, memory: 256,
        env: &[("DB_HOST", "postgres.payments"), ("KAFKA_BROKERS", "kafka.platform:9092")]),
    app!("platform", "ingress-gateway", "docker.io/envoyproxy/envoy": "1.36.2", replicas: 2, by: By::Helm, cpu: 200,
        memory: 256, env: &[("ENVOY_LOG_LEVEL", "warning")]),
    app!("platform", "identity", "quay.io/keycloak/keycloak": "26.4.2", replicas: 2, by: By::Kubectl, cpu: 300, memory: 768,
        env: &[("KC_HOSTNAME", "id.acme.example")]),
    app!("platform", "image-resizer", "ghcr.io/acme-platform/image-resizer": "1.6.14", replicas: 2, memory: 192, scaled: true,
        env: &[("WORKERS", "4"), ("MAX_PIXELS", "40000000")]),
    app!("monitoring", "grafana", "docker.io/grafana/grafana": "12.2.1", port: 3000, by: By::Helm, memory: 256,
        env: &[("GF_USERS_DEFAULT_THEME", "system")]),
    app!("monitoring", "alert-router", "quay.io/prometheus/alertmanager": "0.28.1", port: 9093, by: By::Helm, env: &[]),
    app!("monitoring", "log-collector", "cr.fluentbit.io/fluent/fluent-bit": "4.1.1", replicas: 2, port: 2020, by: By::Kubectl,
        memory: 96, env: &[("FLUSH_SECONDS", "5")]),
    app!("shop", "redis", "docker.io/library/redis": "8.2.2", port: 6379, by: By::Helm, stateful: true, env: &[]),
    app!("payments", "postgres", "docker.io/library/postgres": "17.6", replicas: 2, port: 5432, by: By::Helm, cpu: 500,
        memory: 1024, stateful: true, env: &[("PGDATA", "/var/lib/postgresql/data/pgdata")]),
    app!("platform", "kafka", "docker.io/apache/kafka": "4.1.0", replicas: 3, port: 9092, by: By::Helm, cpu: 500, memory: 1536,
        stateful: true, env: &[("KAFKA_HEAP_OPTS", "-Xmx1g")]),
];

/// A ConfigMap's key that somebody edits now and then: namespace, name, key, the values it goes through, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub namespace: &'static str,
    pub name: &'static str,
    pub key: &'static str,
    pub values: &'static [&'static str],
    pub manager: &'static str,
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        namespace: "shop",
        name: "storefront-config",
        key: "banner",
        values: &["none", "black-friday", "free-shipping"],
        manager: "argocd-controller",
    },
    Setting {
        namespace: "shop",
        name: "feature-flags",
        key: "new-checkout",
        values: &["off", "10%", "50%", "on"],
        manager: "flag-operator",
    },
    Setting {
        namespace: "payments",
        name: "limits",
        key: "max-amount-eur",
        values: &["2500", "5000", "7500"],
        manager: "kubectl-edit",
    },
    Setting {
        namespace: "platform",
        name: "gateway-routes",
        key: "checkout-weight",
        values: &["100/0", "90/10", "50/50"],
        manager: "helm",
    },
    Setting {
        namespace: "monitoring",
        name: "alert-rules",
        key: "error-rate",
        values: &["0.02", "0.05", "0.01"],
        manager: "terraform",
    },
];

/// A Secret that is rotated: namespace, name, type, keys, and by whom.
pub(super) const SECRETS: &[(&str, &str, &str, &[&str], &str)] = &[
    ("payments", "postgres-credentials", "Opaque", &["username", "password"], "external-secrets"),
    ("shop", "storefront-tls", "kubernetes.io/tls", &["tls.crt", "tls.key"], "cert-manager-certificates-issuing"),
    ("platform", "oidc-client", "Opaque", &["client-id", "client-secret"], "external-secrets"),
    ("payments", "card-network-key", "Opaque", &["api-key"], "vault-secrets-operator"),
];

/// Custom resources of a definition of its own.
pub(super) const PROMOTIONS: &str = "promotions.shop.acme.example";
pub(super) const PROMOTION_NAMES: &[(&str, i64)] =
    &[("black-friday", 30), ("free-shipping", 100), ("welcome-back", 15)];

/// Where the cheap changes of a high rate happen.
pub(super) const LOAD: &str = "load";
/// ConfigMaps there.
pub(super) const LOAD_MAPS: u64 = 40;
/// The Deployment there whose pods come and go.
pub(super) const LOAD_WORKER: App = app!("load", "worker", "ghcr.io/acme-platform/worker": "0.9.0", replicas: 6, memory: 64, env: &[("QUEUE", "default")]);

/// The application of that name.
pub(super) fn app(namespace: &str, name: &str) -> Option<&'static App> {
    APPS.iter().find(|a| a.namespace == namespace && a.name == name)
}
