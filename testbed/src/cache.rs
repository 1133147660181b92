//! Built parts, once per user and recipe: `$XDG_CACHE_HOME` (or `~/.cache`) `/agent-events-testbed/<component>-<hash>/`.
//! A directory of that name is complete: it is built beside and renamed into place, under a lock that other processes wait for.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Attempt, Error, Missing, Result};
use crate::orphans;
use crate::process::last_lines;
use crate::recipe::{Component, Part, Step, TERRAFORM_PROVIDER};

/// Whether `part` can be started here: built already, or all tools to build it are there.
pub fn available(part: Part) -> Result<(), Missing> {
    if !cfg!(target_os = "linux") {
        return Err(Missing { tool: "Linux", needed_for: "to end every process with its owner" });
    }
    tools_are_there(part.components(), part.needed_to_run())
}

/// Whether [`terraform_provider`] can be had here, and Terraform itself.
pub fn terraform_available() -> Result<(), Missing> {
    let terraform =
        [Missing { tool: "terraform", needed_for: "to plan and apply deploy/terraform (version 1.11 or later)" }];
    tools_are_there(&[&TERRAFORM_PROVIDER], &terraform)
}

/// The binary of Terraform's provider `gavinbunney/kubectl` 1.19.0, built now if it is not there.
pub fn terraform_provider() -> Result<PathBuf> {
    terraform_available()?;
    Ok(ensure(&TERRAFORM_PROVIDER, &say_on_stderr)?.join("provider"))
}

fn tools_are_there(components: &[&Component], to_run: &[Missing]) -> Result<(), Missing> {
    let unbuilt = components.iter().filter(|component| !location(component).is_dir());
    let tools = unbuilt.flat_map(|component| component.tools).chain(to_run);
    tools
        .into_iter()
        .find(|missing| find_on_path(missing.tool).is_none())
        .map_or(Ok(()), |missing| Err(missing.clone()))
}

/// Builds `part` unless it is built; `progress` is told of each step that will take a while.
pub fn build(part: Part, progress: &dyn Fn(&str)) -> Result<()> {
    available(part)?;
    part.components().iter().try_for_each(|component| ensure(component, progress).map(|_| ()))
}

/// Where everything is that outlives a run: `agent-events-testbed` in the user's cache directory.
pub fn cache_root() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("agent-events-testbed")
}

/// The built directory of one of `part`'s components, by name, built now if it is not there.
pub(crate) fn built(part: Part, component: &str) -> Result<PathBuf> {
    available(part)?;
    let component = part.components().iter().find(|candidate| candidate.name == component);
    ensure(component.expect("the caller names a component of this part"), &say_on_stderr)
}

pub(crate) fn find_on_path(tool: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|directory| directory.join(tool)).find(executable)
}

/// A build of minutes inside a test must not look like a hang.
fn say_on_stderr(line: &str) {
    writeln!(std::io::stderr(), "testbed: {line}").ok();
}

fn location(component: &Component) -> PathBuf {
    cache_root().join(component.directory_name())
}

fn ensure(component: &Component, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let done = location(component);
    if done.is_dir() {
        return Ok(done);
    }
    let root = cache_root();
    fs::create_dir_all(&root).attempt(|| format!("make the cache directory {}", root.display()))?;
    let beside = |extension: &str| root.join(format!("{}.{extension}", component.directory_name()));

    let lock_path = beside("lock");
    let lock = File::create(&lock_path).attempt(|| format!("open {}", lock_path.display()))?;
    if lock.try_lock().is_err() {
        progress(&format!("another process builds {}: waiting for it", component.name));
        lock.lock().attempt(|| format!("lock {}", lock_path.display()))?;
    }
    if done.is_dir() {
        return Ok(done);
    }
    progress(&format!("building {} ({})", component.name, component.estimate));
    // Ours alone under the lock; what a killed build left there is worth nothing.
    let work = beside("building");
    remove_if_there(&work)?;
    let out = work.join("out");
    fs::create_dir_all(&out).attempt(|| format!("make {}", out.display()))?;
    let out_text = utf8(&out)?;
    for (name, content) in component.files {
        fs::write(work.join(name), content.replace("{out}", out_text))
            .attempt(|| format!("write {name} into {}", work.display()))?;
    }
    let log = beside("build.log");
    let mut output = File::create(&log).attempt(|| format!("write {}", log.display()))?;
    for step in component.steps {
        run(component, step, &work, &out, &log, &mut output)?;
    }
    if let Some((_, finish)) = component.finish {
        finish(&work, &out)?;
    }
    fs::rename(&out, &done).attempt(|| format!("move the finished build to {}", done.display()))?;
    remove_if_there(&work)?;
    Ok(done)
}

fn run(component: &Component, step: &Step, work: &Path, out: &Path, log: &Path, output: &mut File) -> Result<()> {
    let out_text = utf8(out)?;
    let args: Vec<String> = step.args.iter().map(|arg| arg.replace("{out}", out_text)).collect();
    let what = format!("{} (`{} {}`)", component.name, step.program, args.join(" "));
    writeln!(output, "$ {what}").attempt(|| format!("write {}", log.display()))?;

    let mut command = Command::new(step.program);
    let errors = output.try_clone().attempt(|| format!("share {}", log.display()))?;
    command.args(&args).envs(step.env.iter().copied()).current_dir(work);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let child = orphans::spawn(command).attempt(|| format!("run `{}`", step.program))?;
    let result = child.wait_with_output().attempt(|| format!("wait for `{}`", step.program))?;
    output.write_all(&result.stdout).attempt(|| format!("write {}", log.display()))?;
    if !result.status.success() {
        return Err(Error::Build { what, status: result.status, log: log.to_owned(), tail: last_lines(log, 20) });
    }
    let printed = PathBuf::from(String::from_utf8_lossy(&result.stdout).trim().to_owned());
    for file in step.copy_from_printed_directory {
        let target = out.join(Path::new(file).file_name().unwrap_or(OsStr::new(file)));
        let source = printed.join(file);
        // Read and written, not copied: files of the Go module cache are read-only, and so would their copies be.
        let content = fs::read(&source).attempt(|| format!("read {}", source.display()))?;
        fs::write(&target, content).attempt(|| format!("write {}", target.display()))?;
    }
    Ok(())
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::Io {
        action: format!("build in {}", path.display()),
        source: std::io::Error::other("the path is not UTF-8: set XDG_CACHE_HOME to one that is"),
    })
}

fn remove_if_there(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).attempt(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
