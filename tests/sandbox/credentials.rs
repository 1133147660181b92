//! Tokens that are taken back and authorities that change, under a process that goes on.

use crate::front::{Behind, Front};
use crate::kit::{Bed, MAPS, bed, config_map};
use crate::product::Product;
use crate::waiting::eventually;
use std::time::Duration;
use tokio::time::Instant;

crate::trials![
    a_token_that_was_rotated_is_used_at_the_first_refusal,
    an_authority_that_was_rotated_is_trusted_at_the_first_failure,
];

/// kube reads a token file, and in a cluster the authority's, once a minute: well below that.
const AT_ONCE: Duration = Duration::from_secs(25);

async fn is_seen(bed: &Bed, product: &Product, name: &str) {
    bed.client.post(MAPS, &config_map(name, "v")).await.ok();
    eventually(name, AT_ONCE, async || product.version(name).await).await;
}

async fn a_token_that_was_rotated_is_used_at_the_first_refusal() {
    let bed = bed().await;
    let front = Front::start(Behind::Plain(bed.sandbox.url().into()), bed.dir.path());
    let product = Product::at(&front.kubeconfig(), &[]);
    is_seen(&bed, &product, "before").await;
    let began = Instant::now();
    front.write_token("token-2");
    front.expect_token("token-2");
    front.cut();
    is_seen(&bed, &product, "after").await;
    // The other way round: refused for a while before the new one stands in the file.
    let refused = front.refused();
    front.expect_token("token-3");
    front.cut();
    eventually("the old token is refused", AT_ONCE, async || (front.refused() > refused).then_some(())).await;
    front.write_token("token-3");
    is_seen(&bed, &product, "later").await;
    assert!(began.elapsed() < Duration::from_secs(50), "kube itself would have read it again by now");
    product.end().await;
}

async fn an_authority_that_was_rotated_is_trusted_at_the_first_failure() {
    let bed = bed().await;
    let front = Front::start(Behind::Plain(bed.sandbox.url().into()), bed.dir.path());
    let product = Product::at(&front.kubeconfig(), &[]);
    is_seen(&bed, &product, "before").await;
    front.become_another("two");
    front.cut();
    let refused = front.refused();
    eventually("the new server is not trusted", AT_ONCE, async || (front.refused() > refused).then_some(())).await;
    assert_eq!(product.version("after").await, None);
    front.write_authority("two");
    is_seen(&bed, &product, "after").await;
    product.end().await;
}
