//! temp
fn main() {
    let mut set = vec![];
    let mut it = std::env::args().skip(1);
    while let Some(a) = it.next() { if a == "--set" { set.push(it.next().expect("v")) } }
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::stderr).init();
    let loaded = match agent_events::settings::load(&agent_events::settings::Sources { set, ..Default::default() }) { Ok(l) => l, Err(e) => { tracing::error!("{e}"); std::process::exit(78) } };
    match agent_events::app::start(loaded, Default::default()) { Ok(r) => { let c = r.wait(); std::process::exit(i32::from(c)) }, Err(e) => { tracing::error!("{e}"); std::process::exit(i32::from(e.exit_code())) } }
}
