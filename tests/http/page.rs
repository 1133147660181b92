//! The page's files: types, policy, and that they are not sent twice.

use crate::kit::{Process, beside, get};
use axum::body::Body;
use axum::http::Request;

fn files() -> Vec<(String, &'static str)> {
    let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let names = std::fs::read_dir(web).expect("the page's sources").map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| {
            let name = name.into_string().expect("ASCII names");
            let content_type = match name.rsplit_once('.').expect("an extension").1 {
                "html" => "text/html; charset=utf-8",
                "js" => "text/javascript; charset=utf-8",
                "css" => "text/css; charset=utf-8",
                "svg" => "image/svg+xml",
                other => panic!("{name}: nobody says what {other} is"),
            };
            (if name == "index.html" { "/".into() } else { format!("/ui/{name}") }, content_type)
        })
        .collect()
}

async fn with(process: &Process, method: &str, path: &str, tag: Option<&str>) -> crate::kit::Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    process.send(request.body(Body::empty()).expect("a request")).await
}

#[test]
fn every_file_of_the_page_is_served_with_its_type_and_a_strict_policy() {
    beside(async |process| {
        for (path, content_type) in files() {
            let answer = process.get(&path).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, content_type), "{path}");
            assert!(!answer.text.is_empty(), "{path}");
            let policy = answer.header("content-security-policy");
            assert!(policy.starts_with("default-src 'self'; ") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("cache-control"), "no-cache");
            let head = with(&process, "HEAD", &path, None).await;
            assert_eq!((head.status, head.text.len()), (200, 0), "{path}");
            assert_eq!(head.header("content-length"), answer.text.len().to_string(), "{path}");
        }
        assert_eq!(process.get("/api/v1/version").await.header("cache-control"), "no-store");
    });
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    beside(async |process| {
        for (path, _) in files() {
            let tag = process.get(&path).await.header("etag").to_owned();
            assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
            for known in [tag.as_str(), &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
                let answer = with(&process, "GET", &path, Some(known)).await;
                assert_eq!((answer.status, answer.text.as_str()), (304, ""), "{path} {known}");
                assert_eq!(answer.header("etag"), tag);
            }
            assert_eq!(with(&process, "GET", &path, Some("\"other\"")).await.status, 200);
        }
    });
}

#[test]
fn a_file_that_the_page_has_not_is_a_problem() {
    beside(async |process| {
        for path in
            ["/ui/nothing.js", "/ui/index.html", "/ui/..%2f..%2fCargo.toml", "/ui/", "/index.html", "/favicon.ico"]
        {
            assert_eq!(process.get(path).await.problem().0, 404, "{path}");
        }
        assert_eq!(with(&process, "POST", "/", None).await.problem().0, 405);
    });
}

/// The policy would forbid it in the browser; here it is seen before.
#[test]
fn the_page_asks_nobody_else_and_holds_no_script_of_its_own() {
    beside(async |process| {
        for (path, _) in files() {
            let text = process.send(get(&path)).await.text;
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for wrong in ["http://", "https://", " style=\"", "onclick=", "innerHTML", "insertAdjacentHTML", "eval("] {
                assert!(!text.contains(wrong), "{path} holds {wrong}");
            }
        }
    });
}
