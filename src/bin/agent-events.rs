//! The program; everything is in [`agent_events::cli`].

fn main() -> std::process::ExitCode {
    agent_events::cli::main()
}
